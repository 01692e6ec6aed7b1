"""Turns of the open loop, as paper has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.http_open import OpenTurn
from bench.load.samples import Samples
from bench.load.schedule import constant


def open_turn(
    row: str,
    *,
    wait_us: int,
    n: int = 1001,
    statuses: Sequence[int] | None = None,
    n_late: int = 0,
    cpu_us: int = 50,
) -> OpenTurn:
    """Requests a millisecond apart that all waited equally long, the last few taken late."""
    due_ns = np.arange(n, dtype=np.int64) * 1_000_000
    late_ns = np.where(np.arange(n) < n - n_late, 0, 2_000_000)
    return OpenTurn(
        row=row,
        rate=1000.0,
        cpu_ns=n * cpu_us * 1000,
        driver_cpu_ns=1,
        samples=Samples(
            phases=constant(1000.0, n / 1000),
            phase=np.zeros(n, dtype=np.uint8),
            kinds=("all",),
            kind=np.zeros(n, dtype=np.uint8),
            due_ns=due_ns,
            taken_ns=due_ns + late_ns,
            sent_ns=due_ns + late_ns,
            done_ns=due_ns + wait_us * 1000,
            read_ns=due_ns + wait_us * 1000,
            statuses=np.array([200] * n if statuses is None else statuses, dtype=np.int64),
        ),
    )
