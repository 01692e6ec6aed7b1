"""Real orders as questions: some of an order is in the cart, and the rest is to be foretold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.load.mix import COLD, KINDS, KNOWN, THIN
from bench.load.orders import Orders
from bench.scorecard.template import filled
from index.layout import THIN_BELOW_ORDERS

K: Final = 10
MAX_CART: Final = 4
PLACEMENT: Final = "checkout"
KIND_NAMES: Final = KINDS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """One for each order.

    Attributes:
        bodies: JSON as the service is asked.
        truth: ids of the items that were bought besides those in the cart; none is empty.
        customer: int64, shape (questions,): equal numbers are one customer; guests are all unlike.
        kind: uint8, shape (questions,): known, thin or cold, by numbers of `bench.load.mix.KINDS`.
        ts_us: int64, shape (questions,), rising: when each order came.
    """

    bodies: Sequence[bytes]
    truth: Sequence[tuple[str, ...]]
    customer: NDArray[np.int64]
    kind: NDArray[np.uint8]
    ts_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bodies)

    def some(self, n: int) -> Questions:
        """At most so many, evenly spread over time."""
        if len(self) <= n:
            return self
        return self.at(np.arange(n) * len(self) // n)

    def at(self, places: NDArray[np.int64]) -> Questions:
        """Those at some places."""
        return Questions(
            bodies=[self.bodies[place] for place in places.tolist()],
            truth=[self.truth[place] for place in places.tolist()],
            customer=self.customer[places],
            kind=self.kind[places],
            ts_us=self.ts_us[places],
        )


def questions_of(orders: Orders, template: Any = None) -> Questions:
    """A question about each order.

    The cart holds the order's first 1 to 4 items, in turn; an order of one item has an empty cart.
    To our own service moment and request id are told, so that the same question has one answer.

    Args:
        orders: real ones.
        template: of somebody else's service; None for our own requests.
    """
    bodies, truth = [], []
    for number, items in enumerate(orders.carts):
        n_cart = min(1 + number % MAX_CART, len(items) - 1)
        values = {
            "placement": PLACEMENT,
            "k": K,
            "customer_id": orders.customer_ids[number],
            "items": list(items[:n_cart]),
        }
        if template is None:
            bodies.append(_own(values, orders, number))
        else:
            bodies.append(filled(template, values))
        truth.append(tuple(items[n_cart:]))
    kind = np.where(orders.earlier >= THIN_BELOW_ORDERS, KNOWN, THIN)
    return Questions(
        bodies=bodies,
        truth=truth,
        customer=_numbers(orders.customer_ids),
        kind=np.where(orders.earlier == 0, COLD, kind).astype(np.uint8),
        ts_us=orders.ts_us,
    )


def _own(values: dict[str, Any], orders: Orders, number: int) -> bytes:
    at = _EPOCH + timedelta(microseconds=int(orders.ts_us[number]))
    members = {
        "placement": values["placement"],
        "k": values["k"],
        "cart": [{"item_id": item_id} for item_id in values["items"]],
        "context": orders.contexts[number],
        "at": at.isoformat(),
        "request_id": f"order-{number}",
    }
    if values["customer_id"] is not None:
        members["customer_id"] = values["customer_id"]
    return orjson.dumps(members)


def _numbers(customer_ids: Sequence[str | None]) -> NDArray[np.int64]:
    known = {name: number for number, name in enumerate(dict.fromkeys(customer_ids)) if name}
    return np.array(
        [known.get(name or "", -1 - place) for place, name in enumerate(customer_ids)],
        dtype=np.int64,
    )
