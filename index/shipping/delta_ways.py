"""Ways to an object: which deltas, one after the other, lead there from what is at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from index.shipping.delta_list import Delta, DeltaList

MAX_STEPS: Final = 4
"""A longer way is not gone: each step rebuilds a file."""
WORTH: Final = 0.8
"""A way is gone when its deltas have less than this share of the object's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One delta of a way.

    Attributes:
        delta: what to fetch, and what it begins with.
        sha256: hex digest of what it makes.
        size: bytes of that.
    """

    delta: Delta
    sha256: str
    size: int


def way_to(
    sha256: str,
    size: int,
    *,
    listed: Callable[[str], DeltaList | None],
    is_here: Callable[[str], bool],
    max_steps: int = MAX_STEPS,
) -> Sequence[Step] | None:
    """The way with the fewest steps, the first step first; None when none is worth it.

    Args:
        sha256: hex digest of the object wanted.
        size: its bytes, from somewhere trusted.
        listed: asks for the deltas that lead to an object.
        is_here: whether an object is at hand.
        max_steps: at most so many.
    """
    budget = int(WORTH * size)
    ways: list[tuple[Step, ...]] = [()]
    for _ in range(max_steps):
        longer: list[tuple[Step, ...]] = []
        for way in ways:
            wanted = way[0].delta.from_sha256 if way else sha256
            found = listed(wanted)
            if found is None or (not way and found.size != size):
                continue
            for delta in found.deltas:
                step = Step(delta=delta, sha256=wanted, size=found.size)
                candidate = (step, *way)
                if sum(one.delta.size for one in candidate) >= budget:
                    continue
                if is_here(delta.from_sha256):
                    return candidate
                longer.append(candidate)
        ways = longer
    return None
