"""The course of a run as inline SVG: waits on a logarithmic scale over the seconds of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from bench.scorecard.lines import Course

WIDTH: Final = 1000.0
_LEFT, _RIGHT, _TOP, _HEIGHT, _RATES = 64.0, 132.0, 26.0, 230.0, 46.0
_LOWEST_MS: Final = 0.1
_LINES: Final = ("median", "tail", "longest")


def course_svg(course: Course, name: str) -> str:
    """A chart; its name is unique on the page."""
    frame = _Frame(course)
    body = [*frame.grid(), *frame.rates(), *frame.marks()]
    if course.limit_ms is not None:
        body.append(frame.limit(course.limit_ms))
    body += frame.lines()
    height = _TOP + _HEIGHT + _RATES + 40
    return (
        f'<svg class="course" viewBox="0 0 {WIDTH:g} {height:g}" role="img"'
        f' aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(course.title)}</title>'
        f'<desc id="{name}-d">{escape(course.note)}</desc>{"".join(body)}</svg>'
    )


class _Frame:
    """Scales of one chart."""

    def __init__(self, course: Course) -> None:
        self._course = course
        values = [v for line in course.lines.values() for v in line if v is not None]
        limits = [] if course.limit_ms is None else [course.limit_ms]
        lowest = max(min([*values, *limits], default=1.0), _LOWEST_MS)
        highest = max([*values, *limits, lowest * 10])
        self._from = math.floor(math.log10(lowest))
        self._to = math.ceil(math.log10(highest) - 1e-9)
        self._end_s = max(course.seconds, default=1.0) + 0.25
        self._most = max(course.rates, default=1.0) or 1.0

    def x(self, seconds: float) -> float:
        """Across."""
        return _LEFT + seconds / self._end_s * (WIDTH - _LEFT - _RIGHT)

    def y(self, milliseconds: float) -> float:
        """Up, by powers of ten."""
        place = math.log10(max(milliseconds, 10.0**self._from)) - self._from
        return _TOP + _HEIGHT * (1 - place / (self._to - self._from))

    def grid(self) -> Iterator[str]:
        """A line for each power of ten, and seconds below."""
        for power in range(self._from, self._to + 1):
            y = self.y(10.0**power)
            yield f'<path class="grid" d="M{_LEFT:g} {y:.1f}H{WIDTH - _RIGHT:g}"/>'
            x = _LEFT - 10
            yield f'<text class="tick end" x="{x:g}" y="{y + 4:.1f}">{10.0**power:g} ms</text>'
        step = next(s for s in (1, 2, 5, 10, 30, 60, 600, 3600, 86400) if self._end_s / s <= 12)
        base = _TOP + _HEIGHT + _RATES + 26
        for second in range(0, int(self._end_s) + 1, step):
            x = self.x(second)
            yield f'<text class="tick middle" x="{x:.1f}" y="{base:g}">{second} s</text>'

    def rates(self) -> Iterator[str]:
        """Requests due, as an area under the waits."""
        floor = _TOP + _HEIGHT + _RATES + 8
        points = [
            f"{self.x(second):.1f} {floor - rate / self._most * _RATES:.1f}"
            for second, rate in zip(self._course.seconds, self._course.rates, strict=True)
        ]
        if points:
            first, last = (self.x(self._course.seconds[place]) for place in (0, -1))
            yield (
                f'<path class="rates" d="M{first:.1f} {floor:g}L{"L".join(points)}'
                f'L{last:.1f} {floor:g}Z"/>'
            )
            yield (
                f'<text class="tick" x="{WIDTH - _RIGHT + 12:g}" y="{floor - _RATES + 10:g}">'
                f"{self._most:,.0f} a second</text>"
            )

    def marks(self) -> Iterator[str]:
        """What happened, and where phases begin."""
        for at_s, word in self._course.marks:
            x = self.x(at_s)
            yield f'<path class="mark" d="M{x:.1f} {_TOP:g}V{_TOP + _HEIGHT + _RATES + 8:g}"/>'
            yield f'<text class="tick" x="{x + 4:.1f}" y="{_TOP - 8:g}">{escape(word)}</text>'

    def limit(self, limit_ms: float) -> str:
        """What was promised."""
        y = self.y(limit_ms)
        return (
            f'<path class="limit" d="M{_LEFT:g} {y:.1f}H{WIDTH - _RIGHT:g}"/>'
            f'<text class="limit" x="{WIDTH - _RIGHT - 6:g}" y="{y - 6:.1f}">promised:'
            f" below {limit_ms:g} ms</text>"
        )

    def lines(self) -> Iterator[str]:
        """The waits, each named at its end, names kept apart."""
        ends: list[tuple[float, str, str]] = []
        for style, (name, values) in zip(_LINES, self._course.lines.items(), strict=True):
            points = [
                f"{self.x(second):.1f} {self.y(value):.1f}"
                for second, value in zip(self._course.seconds, values, strict=True)
                if value is not None
            ]
            if points:
                yield f'<path class="wait {style}" d="M{"L".join(points)}"/>'
                ends.append((float(points[-1].split()[1]), name, style))
        # Below them stands how many requests a second the area's top is.
        heights = _apart([end[0] for end in ends], _TOP + _HEIGHT - 2)
        for y, (_, name, style) in zip(heights, ends, strict=True):
            x = WIDTH - _RIGHT + 12
            yield f'<text class="name {style}" x="{x:g}" y="{y + 4:.1f}">{escape(name)}</text>'


def _apart(heights: Sequence[float], lowest: float, least: float = 16.0) -> list[float]:
    """Heights moved until none is nearer to the next than a line of text, in the same order.

    >>> _apart([100.0, 98.0, 40.0], lowest=200.0)
    [114.0, 98.0, 40.0]
    >>> _apart([100.0, 98.0, 40.0], lowest=110.0)
    [110.0, 94.0, 40.0]
    """
    placed = list(heights)
    order = sorted(range(len(placed)), key=lambda place: placed[place])
    for lower, higher in pairwise(order):
        placed[higher] = max(placed[higher], placed[lower] + least)
    for place in reversed(order):
        placed[place] = min(placed[place], lowest)
        lowest = placed[place] - least
    return placed
