"""Tables and figures in plain text, for a terminal, a pipe or a log."""

from __future__ import annotations

from collections.abc import Sequence

from builder.metrics import Interval
from builder.report_parts import NONE


def with_bounds(interval: Interval | None, decimals: int, *, is_signed: bool = False) -> str:
    """A figure with its interval in brackets."""
    if interval is None:
        return NONE
    sign = "+" if is_signed else ""
    value, low, high = (
        f"{number:{sign}.{decimals}f}" for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} ({low} to {high})" if is_signed else f"{value} ({low}–{high})"


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Rows of a table in plain text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  " + _line(row, widths) for row in cells)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = row
    right = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *right])
