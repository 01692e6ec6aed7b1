"""What a heartbeat says of a node's workers: their counts of the last minute."""

from __future__ import annotations

from collections import deque
from typing import Final

from edge.counters import Cells, Totals, percentile_us, row_of
from index.shipping.heartbeat import Guards

WINDOW_S: Final = 60.0
_WRAP: Final = 1 << 64


class GuardWindow:
    """The workers' counts of the last minute, read from their cells.

    Args:
        cells: all shared cells; only read.
        n_workers: how many rows of them there are.
        span_s: seconds to look back.
    """

    def __init__(self, cells: Cells, n_workers: int, *, span_s: float = WINDOW_S) -> None:
        self._cells = cells
        self._n_workers = n_workers
        self._span_s = span_s
        self._past: deque[tuple[float, list[int]]] = deque()

    def look(self, now_s: float) -> Guards:
        """What happened since the oldest look that is not older than the span.

        Args:
            now_s: seconds of a clock that never goes back.
        """
        rows = (row_of(self._cells, slot).tolist() for slot in range(self._n_workers))
        counts = [sum(column) for column in zip(*rows, strict=True)]
        self._past.append((now_s, counts))
        while now_s - self._past[0][0] > self._span_s:
            self._past.popleft()
        since_s, before = self._past[0]
        change = [(now - then) % _WRAP for now, then in zip(counts, before, strict=True)]
        return _guards(Totals([change], ()), now_s - since_s)


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
