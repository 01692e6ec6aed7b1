"""Charts as inline SVG, drawn with nothing but strings.

All are 400 units wide, which is about one phone: on a wide page they stand beside their table at
the same size, so lettering never shrinks. Colours are classes that the page's style defines for
light and dark. Every chart has a title and a description; its numbers stand in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import accumulate
from typing import NamedTuple

from builder.metrics import Interval, ReliabilityCurve

WIDTH = 400
_ROW = 30
_BAR = 13
_GAP = 12
_LETTER_WIDTH = 6.5
_DIGIT_WIDTH = 7.6
_MIN_LABEL_WIDTH = 66
_MAX_LABEL_WIDTH = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: from `start` to `start + length`, in the chart's own unit.

    Attributes:
        text: what stands at its end.
        is_ours: drawn in the accent colour.
        interval: drawn as a whisker over the bar's end.
    """

    label: str
    length: float
    text: str
    start: float = 0.0
    is_ours: bool = False
    interval: Interval | None = None


class Drawing(NamedTuple):
    """The inside of a chart, and how high it is."""

    body: str
    height: float


def figure(drawing: Drawing, *, name: str, title: str, description: str) -> str:
    """A chart with its title and description for those who can't see it; names are unique."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {drawing.height:g}" role="img"'
        f' aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{drawing.body}</svg>'
    )


def bars(rows: Sequence[Bar], *, reference: float | None = None) -> Drawing:
    """Horizontal bars on a common scale from zero.

    `reference` is drawn as a dashed line through all bars.
    """
    ends = [max(row.start + row.length, row.interval.high if row.interval else 0.0) for row in rows]
    left = _label_width([row.label for row in rows])
    right = max((len(row.text) for row in rows), default=0) * _DIGIT_WIDTH + _GAP
    scale = (WIDTH - left - right) / (max(ends, default=0.0) or 1.0)
    height = len(rows) * _ROW
    parts = [_bar(row, place * _ROW, left, scale) for place, row in enumerate(rows)]
    if reference is not None:
        parts.append(f'<path class="reference" d="M{left + reference * scale:.1f} 0V{height}"/>')
    return Drawing("".join(parts), height)


def _bar(row: Bar, top: float, left: float, scale: float) -> str:
    middle = top + _ROW / 2
    width = max(row.length * scale, 1.5 if row.length else 0.0)
    ours = " ours" if row.is_ours else ""
    parts = [
        _label(row.label, middle, left, f"label{ours}"),
        _rectangle(left + row.start * scale, middle, width, f"bar{ours}"),
        f'<text class="value{ours}" x="{WIDTH}" y="{middle + 4:g}">{escape(row.text)}</text>',
    ]
    if row.interval:
        low, high = (left + end * scale for end in (row.interval.low, row.interval.high))
        parts.append(
            f'<path class="whisker" d="M{low:.1f} {middle:g}H{high:.1f}'
            f'M{low:.1f} {middle - 3.5:g}v7M{high:.1f} {middle - 3.5:g}v7"/>'
        )
    return "".join(parts)


def _label_width(labels: Sequence[str]) -> float:
    """Room for the longest label and a gap, between two limits."""
    longest = max(map(len, labels), default=0) * _LETTER_WIDTH
    return max(_MIN_LABEL_WIDTH, min(longest, _MAX_LABEL_WIDTH)) + _GAP


def _label(content: str, middle: float, left: float, style: str = "label") -> str:
    """A row's name, cut with an ellipsis where it does not fit."""
    letters = round((left - _GAP) / _LETTER_WIDTH)
    if len(content) > letters:
        content = content[: letters - 1] + "…"
    return f'<text class="{style}" x="0" y="{middle + 4:g}">{escape(content)}</text>'


def _rectangle(x: float, middle: float, width: float, style: str, height: float = _BAR) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{middle - height / 2:g}" width="{width:.1f}"'
        f' height="{height:g}" rx="2"/>'
    )


def stacked(rows: Sequence[tuple[str, Sequence[float]]]) -> Drawing:
    """One bar per row, each split into the same parts; a part's class is `part-N`."""
    left = _label_width([label for label, _ in rows])
    body = []
    for place, (label, parts) in enumerate(rows):
        middle = place * _ROW + _ROW / 2
        body.append(_label(label, middle, left))
        starts = accumulate(parts, initial=0.0)
        for number, (start, part) in enumerate(zip(starts, parts, strict=False)):
            if part > 0.0:
                x, width = left + start * (WIDTH - left), part * (WIDTH - left)
                body.append(_rectangle(x, middle, width, f"part part-{number}", height=16))
    return Drawing("".join(body), len(rows) * _ROW)


def reliability(curve: ReliabilityCurve) -> Drawing:
    """Predicted (across) against observed (up), with the line of perfect honesty."""
    highest = max((*curve.mean_probability, *curve.positive_share), default=0.0) or 1.0
    left, side = 44.0, 300.0
    end = _round_up(highest)

    def at(predicted: float, observed: float) -> tuple[float, float]:
        return left + predicted / end * side, 10 + side - observed / end * side

    points = [at(*pair) for pair in zip(curve.mean_probability, curve.positive_share, strict=True)]
    ticks = [end * part / 4 for part in range(5)]
    body = [f'<path class="grid" d="M{left} 10V{side + 10}H{left + side}"/>']
    for tick in ticks:
        (x, base), (_, y) = at(tick, 0.0), at(0.0, tick)
        body.append(f'<text class="tick middle" x="{x:.1f}" y="{base + 18:.1f}">{tick:.3g}</text>')
        body.append(f'<text class="tick end" x="{left - 8}" y="{y + 4:.1f}">{tick:.3g}</text>')
    (x0, y0), (x1, y1) = at(0.0, 0.0), at(end, end)
    body.append(f'<path class="reference" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>')
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    body.append(f'<path class="line" d="M{line}"/>' if points else "")
    body.extend(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points)
    middle = left + side / 2
    body.append(f'<text class="tick middle" x="{middle}" y="{side + 48}">predicted</text>')
    body.append(f'<text class="tick" x="{left + 10}" y="22">observed</text>')
    return Drawing("".join(body), side + 56)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6 or 8 times a power of ten, so that quarters of it are short numbers.

    >>> [_round_up(value) for value in (0.013, 0.9, 0.05)]
    [0.02, 1.0, 0.06]
    """
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{next(s for s in (1, 2, 4, 6, 8, 10, 20) if value <= power * s) * power:.1g}")


def timeline(rows: Sequence[tuple[str, datetime, datetime]]) -> Drawing:
    """Stretches of time under one another on a common axis; at least one."""
    first = min(start for _, start, _ in rows)
    last = max(end for _, _, end in rows)
    left = _label_width([label for label, _, _ in rows])
    scale = (WIDTH - left) / ((last - first).total_seconds() or 1.0)
    body = []
    for place, (label, start, end) in enumerate(rows):
        middle = place * _ROW + _ROW / 2
        x = left + (start - first).total_seconds() * scale
        width = max((end - start).total_seconds() * scale, 1.5)
        body.append(_label(label, middle, left) + _rectangle(x, middle, width, "bar"))
    y = len(rows) * _ROW + 16
    body.append(f'<text class="tick" x="{left:.1f}" y="{y}">{first:%Y-%m-%d}</text>')
    body.append(f'<text class="tick end" x="{WIDTH}" y="{y}">{last:%Y-%m-%d}</text>')
    return Drawing("".join(body), y + 6)
