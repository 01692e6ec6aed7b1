"""Plain cells in memory that workers and supervisor share: where what stands.

One row of 64-bit cells per worker, and one cell behind all rows. A row outlives the worker that
fills it, so counts go on rising when a worker is replaced.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, get_args

from index.request import Tier

Cells: TypeAlias = "memoryview[int]"

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
OTHER: Final = "other"
CODES: Final = (200, 204, 304, 400, 404, 405, 408, 413, 415, 422, 431, 500, 503)
MAX_PLACEMENTS: Final = 64

BUCKETS_US: Final = (25, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000)
"""Upper bounds of the buckets that Prometheus sees."""

PARTS: Final = 8
"""Finer buckets in each of these."""
FINE_NS: Final = tuple(
    1000 * low + (1000 * (high - low)) * part // PARTS
    for low, high in zip((0, *BUCKETS_US), BUCKETS_US, strict=False)
    for part in range(1, PARTS + 1)
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
LEVELS_AT: Final = 21
"""Where what is counted by level begins, as `…_AT` does of the next kinds."""
LEVELS: Final = ("full", "context", "prior", "refused")
"""What there was time for, by level; see `edge.overload`."""
QUEUE_MS: Final = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""Upper bounds of the buckets of times in line."""
QUEUE_AT: Final = LEVELS_AT + len(LEVELS)
CODES_AT: Final = QUEUE_AT + len(QUEUE_MS) + 1
WRAP: Final = 1 << 64
"""Where a cell begins anew."""
FINE_AT: Final = CODES_AT + len(CODES) + 1
PAIRS_AT: Final = FINE_AT + len(FINE_NS) + 1
OTHERS_AT: Final = PAIRS_AT + MAX_PLACEMENTS * len(TIERS)
"""Behind all that may ever be named: a snapshot that names more takes no counts over."""
ROW_CELLS: Final = OTHERS_AT + len(TIERS)
DRAINING: Final = -1
"""The last of all cells says whether the edge is on its way out."""


def blank_rows(n_rows: int = 1) -> Cells:
    """Cells of a process that shares them with nobody."""
    return memoryview(bytearray(8 * ROW_CELLS * n_rows)).cast("Q")


def row_of(cells: Cells, slot: int) -> Cells:
    """The row of one worker, as a view."""
    return cells[slot * ROW_CELLS : (slot + 1) * ROW_CELLS]


def shared_cells(cells: Any) -> Cells:
    """The shared array as cells."""
    return memoryview(cells).cast("B").cast("Q")
