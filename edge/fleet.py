"""The workers as the supervisor sees them: their cells, and the last minute of them."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from edge.cells import (
    DEATHS,
    DRAINING,
    IN_FLIGHT,
    PID,
    PRESSURE_MILLI,
    READY,
    STARTED_S,
    Cells,
    row_of,
)
from edge.counters import extended
from edge.memory import memory_of
from edge.messages import SnapshotFacts
from edge.node.messages import SyncState
from edge.totals import Totals, percentile_us

_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One worker, as its cells show it; pid 0 while there is none."""

    slot: int
    pid: int
    started_s: int
    ready: bool


class Fleet:
    """What is known of the workers, for metrics and console.

    Args:
        cells: all shared cells.
        n_workers: how many rows of them there are.

    Attributes:
        facts: about the snapshot; None until a worker has opened it.
        placements: those with cells of their own, in the order of the cells.
        restarts: how often the worker of each slot was replaced.
        swaps: how many changes of snapshot ended which way.
        leaked: retired snapshots that stay mapped.
        sync: how updating stands; None where no channel is followed, or nothing was heard yet.
        url: where requests are answered.
    """

    def __init__(self, cells: Cells, n_workers: int) -> None:
        self._cells = cells
        self.n_workers = n_workers
        self.facts: SnapshotFacts | None = None
        self.placements: tuple[str, ...] = ()
        self.swaps: Counter[str] = Counter()
        self.leaked = 0
        self.sync: SyncState | None = None
        self.restarts = [0] * n_workers
        self.url = ""
        self.started_s = time.time()
        self._minute: deque[list[list[int]]] = deque(maxlen=_SECONDS + 1)
        self.remember()

    @property
    def draining(self) -> bool:
        return bool(self._cells[DRAINING])

    def start_draining(self) -> None:
        self._cells[DRAINING] = 1

    def answers_from(self, facts: SnapshotFacts) -> None:
        """Workers answer from this snapshot, or are about to."""
        self.facts = facts
        self.placements = extended(self.placements, facts.placements)

    def forget(self, slot: int) -> None:
        """A worker is gone: what it counted stays, what it was doesn't."""
        row = row_of(self._cells, slot)
        row[PID] = row[STARTED_S] = row[READY] = row[IN_FLIGHT] = row[PRESSURE_MILLI] = 0
        if not self.draining:
            row[DEATHS] += 1

    def hangs(self, slot: int) -> None:
        """A worker is about to be killed, which may take the kernel a while: it answers nobody."""
        row_of(self._cells, slot)[READY] = 0

    def workers(self) -> list[WorkerState]:
        rows = (row_of(self._cells, slot) for slot in range(self.n_workers))
        return [
            WorkerState(slot=slot, pid=row[PID], started_s=row[STARTED_S], ready=bool(row[READY]))
            for slot, row in enumerate(rows)
        ]

    def totals(self, slot: int | None = None) -> Totals:
        """Counts of one worker, or of all."""
        rows = self._rows()
        return Totals(rows if slot is None else [rows[slot]], self.placements)

    def remember(self) -> None:
        """Keep the cells as they are now; called once a second."""
        self._minute.append(self._rows())

    def status(self) -> dict[str, Any]:
        """All that the console shows."""
        totals, facts = self.totals(), self.facts
        oldest = self._minute[0]
        return {
            "url": self.url,
            "uptime_s": time.time() - self.started_s,
            "draining": self.draining,
            "snapshot": None if facts is None else _described(facts),
            "requests": {"total": sum(totals.codes.values()), "codes": totals.codes},
            "in_flight": totals.in_flight,
            "damaged": totals.damaged,
            "levels": totals.levels,
            "pressure": totals.pressure,
            "swaps": dict(self.swaps),
            "leaked": self.leaked,
            "sync": None if self.sync is None else asdict(self.sync),
            "overlay": {**asdict(totals.overlay), "is_stale": totals.overlay.is_stale},
            "decisions": _sums(totals),
            "minute": self._last_minute(oldest),
            "workers": [self._worker(worker, oldest) for worker in self.workers()],
        }

    def _rows(self) -> list[list[int]]:
        return [row_of(self._cells, slot).tolist() for slot in range(self.n_workers)]

    def _last_minute(self, oldest: list[list[int]]) -> dict[str, Any]:
        samples = [Totals(rows, self.placements) for rows in self._minute]
        counts = [sum(sample.codes.values()) for sample in samples]
        fine = _difference(self.totals().fine, Totals(oldest, self.placements).fine)
        return {
            "requests_per_s": [later - now for now, later in pairwise(counts)],
            "decisions": sum(fine),
            "p50_us": percentile_us(fine, 0.5),
            "p99_us": percentile_us(fine, 0.99),
            "p999_us": percentile_us(fine, 0.999),
        }

    def _worker(self, worker: WorkerState, oldest: list[list[int]]) -> dict[str, Any]:
        totals = self.totals(worker.slot)
        fine = _difference(totals.fine, Totals([oldest[worker.slot]], self.placements).fine)
        memory = memory_of(worker.pid) if worker.pid else None
        return {
            "slot": worker.slot,
            "pid": worker.pid,
            "ready": worker.ready,
            "restarts": self.restarts[worker.slot],
            "uptime_s": time.time() - worker.started_s if worker.started_s else 0,
            "resident_bytes": memory.resident if memory else None,
            "private_bytes": memory.private if memory else None,
            "shared_bytes": memory.shared if memory else None,
            "requests": sum(totals.codes.values()),
            "p50_us": percentile_us(fine, 0.5),
            "p99_us": percentile_us(fine, 0.99),
        }


def _described(facts: SnapshotFacts) -> dict[str, Any]:
    return {
        "snapshot_id": facts.snapshot_id,
        "model_id": facts.model_id,
        "brand": facts.brand,
        "timezone": facts.timezone,
        "age_s": time.time() - facts.as_of_us / 1e6,
        "counts": facts.counts,
        "features": facts.features,
        "files": [
            {"name": name, "size": size, "entries": entries} for name, size, entries in facts.files
        ],
    }


def _sums(totals: Totals) -> dict[str, Any]:
    tiers, placements = totals.tiers, dict[str, int]()
    for (placement, _), count in totals.decisions.items():
        placements[placement] = placements.get(placement, 0) + count
    buckets = totals.buckets
    counts = [n for _, n in buckets]
    return {
        "total": sum(tiers.values()),
        "tiers": tiers,
        "placements": placements,
        "p50_us": percentile_us(totals.fine, 0.5),
        "p99_us": percentile_us(totals.fine, 0.99),
        "buckets": [
            {"up_to_us": None if le == float("inf") else le * 1e6, "count": now - before}
            for (le, _), before, now in zip(buckets, (0, *counts), counts, strict=False)
        ],
    }


def _difference(now: list[int], before: list[int]) -> list[int]:
    return [later - earlier for later, earlier in zip(now, before, strict=True)]
