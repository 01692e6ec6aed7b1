"""What a scorecard is made of: lines, each with a verdict, its evidence and what repeats it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Verdict: TypeAlias = Literal["pass", "fail", "not measured"]
PASSED: Final = "pass"
FAILED: Final = "fail"
NOT_MEASURED: Final = "not measured"
PARTS: Final = {
    "peak": "The promise at peak",
    "volume": "Your real volume",
    "cold": "Cold start",
    "segments": "Individual against segment",
    "trial": "Peak trial",
}
"""What is measured, in this order, by the words that choose it."""


def worst(verdicts: Collection[Verdict]) -> Verdict:
    """What holds of all together: one that fails is enough, and nothing unmeasured passes.

    >>> worst(["pass", "not measured"]), worst(["not measured", "fail"]), worst([])
    ('not measured', 'fail', 'not measured')
    """
    if FAILED in verdicts:
        return FAILED
    return PASSED if {*verdicts} == {PASSED} else NOT_MEASURED


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures in rows.

    Attributes:
        caption: what they are.
        header: names of the columns.
        rows: a name and the cells of each.
        strong: name of the row that is emphasised.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar with its interval, all in the chart's unit."""

    label: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    is_ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Figures as bars from zero.

    Attributes:
        title: what they are.
        rows: one bar each.
        reference: drawn through all bars.
        note: how to read it.
    """

    title: str
    rows: Sequence[Bar]
    reference: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Waiting times over the seconds of a run.

    Attributes:
        title: of the chart.
        seconds: of each point.
        lines: milliseconds by name, None where no request tells.
        rates: requests that were due in each second.
        marks: moments worth a word, as seconds and the word.
        limit_ms: what was promised; None when nothing was.
        note: how to read it.
    """

    title: str
    seconds: Sequence[float]
    lines: dict[str, Sequence[float | None]]
    rates: Sequence[float]
    marks: Sequence[tuple[float, str]] = ()
    limit_ms: float | None = None
    note: str = ""


Evidence: TypeAlias = Table | Bars | Course


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was asked.

    Attributes:
        part: one of `PARTS`.
        title: what was asked.
        verdict: whether it holds.
        sentence: what was found, or why nothing was.
        command: what repeats it.
        evidence: what the verdict rests on.
        is_promise: whether the scorecard as a whole fails with it.
        run: names of the runs whose samples stand behind it.
        figures: what other scorecards are compared by, by name.
    """

    part: str
    title: str
    verdict: Verdict
    sentence: str
    command: str
    evidence: Sequence[Evidence] = field(default_factory=tuple)
    is_promise: bool = False
    run: Sequence[str] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


def not_measured(
    part: str, why: str, command: str, title: str | None = None, *, is_promise: bool = False
) -> Line:
    """A line of which nothing can be said."""
    return Line(
        part=part,
        title=title or PARTS[part],
        verdict=NOT_MEASURED,
        sentence=why,
        command=command,
        is_promise=is_promise,
    )
