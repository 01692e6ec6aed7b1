"""What workers counted, added up for whoever reports it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from edge.cells import (
    BUCKETS_US,
    CODES,
    CODES_AT,
    DAMAGED,
    DEATHS,
    DECIDE_NS,
    EMPTY,
    FINE_AT,
    FINE_NS,
    IN_FLIGHT,
    LEVELS,
    LEVELS_AT,
    LOG_DROPPED,
    OTHER,
    OTHERS_AT,
    OVERLAY_EXPIRES_S,
    OVERLAY_ISSUED_S,
    OVERLAY_REMOVED,
    OVERLAY_REPRICED,
    OVERLAY_SEQUENCE,
    OVERLAY_UNKNOWN,
    PAIRS_AT,
    PARTS,
    PRESSURE_MILLI,
    QUEUE_AT,
    QUEUE_MS,
    QUEUED_NS,
    READY,
    ROW_CELLS,
    SCORE_SQUARES,
    SCORE_SUM,
    SCORED,
    TIERS,
    WRAP,
)
from index.request import Tier


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
        return dict(zip(LEVELS, self._cells[LEVELS_AT:QUEUE_AT], strict=True))

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
        counts = accumulate(self._cells[QUEUE_AT:CODES_AT])
        return list(zip(bounds_s, counts, strict=True))

    @property
    def tiers(self) -> dict[Tier, int]:
        """Decisions by tier, whatever the placements are called."""
        pairs = self._cells[PAIRS_AT:]
        return {tier: sum(pairs[at :: len(TIERS)]) for at, tier in enumerate(TIERS)}

    @property
    def empty(self) -> int:
        """Decisions that showed nothing."""
        return self._cells[EMPTY]

    @property
    def scored(self) -> tuple[int, float, float]:
        """Decisions with a first offer; the sum of its scores, and of their squares."""
        cells = self._cells
        total = (cells[SCORE_SUM] + WRAP // 2) % WRAP - WRAP // 2
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
        counts = self._cells[CODES_AT:FINE_AT]
        return {name: n for name, n in zip(names, counts, strict=True) if n}

    @property
    def decisions(self) -> dict[tuple[str, Tier], int]:
        """Decisions by placement and tier, those that happened."""
        named = self._placements
        cells = self._cells[PAIRS_AT : PAIRS_AT + len(named) * len(TIERS)]
        cells += self._cells[OTHERS_AT:]
        pairs = ((placement, tier) for placement in (*named, OTHER) for tier in TIERS)
        return {pair: n for pair, n in zip(pairs, cells, strict=True) if n}

    @property
    def fine(self) -> list[int]:
        """Decisions by duration; one more entry than `FINE_NS`."""
        return self._cells[FINE_AT:PAIRS_AT]

    @property
    def buckets(self) -> list[tuple[float, int]]:
        """Upper bound in seconds and cumulated number of decisions, up to infinity."""
        fine, total, found = self.fine, 0, []
        for at, bound_us in enumerate(BUCKETS_US):
            total += sum(fine[at * PARTS : (at + 1) * PARTS])
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
