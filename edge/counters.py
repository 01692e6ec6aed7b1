"""What workers count: plain cells in memory that workers and supervisor share.

One row of 64-bit cells per worker. A worker adds to its own row alone and from one thread, so
nothing is locked; the supervisor reads all rows whenever somebody asks. A row outlives the worker
that fills it, so counts go on rising when a worker is replaced.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias, get_args

from index.request import Tier

Cells: TypeAlias = "memoryview[int]"

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
OTHER: Final = "other"
CODES: Final = (200, 204, 304, 400, 404, 405, 408, 413, 415, 422, 431, 500, 503)
MAX_PLACEMENTS: Final = 64

BUCKETS_US: Final = (25, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000)
"""Upper bounds of the buckets that Prometheus sees."""

_PARTS: Final = 8
FINE_NS: Final = tuple(
    1000 * low + (1000 * (high - low)) * part // _PARTS
    for low, high in zip((0, *BUCKETS_US), BUCKETS_US, strict=False)
    for part in range(1, _PARTS + 1)
)
"""Each bucket in eight parts: fine enough for the percentiles of the console."""

PID, STARTED_S, READY, IN_FLIGHT, DAMAGED, DECIDE_NS = range(6)
EMPTY, SCORED, SCORE_SUM, SCORE_SQUARES = range(6, 10)
"""Answers without an offer; those with one, and sums over their first offers' scores, millionths.

Scores are below zero as a rule, so their sum is a signed number in an unsigned cell."""
OVERLAY_SEQUENCE, OVERLAY_ISSUED_S, OVERLAY_EXPIRES_S = range(10, 13)
OVERLAY_REMOVED, OVERLAY_REPRICED, OVERLAY_UNKNOWN = range(13, 16)
DEATHS: Final = 16
"""Workers of this row that died unasked; added up by the supervisor, when nobody else writes."""
QUEUED_NS, PRESSURE_MILLI, LOG_DROPPED = range(17, 20)
BEAT: Final = 20
"""Goes on as long as the worker's loop does; see `edge.beat`."""
_LEVELS_AT: Final = 21
LEVELS: Final = ("full", "context", "prior", "refused")
"""What there was time for, by level; see `edge.overload`."""
QUEUE_MS: Final = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""Upper bounds of the buckets of times in line."""
_QUEUE_NS: Final = tuple(int(bound_ms * 1e6) for bound_ms in QUEUE_MS)
_QUEUE_AT: Final = _LEVELS_AT + len(LEVELS)
_CODES_AT: Final = _QUEUE_AT + len(QUEUE_MS) + 1
_WRAP: Final = 1 << 64
_LARGEST_SCORE: Final = 1e4
_FINE_AT: Final = _CODES_AT + len(CODES) + 1
_PAIRS_AT: Final = _FINE_AT + len(FINE_NS) + 1
_OTHERS_AT: Final = _PAIRS_AT + MAX_PLACEMENTS * len(TIERS)
"""Behind all that may ever be named: a snapshot that names more takes no counts over."""
ROW_CELLS: Final = _OTHERS_AT + len(TIERS)


def blank_rows(n_rows: int = 1) -> Cells:
    """Cells of a process that shares them with nobody."""
    return memoryview(bytearray(8 * ROW_CELLS * n_rows)).cast("Q")


def row_of(cells: Cells, slot: int) -> Cells:
    """The row of one worker, as a view."""
    return cells[slot * ROW_CELLS : (slot + 1) * ROW_CELLS]


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
        self._codes = {code: _CODES_AT + at for at, code in enumerate(CODES)}
        self._others = {tier: _OTHERS_AT + at for at, tier in enumerate(TIERS)}
        self.name_placements(placements)

    def name_placements(self, placements: Sequence[str]) -> None:
        """Give these placements cells of their own; all workers of a snapshot name the same."""
        self._pairs = {
            (placement, tier): _PAIRS_AT + at * len(TIERS) + tier_at
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
        self.row[self._codes.get(code, _FINE_AT - 1)] += 1

    def admitted(self, level: int, queued_ns: int) -> None:
        """A request was given a level, an index of `LEVELS`, after this time in line."""
        row = self.row
        row[_LEVELS_AT + level] += 1
        row[_QUEUE_AT + bisect_left(_QUEUE_NS, queued_ns)] += 1
        row[QUEUED_NS] += queued_ns

    def pressed(self, pressure: float) -> None:
        """The pressure changed; see `edge.overload`."""
        self.row[PRESSURE_MILLI] = int(pressure * 1000)

    def decided(self, placement: str, tier: Tier, took_ns: int) -> None:
        """A decision was made."""
        row = self.row
        row[self._pairs.get((placement, tier)) or self._others[tier]] += 1
        row[_FINE_AT + bisect_left(FINE_NS, took_ns)] += 1
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
            row[SCORE_SUM] = (row[SCORE_SUM] + int(first_score * 1e6)) % _WRAP
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayCells:
    """What workers say of the overlay they apply.

    Attributes:
        sequence: its number; 0 for none. The lowest of all workers: as far as all have come.
        issued_s: when it was made, Unix seconds.
        expires_s: when it is stale.
        n_removed: offers of the snapshot it takes away.
        n_repriced: offers of the snapshot it prices.
        n_unknown: offers it names that the snapshot does not know.
    """

    sequence: int
    issued_s: int
    expires_s: int
    n_removed: int
    n_repriced: int
    n_unknown: int

    @property
    def is_stale(self) -> bool:
        """Whether it is past its end."""
        return bool(self.sequence) and time.time() >= self.expires_s


class Totals:
    """Rows added up, for whoever reports them.

    Args:
        rows: rows of the workers to add up.
        placements: as given to their `Counters`.
    """

    def __init__(self, rows: Iterable[Sequence[int]], placements: Sequence[str]) -> None:
        rows = list(rows)
        self._cells: list[int] = [sum(column) for column in zip(*rows, strict=True)] or [
            0
        ] * ROW_CELLS
        self._pressure = max((row[PRESSURE_MILLI] for row in rows), default=0) / 1000
        # The row that lags behind speaks for all; a row whose worker is gone lags behind nobody.
        ready = [row for row in rows if row[READY]] or [[0] * ROW_CELLS]
        self._overlay = min(ready, key=lambda row: row[OVERLAY_SEQUENCE])
        self._placements = placements

    @property
    def in_flight(self) -> int:
        return self._cells[IN_FLIGHT]

    @property
    def damaged(self) -> int:
        return self._cells[DAMAGED]

    @property
    def deaths(self) -> int:
        """Workers that died unasked."""
        return self._cells[DEATHS]

    @property
    def levels(self) -> dict[str, int]:
        """Requests by what there was time for."""
        return dict(zip(LEVELS, self._cells[_LEVELS_AT:_QUEUE_AT], strict=True))

    @property
    def log_dropped(self) -> int:
        """Decisions that found no room in the log's spools."""
        return self._cells[LOG_DROPPED]

    @property
    def pressure(self) -> float:
        """Of the worker that has most of it."""
        return self._pressure

    @property
    def queued_s(self) -> float:
        """Seconds that requests stood in line, all together."""
        return self._cells[QUEUED_NS] / 1e9

    @property
    def queue_buckets(self) -> list[tuple[float, int]]:
        """Upper bound in seconds and cumulated number of requests, up to infinity."""
        bounds_s = (*(bound_ms / 1e3 for bound_ms in QUEUE_MS), float("inf"))
        counts = accumulate(self._cells[_QUEUE_AT:_CODES_AT])
        return list(zip(bounds_s, counts, strict=True))

    @property
    def tiers(self) -> dict[Tier, int]:
        """Decisions by tier, whatever the placements are called."""
        pairs = self._cells[_PAIRS_AT:]
        return {tier: sum(pairs[at :: len(TIERS)]) for at, tier in enumerate(TIERS)}

    @property
    def empty(self) -> int:
        """Decisions that showed nothing."""
        return self._cells[EMPTY]

    @property
    def scored(self) -> tuple[int, float, float]:
        """Decisions with a first offer; the sum of its scores, and of their squares."""
        cells = self._cells
        total = (cells[SCORE_SUM] + _WRAP // 2) % _WRAP - _WRAP // 2
        return cells[SCORED], total / 1e6, cells[SCORE_SQUARES] / 1e6

    @property
    def overlay(self) -> OverlayCells:
        """The overlay that all ready workers apply at least."""
        row = self._overlay
        return OverlayCells(
            sequence=row[OVERLAY_SEQUENCE],
            issued_s=row[OVERLAY_ISSUED_S],
            expires_s=row[OVERLAY_EXPIRES_S],
            n_removed=row[OVERLAY_REMOVED],
            n_repriced=row[OVERLAY_REPRICED],
            n_unknown=row[OVERLAY_UNKNOWN],
        )

    @property
    def decide_s(self) -> float:
        """Seconds spent deciding."""
        return self._cells[DECIDE_NS] / 1e9

    @property
    def codes(self) -> dict[str, int]:
        """Requests by status, those that happened."""
        names = (*map(str, CODES), OTHER)
        counts = self._cells[_CODES_AT:_FINE_AT]
        return {name: n for name, n in zip(names, counts, strict=True) if n}

    @property
    def decisions(self) -> dict[tuple[str, Tier], int]:
        """Decisions by placement and tier, those that happened."""
        named = self._placements
        cells = self._cells[_PAIRS_AT : _PAIRS_AT + len(named) * len(TIERS)]
        cells += self._cells[_OTHERS_AT:]
        pairs = ((placement, tier) for placement in (*named, OTHER) for tier in TIERS)
        return {pair: n for pair, n in zip(pairs, cells, strict=True) if n}

    @property
    def fine(self) -> list[int]:
        """Decisions by duration; one more entry than `FINE_NS`."""
        return self._cells[_FINE_AT:_PAIRS_AT]

    @property
    def buckets(self) -> list[tuple[float, int]]:
        """Upper bound in seconds and cumulated number of decisions, up to infinity."""
        fine, total, found = self.fine, 0, []
        for at, bound_us in enumerate(BUCKETS_US):
            total += sum(fine[at * _PARTS : (at + 1) * _PARTS])
            found.append((bound_us / 1e6, total))
        return [*found, (float("inf"), total + fine[-1])]


def percentile_us(fine: Sequence[int], share: float) -> float | None:
    """Duration, in microseconds, that a share of the decisions stayed within; None without any.

    >>> percentile_us([0] * 7 + [10] + [0] * (len(FINE_NS) - 7), 0.5)
    25.0
    """
    wanted, seen = share * sum(fine), 0
    for bound_ns, count in zip((*FINE_NS, FINE_NS[-1]), fine, strict=True):
        seen += count
        if count and seen >= wanted:
            return bound_ns / 1000
    return None
