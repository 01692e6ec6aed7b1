"""What a worker counts: it adds to its own row alone and from one thread, so nothing is locked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from edge.cells import (
    CODES,
    CODES_AT,
    DAMAGED,
    DECIDE_NS,
    EMPTY,
    FINE_AT,
    FINE_NS,
    IN_FLIGHT,
    LEVELS_AT,
    LOG_DROPPED,
    MAX_PLACEMENTS,
    OTHER,
    OTHERS_AT,
    OVERLAY_SEQUENCE,
    PAIRS_AT,
    PRESSURE_MILLI,
    QUEUE_AT,
    QUEUE_MS,
    QUEUED_NS,
    SCORE_SQUARES,
    SCORE_SUM,
    SCORED,
    TIERS,
    WRAP,
    Cells,
)
from index.request import Tier

_QUEUE_NS: Final = tuple(int(bound_ms * 1e6) for bound_ms in QUEUE_MS)
_LARGEST_SCORE: Final = 1e4


def bounded_placements(names: Iterable[str]) -> tuple[str, ...]:
    """Placements that get cells of their own; a caller's inventions all count as `other`."""
    return tuple(sorted({*names, "default"} - {"*", OTHER}))[:MAX_PLACEMENTS]


def extended(known: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    """Placements with cells of their own, when some have cells already: those keep their places.

    >>> extended(("home", "cart"), ("cart", "default"))
    ('home', 'cart', 'default')
    """
    return tuple(dict.fromkeys((*known, *more)))[:MAX_PLACEMENTS]


class Counters:
    """One worker's row, and what it adds up per request. Used by one thread.

    Args:
        row: the worker's cells.
        placements: see `bounded_placements`.
    """

    __slots__ = ("_codes", "_others", "_pairs", "row")

    def __init__(self, row: Cells, placements: Sequence[str] = ()) -> None:
        self.row = row
        self._codes = {code: CODES_AT + at for at, code in enumerate(CODES)}
        self._others = {tier: OTHERS_AT + at for at, tier in enumerate(TIERS)}
        self.name_placements(placements)

    def name_placements(self, placements: Sequence[str]) -> None:
        """Give these placements cells of their own; all workers of a snapshot name the same."""
        self._pairs = {
            (placement, tier): PAIRS_AT + at * len(TIERS) + tier_at
            for at, placement in enumerate(placements)
            for tier_at, tier in enumerate(TIERS)
        }

    def arrived(self) -> None:
        """A request began."""
        self.row[IN_FLIGHT] += 1

    def under_way(self, change: int) -> None:
        """So many more requests have begun to come, or fewer are still to come whole."""
        self.row[IN_FLIGHT] += change

    def answered(self, code: int) -> None:
        """A request ended with a status; 0 when there was nobody left to answer."""
        self.row[IN_FLIGHT] -= 1
        if code:
            self.at_once(code)

    def at_once(self, code: int) -> None:
        """What arrived was answered at once, with this status: it was never under way."""
        self.row[self._codes.get(code, FINE_AT - 1)] += 1

    def admitted(self, level: int, queued_ns: int) -> None:
        """A request was given a level, an index of `LEVELS`, after this time in line."""
        row = self.row
        row[LEVELS_AT + level] += 1
        row[QUEUE_AT + bisect_left(_QUEUE_NS, queued_ns)] += 1
        row[QUEUED_NS] += queued_ns

    def not_logged(self) -> None:
        """A decision found no room in the log's spool."""
        self.row[LOG_DROPPED] += 1

    def pressed(self, pressure: float) -> None:
        """The pressure changed; see `edge.overload`."""
        self.row[PRESSURE_MILLI] = int(pressure * 1000)

    def decided(self, placement: str, tier: Tier, took_ns: int) -> None:
        """A decision was made."""
        row = self.row
        row[self._pairs.get((placement, tier)) or self._others[tier]] += 1
        row[FINE_AT + bisect_left(FINE_NS, took_ns)] += 1
        row[DECIDE_NS] += took_ns
        if tier == "safe":
            row[DAMAGED] += 1

    def shown(self, n_offers: int, first_score: float) -> None:
        """A decision showed this many offers; the first of them had this score."""
        row = self.row
        if not n_offers:
            row[EMPTY] += 1
        elif -_LARGEST_SCORE < first_score < _LARGEST_SCORE:  # not so of what damage made NaN
            row[SCORED] += 1
            row[SCORE_SUM] = (row[SCORE_SUM] + int(first_score * 1e6)) % WRAP
            row[SCORE_SQUARES] += int(first_score * first_score * 1e6)

    def overlaid(  # noqa: PLR0917 - six cells, in their order
        self,
        sequence: int,
        issued_s: int,
        expires_s: int,
        n_removed: int,
        n_repriced: int,
        n_unknown: int,
    ) -> None:
        """An overlay was laid over the snapshot; its times in Unix seconds."""
        cells = (sequence, issued_s, expires_s, n_removed, n_repriced, n_unknown)
        for at, value in enumerate(cells, OVERLAY_SEQUENCE):
            self.row[at] = value
