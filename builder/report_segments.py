"""The part of report.html that sets lists made for a segment against lists made for a customer."""

from __future__ import annotations

from builder import report_charts as charts
from builder.comparison import OURS, SEGMENT
from builder.report import Figures
from builder.report_charts import Bar
from builder.report_parts import (
    Html,
    details,
    element,
    figure,
    html,
    number,
    table,
    with_interval,
)
from builder.segment_gap import GapBin, Pair, SegmentGap


def segments(report: Figures) -> Html:
    """Chart and tables by number of past orders; nothing where too few customers are known."""
    gap = report.segment_gap
    if gap is None or gap.overall is None:
        return html("")
    return element(
        "section",
        element("h2", "Segment against individual"),
        element(
            "p",
            "What a known customer orders next, foretold by the list of the customer’s segment "
            "(favourite category by source by part of the day) and by the customer’s own, by how "
            "many orders came before.",
            css="lead",
        ),
        element("p", f"{standing(gap)} {_unit(gap)}", css="note"),
        element(
            "div",
            element("div", _chart(gap), element("p", _legend(gap), css="legend")),
            _differences(gap, gap.overall),
            css="beside",
        ),
        details("Both lists apart", _means(gap, gap.overall)),
    )


def standing(gap: SegmentGap) -> str:
    """In how many bins ours is surely better or worse, as far as the intervals can tell."""
    better = sum(one.ndcg.difference.low > 0.0 for one in gap.bins)
    worse = sum(one.ndcg.difference.high < 0.0 for one in gap.bins)
    return (
        f"By NDCG@{gap.k}, {OURS} is better in {better} of {len(gap.bins)} groups of customers,"
        f" worse in {worse}, and in {len(gap.bins) - better - worse} no difference can be shown."
    )


def _unit(gap: SegmentGap) -> str:
    if gap.value_unit == "worth":
        what = "what those of its offers that were bought are worth, in the unit of the offers"
    else:
        what = "how many of its offers were bought, since offers have no worth here"
    return f"The value of a list is {what}; the value deviation is what the segment’s list lacks."


def _orders(one: GapBin) -> str:
    if one.last is None:
        return f"{number(one.first)}+"
    return f"{number(one.first)}–{number(one.last)}"


def _chart(gap: SegmentGap) -> Html:
    rows = [
        Bar(
            label=label,
            length=mean.value,
            text=figure(mean.value, 4),
            is_ours=label != SEGMENT,
            interval=mean,
        )
        for one in gap.bins
        for label, mean in ((_orders(one), one.ndcg.ours), (SEGMENT, one.ndcg.segment))
    ]
    words = "; ".join(
        f"{_orders(one)} orders: {figure(one.ndcg.ours.value, 4)} and "
        f"{figure(one.ndcg.segment.value, 4)}"
        for one in gap.bins
    )
    return Html(
        charts.figure(
            charts.bars(rows),
            name="segment-gap",
            title=f"NDCG@{gap.k} by number of past orders, {OURS} and {SEGMENT}",
            description=f"Bars with 95 % intervals. {words}.",
        )
    )


def _legend(gap: SegmentGap) -> str:
    return f"NDCG@{gap.k} with 95 % interval: {OURS} by past orders, {SEGMENT} below it"


def _differences(gap: SegmentGap, overall: GapBin) -> Html:
    return table(
        f"{OURS} minus {SEGMENT} by past orders, paired by customer; for value, the deviation",
        ("Orders", "Customers", *_names(gap)),
        (
            (
                name,
                number(one.n_examples),
                *(
                    with_interval(pair.difference, decimals, is_signed=True)
                    for pair, decimals in _pairs(one)
                ),
            )
            for name, one in _rows(gap, overall)
        ),
    )


def _means(gap: SegmentGap, overall: GapBin) -> Html:
    return table(
        "Means and their 95 % intervals, by past orders",
        ("Orders", *(f"{name}, {who}" for name in _names(gap) for who in (OURS, SEGMENT))),
        (
            (
                name,
                *(
                    with_interval(mean, decimals)
                    for pair, decimals in _pairs(one)
                    for mean in (pair.ours, pair.segment)
                ),
            )
            for name, one in _rows(gap, overall)
        ),
    )


def _names(gap: SegmentGap) -> tuple[str, str, str]:
    return f"Recall@{gap.k}", f"NDCG@{gap.k}", "Value"


def _pairs(one: GapBin) -> tuple[tuple[Pair, int], ...]:
    """Every metric with the decimals it is printed with."""
    return (one.recall, 4), (one.ndcg, 4), (one.value, 2)


def _rows(gap: SegmentGap, overall: GapBin) -> list[tuple[str, GapBin]]:
    return [*((_orders(one), one) for one in gap.bins), ("All", overall)]
