"""What of a request an answer depends on: found out by asking, not by reading documentation.

Each probe is asked as it is, then with one thing changed: another customer, an item put into the
cart, another moment. An offer that merely vanished because it is in the cart now shows that a
service can filter, so that is told apart from a list that was chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import orjson

Dependence: TypeAlias = Literal["yes", "left out", "no"]
Answering: TypeAlias = Callable[[bytes], Sequence[str]]
"""From a body to the offers of its answer, best first."""
ASPECTS: Final = ("customer", "cart", "moment")
_LATER: Final = timedelta(days=2, hours=9)


def dependence(answering: Answering, bodies: Sequence[bytes]) -> dict[str, Dependence]:
    """What a service's offers depend on.

    Args:
        answering: asks the service.
        bodies: requests with a moment (`at`), of several known customers.

    Returns:
        By aspect: `yes` where one probe's offers were others, or in another order; `left out`
        where offers only vanished that are in the cart; `no` where nothing ever changed.
    """
    known = [body for body in map(orjson.loads, bodies) if "customer_id" in body]
    assert len({body["customer_id"] for body in known}) > 1, "nobody to mix up"
    found: dict[str, Dependence] = dict.fromkeys(ASPECTS, "no")
    for one, other in zip(known, [*known[1:], known[0]], strict=True):
        before = list(answering(orjson.dumps(one)))
        changes: dict[str, dict[str, Any]] = {
            "customer": one | {"customer_id": other["customer_id"]},
            "cart": one | {"cart": [*one["cart"], {"item_id": before[0], "quantity": 1}]},
            "moment": one | {"at": _later(one["at"])},
        }
        for aspect, changed in changes.items():
            after = list(answering(orjson.dumps(changed)))
            gone = {before[0]} if aspect == "cart" else set[str]()
            found[aspect] = _worse(found[aspect], _change(before, after, gone))
    return found


def _change(before: list[str], after: list[str], gone: set[str]) -> Dependence:
    """What happened between two lists of the same length.

    >>> _change(["a", "b", "c"], ["b", "c", "d"], {"a"})
    'left out'
    >>> _change(["a", "b", "c"], ["c", "b", "d"], {"a"})
    'yes'
    """
    if before == after:
        return "no"
    kept = [offer for offer in before if offer not in gone]
    return "left out" if gone and after[: len(kept)] == kept else "yes"


def _worse(one: Dependence, other: Dependence) -> Dependence:
    order: tuple[Dependence, ...] = ("no", "left out", "yes")
    return max(one, other, key=order.index)


def _later(at: str) -> str:
    return (datetime.fromisoformat(at) + _LATER).isoformat()
