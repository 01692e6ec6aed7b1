"""The node's own guard over a new snapshot: does it make workers fail at answering?

Deaths and damaged tables are the supervisor's to see; what only a comparison with other nodes can
tell is for whoever widens the ring.
"""

from __future__ import annotations

from typing import Any, Final

from edge.cells import row_of, shared_cells
from edge.totals import Totals

_FAILED: Final = "500"
_LEAST_FAILED: Final = 20
_WORST_SHARE: Final = 0.05


class Guard:
    """Answers that failed since it began to look.

    Args:
        cells: the workers' shared cells.
        n_workers: how many rows of them there are.
    """

    def __init__(self, cells: Any, n_workers: int) -> None:
        self._cells = shared_cells(cells)
        self._n_workers = n_workers
        self._before = self._codes()

    def begin(self) -> None:
        """Look at what comes from now on."""
        self._before = self._codes()

    def breach(self) -> str | None:
        """What is wrong with the answers, as a sentence; None while they are well or too few."""
        now = self._codes()
        n_failed = now.get(_FAILED, 0) - self._before.get(_FAILED, 0)
        n_all = sum(now.values()) - sum(self._before.values())
        if n_failed < _LEAST_FAILED or n_failed < _WORST_SHARE * n_all:
            return None
        return f"{n_failed} of {n_all} answers failed while it was watched"

    def _codes(self) -> dict[str, int]:
        rows = [row_of(self._cells, slot).tolist() for slot in range(self._n_workers)]
        return Totals(rows, ()).codes
