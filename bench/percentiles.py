"""Percentiles of waits: each is a wait that somebody had, and none is told by chance."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
BEYOND: Final = 10
"""So many samples must lie above a percentile; with fewer it is told by chance."""


def percentiles_us(nanoseconds: NDArray[np.int64]) -> dict[str, float | None]:
    """Percentiles and the longest, in microseconds.

    Each is a sample, the smallest that so many are not above. None where fewer than ten samples
    are above it.

    >>> percentiles_us(np.arange(1, 1001) * 1000)
    {'p50_us': 500.0, 'p90_us': 900.0, 'p99_us': 990.0, 'p99.9_us': None, 'max_us': 1000.0}
    """
    n = len(nanoseconds)
    found: dict[str, float | None] = {}
    ordered = np.sort(nanoseconds)
    for percentile in PERCENTILES:
        place = int(np.ceil(round(n * percentile / 100, 6))) - 1
        known = n - 1 - place >= BEYOND
        found[f"p{percentile:g}_us"] = round(int(ordered[place]) / 1000, 2) if known else None
    return found | {"max_us": round(int(ordered[-1]) / 1000, 2) if n else None}


def as_cell(figure: float | None, digits: int = 0) -> str:
    """A figure as a cell, in whatever it counts; a dash where there is none.

    >>> as_cell(1234.56), as_cell(26.04, 1), as_cell(None)
    ('1,235', '26.0', '–')
    """
    return "–" if figure is None else f"{figure:,.{digits}f}"


def as_ms(microseconds: float | None) -> str:
    """Microseconds as a cell of milliseconds.

    >>> as_ms(1234.56), as_ms(None)
    ('1.23', '–')
    """
    return "–" if microseconds is None else f"{microseconds / 1000:.2f}"
