"""A node's heartbeat, from what its sync process knows and what its workers counted lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec.structs import replace

from edge.cells import READY, Cells, row_of
from edge.totals import OverlayCells, Totals, percentile_us
from edge.version import software_version
from index.shipping.heartbeat import MAX_SWAPS, Guards, Heartbeat, Swap

BEAT_S: Final = 5.0
"""Seconds between two heartbeats."""
WINDOW_S: Final = 60.0
_WRAP: Final = 1 << 64
_MAX_WORDS: Final = 500
_MAX_REASON: Final = 200
"""Twenty such reasons fit into one heartbeat, whatever they are written in."""


class SyncFacts(Protocol):
    """What a heartbeat says of updating; the sync process's own account of itself fits."""

    @property
    def brand(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def trust(self) -> Literal["signed", "insecure"]: ...
    @property
    def phase(self) -> str: ...
    @property
    def epoch(self) -> int | None: ...
    @property
    def wanted(self) -> str | None: ...
    @property
    def failure(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...
    @property
    def pinned(self) -> bool: ...
    @property
    def n_quarantined(self) -> int: ...


def heartbeat_of(
    node_id: str,
    facts: SyncFacts,
    window: GuardWindow,
    *,
    snapshot_id: str | None,
    swaps: Sequence[Swap],
    verdict: str | None,
    uptime_s: float,
    now: datetime,
    now_s: float,
) -> Heartbeat:
    """What the node tells of itself now.

    Args:
        node_id: its name.
        facts: how updating stands.
        window: what the workers counted.
        snapshot_id: what is served; None before anything is.
        swaps: what happened to snapshots here, the newest at the end; the last 20 are told.
        verdict: what guards say of a new snapshot; None when none is watched.
        uptime_s: seconds since the node began.
        now: the node's clock; with a time zone.
        now_s: seconds of a clock that never goes back.
    """
    guards, overlay = window.look(now_s), window.overlay
    return Heartbeat(
        brand=facts.brand,
        channel=facts.channel,
        node_id=node_id,
        sent_at=now.replace(microsecond=0),
        interval_s=BEAT_S,
        software=software_version(),
        trust=facts.trust,
        snapshot_id=snapshot_id,
        wanted=facts.wanted,
        epoch=facts.epoch,
        phase=facts.phase,
        failure=facts.failure and _cut(facts.failure, _MAX_WORDS),
        detail=facts.detail and _cut(facts.detail, _MAX_WORDS),
        verdict=verdict,
        pinned=facts.pinned,
        n_quarantined=facts.n_quarantined,
        overlay_sequence=overlay.sequence,
        overlay_is_stale=overlay.is_stale,
        uptime_s=uptime_s,
        n_workers=window.n_workers,
        n_ready=window.n_ready,
        guards=guards,
        swaps=[replace(swap, reason=_cut(swap.reason, _MAX_REASON)) for swap in swaps[-MAX_SWAPS:]],
    )


def _cut(words: str, most: int) -> str:
    """A sentence as long as a document takes; errors quote what they met."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


class GuardWindow:
    """The workers' counts of the last minute, read from their cells.

    Args:
        cells: all shared cells; only read.
        n_workers: how many rows of them there are.
        span_s: seconds to look back.

    Attributes:
        n_workers: as given.
    """

    def __init__(self, cells: Cells, n_workers: int, *, span_s: float = WINDOW_S) -> None:
        self._cells = cells
        self.n_workers = n_workers
        self._span_s = span_s
        self._past: deque[tuple[float, list[int]]] = deque()

    @property
    def n_ready(self) -> int:
        """Workers that answer."""
        return sum(row[READY] for row in self._rows())

    @property
    def overlay(self) -> OverlayCells:
        """The overlay that all workers apply at least."""
        return Totals(self._rows(), ()).overlay

    def look(self, now_s: float) -> Guards:
        """What happened since the oldest look that is not older than the span.

        Args:
            now_s: seconds of a clock that never goes back.
        """
        counts = [sum(column) for column in zip(*self._rows(), strict=True)]
        self._past.append((now_s, counts))
        while now_s - self._past[0][0] > self._span_s:
            self._past.popleft()
        since_s, before = self._past[0]
        change = [(now - then) % _WRAP for now, then in zip(counts, before, strict=True)]
        return _guards(Totals([change], ()), now_s - since_s)

    def _rows(self) -> list[list[int]]:
        return [row_of(self._cells, slot).tolist() for slot in range(self.n_workers)]


def _guards(lately: Totals, window_s: float) -> Guards:
    codes, tiers = lately.codes, lately.tiers
    scored, score_sum, score_squares = lately.scored
    return Guards(
        window_s=window_s,
        requests=sum(codes.values()),
        errors=sum(n for code, n in codes.items() if code.isdigit() and int(code) >= 500),
        decisions=sum(tiers.values()),
        empty=lately.empty,
        tiers={str(tier): n for tier, n in tiers.items()},
        p50_us=percentile_us(lately.fine, 0.5),
        p99_us=percentile_us(lately.fine, 0.99),
        scored=scored,
        score_sum=score_sum,
        score_squares=score_squares,
        worker_deaths=lately.deaths,
    )
