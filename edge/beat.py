"""Signs of life: a worker's loop counts in a cell, and the supervisor looks whether it goes on.

A worker that hangs is not dead: its socket stays, and the kernel gives it its share of callers. It
is told from one that only answers slowly by its loop, which comes round many times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from edge.cells import BEAT, READY, Cells

LOOK_S: Final = 1.0
"""Between two looks of the supervisor."""
MOST_SILENT: Final = 10
"""Looks in a row, about as many seconds. The longest that a sound loop is held up is the tenth part
of a second, by one costly decision; a disk or a host that stands still for seconds is no reason to
lose all that a worker has warm, and who called it meanwhile would wait for the next one as well."""
_BEAT_S: Final = 0.25


def beat(loop: asyncio.AbstractEventLoop, row: Cells) -> None:
    """Count in a worker's row that its loop goes on, now and from now on."""
    row[BEAT] += 1
    loop.call_later(_BEAT_S, beat, loop, row)


class Beats:
    """What the supervisor saw of its workers' beats.

    No time is compared: what counts is how often the supervisor looked in vain. So when a whole
    machine stands still, for a moment or for hours, nobody is taken for one that hangs; the
    supervisor did not look either, and afterwards workers have all their time to beat again.

    Args:
        rows: the workers' rows, by slot.
    """

    def __init__(self, rows: Sequence[Cells]) -> None:
        self._rows = rows
        self._seen = [0] * len(rows)
        self._silent = [0] * len(rows)

    def look(self) -> list[int]:
        """Slots of the workers that hang. To be called every `LOOK_S`."""
        for slot, row in enumerate(self._rows):
            # One that is still starting has no loop yet.
            lives = not row[READY] or row[BEAT] != self._seen[slot]
            self._silent[slot] = 0 if lives else self._silent[slot] + 1
            self._seen[slot] = row[BEAT]
        return [slot for slot, silent in enumerate(self._silent) if silent >= MOST_SILENT]
