"""Whether answers under load are as good as answers at rest: the same questions at both."""

from __future__ import annotations

import numpy as np

from bench.scorecard.answers import ndcg
from bench.scorecard.lines import FAILED, NOT_MEASURED, PASSED, Bar, Bars, Line, Table, Verdict
from bench.scorecard.questions import K, Questions
from bench.scorecard.runs import Run
from builder import metrics
from builder.metrics import Interval
from index.wording import many

_SEED = 1
_TITLE = "Answers at peak are as good as at rest"


def quality_line(
    questions: Questions, found: Run, *, place: str, command: str, peak: int, rest: int = 0
) -> Line:
    """Compare answers to the same questions in two phases.

    A question without an answer counts as one whose list holds nothing.

    Args:
        questions: that were asked.
        found: the run.
        place: the peak's load in words.
        command: what repeats it.
        peak: number of the phase under load.
        rest: number of the phase at rest.
    """
    at_rest, at_peak = found.by_question(rest), found.by_question(peak)
    both = sorted(at_rest)
    lists = [[at_rest[one].offers for one in both]]
    lists.append([at_peak[one].offers if one in at_peak else () for one in both])
    items = {name for names in questions.truth for name in names}
    shown = {offer for one in lists[0] for offer in one}
    why = _why_not(found, n=len(both), knows=bool(shown & items))
    if why is not None:
        return Line(
            part="peak",
            title=_TITLE,
            verdict=NOT_MEASURED,
            sentence=why,
            command=command,
            run=(found.name,),
        )
    truth = [questions.truth[one] for one in both]
    columns = np.column_stack([ndcg(one, truth) for one in lists])
    drawn = metrics.bootstrap(columns, questions.customer[both], _SEED)
    means = [metrics.mean_interval(drawn, column) for column in (0, 1)]
    difference = metrics.difference_interval(drawn, 1, 0)
    n_alike = sum(one == other for one, other in zip(*lists, strict=True))
    verdict, chance = _judged(difference)
    alike = "all" if n_alike == len(both) else f"{n_alike:,}"
    return Line(
        part="peak",
        title=_TITLE,
        verdict=verdict,
        sentence=f"NDCG@{K} of {many(len(both), 'question')} was {means[0].value:.4f} at 1× and"
        f" {means[1].value:.4f} at {place}; {alike} had the same offers in the same order.{chance}",
        command=command,
        evidence=(
            Bars(
                title=f"NDCG@{K} of the same questions",
                rows=[
                    _bar(name, mean)
                    for name, mean in zip(("at rest", "at peak"), means, strict=True)
                ],
                note="Held against what the order of each question went on to hold; 95 % intervals,"
                " whole customers resampled.",
            ),
            Table(
                caption="Peak minus rest, paired by question. The same question carries the same"
                " moment and request id at both loads, so only a service that acts otherwise under"
                " load answers otherwise.",
                header=["", f"NDCG@{K}", "from", "to"],
                rows=[
                    [
                        "difference",
                        *(
                            f"{one:+.4f}"
                            for one in (difference.value, difference.low, difference.high)
                        ),
                    ]
                ],
            ),
        ),
        run=(found.name,),
        figures={"at_rest": means[0].value, "at_peak": means[1].value},
    )


def _judged(difference: Interval) -> tuple[Verdict, str]:
    """Of peak minus rest: what may be lower by chance was shown to be neither worse nor as good."""
    if difference.high < 0:
        return FAILED, ""
    if difference.value < 0:
        return NOT_MEASURED, " It may be lower by chance: too few questions tell."
    return PASSED, ""


def _why_not(found: Run, *, n: int, knows: bool) -> str | None:
    if found.distrust is not None:
        return found.distrust
    if not n:
        return "There was no good answer at 1×."
    if not knows:
        return (
            "None of the offers that were shown is an item of the orders, so nothing tells how good"
            " they are."
        )
    return None


def _bar(label: str, mean: Interval) -> Bar:
    return Bar(
        label=label,
        value=mean.value,
        text=f"{mean.value:.4f}",
        low=mean.low,
        high=mean.high,
        is_ours=True,
    )
