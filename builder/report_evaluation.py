"""The heart of report.html: how good the offers are, and how honest the probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from builder import report_charts as charts
from builder.comparison import (
    DEFAULT,
    OURS,
    QUESTION_TITLES,
    SLICE_TITLES,
    MethodResult,
    Score,
    SliceResult,
    asked_of,
    title,
)
from builder.evaluate import TierCalibration
from builder.report import Figures, standing
from builder.report_charts import Bar
from builder.report_parts import (
    NONE,
    NOT_MEASURED,
    Html,
    details,
    element,
    figure,
    html,
    number,
    percent,
    table,
    with_interval,
)
from index.model import TIERS

QUESTION_SENTENCES: Final[Mapping[str, str]] = {
    "next_order": "What will this customer buy next time?",
    "post_purchase": "Given an order’s first items and its context, what else is in it?",
}

SLICE_SENTENCES: Final[Mapping[str, str]] = {
    "warm": "three orders or more behind them",
    "thin": "one or two orders behind them",
    "cold_with_cart": "never seen before, something in the cart",
    "cold_without_cart": "never seen before, nothing in the cart",
}


_TIERS: Final = (*TIERS, "safe")


def evaluation(report: Figures) -> list[Html]:
    """A section for each question, every slice with its chart and table."""
    questions = dict.fromkeys(result.question for result in report.evaluation)
    sections = []
    for question in questions:
        results = [result for result in report.evaluation if result.question == question]
        sections.append(
            element(
                "section",
                element("h2", title(question, QUESTION_TITLES)),
                element("p", QUESTION_SENTENCES.get(question, ""), css="lead"),
                *(_slice(result) for result in results),
            )
        )
    if sections:
        sections.insert(0, _how_to_read())
    if report.baseline_settings:
        tuned = (f"{name}: {text}" for name, text in sorted(report.baseline_settings.items()))
        note = "Baselines tuned on the weight slice, as ours was: "
        sections.append(element("p", note + "; ".join(tuned) + ".", css="note apart"))
    return sections


def _how_to_read() -> Html:
    return element(
        "section",
        element("h2", "How good the offers are"),
        element(
            "p",
            "Every method answers the same questions about orders it has not seen. Recall is the "
            "share of what was bought that its offers name, NDCG weighs that by place, and hit is "
            f"the share of questions with any offer bought. The method called {DEFAULT} shows the "
            "most popular offers to everybody; the others are known methods that learned from "
            "the same past.",
            css="lead",
        ),
        css="intro",
    )


def _slice(result: SliceResult) -> Html:
    about = SLICE_SENTENCES.get(result.slice_name, "")
    heading = element("h3", title(result.slice_name, SLICE_TITLES), " ", element("small", about))
    if not result.methods:
        return element("article", heading, element("p", f"{NOT_MEASURED.capitalize()}."))
    examples = asked_of(result.n_examples, result.n_customers)
    return element(
        "article",
        heading,
        element("p", f"{examples}. {standing(result)}", css="note"),
        element(
            "div",
            element("div", _slice_chart(result), element("p", _legend(result), css="legend")),
            _slice_table(result),
            css="beside",
        ),
        _against_default(result),
    )


def _slice_chart(result: SliceResult) -> Html:
    base = result.of(DEFAULT)
    rows = [
        Bar(
            label=method.method,
            length=method.ndcg.mean.value,
            text=figure(method.ndcg.mean.value, 4),
            is_ours=method.method == OURS,
            interval=method.ndcg.mean,
        )
        for method in result.methods
    ]
    of_whom = title(result.slice_name, SLICE_TITLES)
    words = "; ".join(f"{row.label} {row.text}" for row in rows)
    return Html(
        charts.figure(
            charts.bars(rows, reference=base.ndcg.mean.value if base else None),
            name=f"{_anchor(result.question)}-{_anchor(result.slice_name)}",
            title=f"NDCG@{result.k} by method: {of_whom}",
            description=f"Bars with 95 % intervals. {words}.",
        )
    )


def _anchor(name: str) -> str:
    """A name as an attribute may hold it."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _legend(result: SliceResult) -> str:
    return f"NDCG@{result.k} with 95 % interval; dashed: {DEFAULT}"


def _slice_table(result: SliceResult) -> Html:
    return table(
        f"{title(result.slice_name, SLICE_TITLES)}: means and their 95 % intervals",
        (*_score_header(result), f"NDCG ÷ {DEFAULT}"),
        (
            (
                method.method,
                *(with_interval(score.mean, 4) for score in _scores(method)),
                with_interval(method.ndcg.ratio, 2),
            )
            for method in result.methods
        ),
        strong=OURS,
    )


def _scores(method: MethodResult) -> tuple[Score, Score, Score]:
    return method.recall, method.ndcg, method.hit


def _against_default(result: SliceResult) -> Html:
    return details(
        "Differences, ratios, spread", _differences(result), _ratios(result), _spread(result)
    )


def _differences(result: SliceResult) -> Html:
    return table(
        f"Mean minus that of {DEFAULT}, paired by example",
        _score_header(result),
        (
            (
                method.method,
                *(with_interval(s.difference, 4, is_signed=True) for s in _scores(method)),
            )
            for method in _all_but_default(result)
        ),
        strong=OURS,
    )


def _ratios(result: SliceResult) -> Html:
    return table(
        f"Mean divided by that of {DEFAULT}",
        _score_header(result),
        (
            (method.method, *(with_interval(score.ratio, 2) for score in _scores(method)))
            for method in _all_but_default(result)
        ),
        strong=OURS,
    )


def _spread(result: SliceResult) -> Html:
    return table(
        "Mean place of the first hit; share of all offers ever shown; inequality of showing "
        "(Gini); share of lists with the same first offer",
        ("Method", "First hit", "Coverage", "Gini", "Same first"),
        (
            (
                method.method,
                figure(method.mean_first_hit, 2),
                percent(method.exposure.coverage, 2),
                figure(method.exposure.gini, 3),
                percent(method.exposure.top1_share),
            )
            for method in result.methods
        ),
        strong=OURS,
    )


def _score_header(result: SliceResult) -> tuple[str, ...]:
    return ("Method", *(f"{metric}@{result.k}" for metric in ("Recall", "NDCG", "Hit")))


def _all_but_default(result: SliceResult) -> list[MethodResult]:
    return [method for method in result.methods if method.method != DEFAULT]


def probabilities(report: Figures) -> Html:
    """Calibration by tier, and how often each tier answered."""
    return element(
        "section",
        element("h2", "Probabilities and tiers"),
        element(
            "p",
            "A probability is honest when, of all offers given 5 %, five in a hundred are taken.",
            css="lead",
        ),
        *(_calibration(c) for c in sorted(report.calibration, key=_by_tier)),
        html("") if report.calibration else element("p", f"{NOT_MEASURED.capitalize()}."),
        _tiers(report),
    )


def _by_tier(calibration: TierCalibration) -> tuple[int, str]:
    return _TIERS.index(calibration.tier.partition("+")[0]), calibration.tier


def _calibration(calibration: TierCalibration) -> Html:
    skill = 1.0 - calibration.brier / calibration.base_brier if calibration.base_brier else None
    chart = charts.figure(
        charts.reliability(calibration.curve),
        name=f"calibration-{_anchor(calibration.tier)}",
        title=f"Calibration of tier {_tier_title(calibration.tier)}",
        description="Predicted against observed share; the dashed diagonal is perfect honesty.",
    )
    return element(
        "article",
        element("h3", f"Tier {_tier_title(calibration.tier)}"),
        element(
            "p",
            f"Brier score {calibration.brier:.4f}; a constant would have "
            f"{calibration.base_brier:.4f}, so {percent(skill)} of that error is explained.",
            css="note",
        ),
        element(
            "div",
            element("div", Html(chart)),
            _calibration_table(calibration),
            css="beside",
        ),
    )


def _tier_title(name: str) -> str:
    """A tier's name, or that of its requests with carts, for people."""
    tier, _, cart = name.partition("+")
    return f"{tier}, with a cart" if cart else tier


def _calibration_table(calibration: TierCalibration) -> Html:
    curve = calibration.curve
    bins = zip(curve.mean_probability, curve.positive_share, curve.n_examples, strict=True)
    return table(
        f"Offers shown in tier {_tier_title(calibration.tier)}, by rising probability",
        ("Bin", "Predicted", "Observed", "Offers"),
        (
            (str(place), percent(predicted, 2), percent(observed, 2), number(n))
            for place, (predicted, observed, n) in enumerate(bins, start=1)
        ),
    )


def _tiers(report: Figures) -> Html:
    seen = {tier for shares in report.tier_shares.values() for tier in shares}
    names = [tier for tier in _TIERS if tier in seen]
    rows = {key: shares for key, shares in report.tier_shares.items() if shares}
    if not rows:
        return html("")
    labels = {key: _slice_label(key) for key in rows}
    chart = charts.figure(
        charts.stacked([(labels[key], [rows[key].get(n, 0.0) for n in names]) for key in rows]),
        name="tiers",
        title="Share of decisions by tier",
        description="One bar for each question and slice; the table beside it has the numbers.",
    )
    legend = [
        element("span", element("i", css=f"swatch part-{place}"), name)
        for place, name in enumerate(names)
    ]
    return element(
        "article",
        element("h3", "How much was known ", element("small", "share of decisions by tier")),
        element(
            "div",
            element("div", Html(chart), element("p", *legend, css="legend")),
            table(
                "Share of decisions by tier",
                ("Question and slice", *names),
                (
                    (
                        labels[key],
                        *(percent(rows[key][n]) if n in rows[key] else NONE for n in names),
                    )
                    for key in rows
                ),
            ),
            css="beside",
        ),
    )


def _slice_label(key: str) -> str:
    """A short name for `question/slice`."""
    question, _, slice_name = key.partition("/")
    return f"{title(question, QUESTION_TITLES)}: {slice_name.replace('_', ' ')}"
