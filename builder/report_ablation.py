"""The part of report.html that says what each signal is worth."""

from __future__ import annotations

from builder.ablation import CONTEXT, PRIOR, SliceAblation, Without
from builder.comparison import QUESTION_TITLES, SLICE_TITLES, asked_of, title
from builder.gate import MIN_CUSTOMERS
from builder.report import Figures
from builder.report_parts import Html, element, html, percent, table, with_interval

SIGNAL_TITLES = {
    PRIOR: "prior: all offers alike",
    CONTEXT: "context: all features together",
}


def ablation(report: Figures) -> Html:
    """A table for each question and slice; nothing where no signal was taken out."""
    measured = [result for result in report.ablation if result.signals]
    if not measured:
        return html("")
    return element(
        "section",
        element("h2", "What each signal is worth"),
        element(
            "p",
            "Each signal is taken out of the sum in turn, with all other weights as they ship, and "
            "the same examples are answered again. What is lost is what the signal alone "
            "contributes: two signals that say the same thing cover for each other.",
            css="lead",
        ),
        *(_slice(result) for result in measured),
    )


def standing(one: Without) -> str:
    """What taking a signal out did, as far as the interval can tell.

    >>> from builder.metrics import Interval
    >>> nothing = Interval(value=0.0, low=-0.01, high=0.01)
    >>> standing(Without(signal="cart", recall=nothing, ndcg=nothing, changed=0.5))
    'no difference'
    """
    if one.ndcg.low > 0.0:
        return "needed"
    return "harmful" if one.ndcg.high < 0.0 else "no difference"


def unheard(result: SliceAblation) -> str:
    """A sentence about signals without which every list stays the same; empty when there is none.

    >>> unheard(SliceAblation(question="", slice_name="", k=1, n_examples=0, n_customers=0,
    ...                       signals=()))
    ''
    """
    names = [one.signal for one in result.signals if not one.changed]
    return f"No list changes without {', '.join(names)}." if names else ""


def _slice(result: SliceAblation) -> Html:
    names = (title(result.question, QUESTION_TITLES), title(result.slice_name, SLICE_TITLES))
    examples = f"{asked_of(result.n_examples, result.n_customers)}."
    few = "" if result.n_customers >= MIN_CUSTOMERS else " Too few to tell signals apart."
    return element(
        "article",
        element("h3", ": ".join(names)),
        element("p", examples + few, css="note"),
        table(
            "Lost without the signal, paired by example, with 95 % intervals",
            (
                "Signal taken out",
                f"Recall@{result.k} lost",
                f"NDCG@{result.k} lost",
                "Lists changed",
                "Verdict",
            ),
            (
                (
                    SIGNAL_TITLES.get(one.signal, one.signal),
                    with_interval(one.recall, 4, is_signed=True),
                    with_interval(one.ndcg, 4, is_signed=True),
                    percent(one.changed),
                    standing(one),
                )
                for one in result.signals
                if one.changed
            ),
        ),
        element("p", unheard(result), css="note"),
    )
