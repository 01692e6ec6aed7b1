"""Individual against segment: how far a list for many is from a list for one, and what that costs.

Both answer what known customers order next. The segment is what most marketing tools offer:
favourite category by source by part of the day, coarser where too few ordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np
import orjson

from bench.scorecard.lines import (
    FAILED,
    NOT_MEASURED,
    PASSED,
    Bar,
    Bars,
    Line,
    Table,
    Verdict,
    not_measured,
)
from bench.scorecard.people import People
from builder import metrics
from builder.answering import K
from builder.baselines import segment
from builder.baselines.segment import Segment
from builder.cases import NEXT_ORDER, Case, make_case
from builder.metrics import Floats, Interval, Ints
from builder.segment_gap import GapBin, SegmentGap, segment_gap
from index.generation import Generation
from index.wording import many

_SEED: Final = 1
_TITLE: Final = "A list for one beats a list for many"


def segments_line(people: People, command: str) -> Line:
    """Compare both kinds of list."""
    made = (make_case(order, NEXT_ORDER, k=K) for order in people.known)
    cases, ours, _ = people.ask([case for case in made if case is not None])
    if not cases:
        return not_measured("segments", "No known customer ordered afterwards.", command)
    fitted = segment.fit(people.history)
    theirs = people.rank(fitted, cases)
    prices = offer_prices(people.generation)
    gap = segment_gap(
        ours=ours,
        segment=theirs,
        truth=[case.truth for case in cases],
        n_past_orders=people.past.n_orders_of([case.key for case in cases]),
        values=None,
        k=K,
        seed=_SEED,
    )
    if gap.overall is None:
        why = f"{many(len(cases), 'known customer')} ordered afterwards, too few to compare."
        return not_measured("segments", why, command)
    worth = _worth(cases, ours, theirs, prices)
    shared = overlap(ours, theirs)
    verdict, told = _judged(gap.overall)
    counted = f"{many(gap.overall.n_examples, 'customer')}: of {K} offers,"
    sentence = f"{counted} {shared:.1f} are on both lists on average. {told}"
    if worth is not None:
        sentence += f" At the shop’s prices that is {_money(worth)} a list."
    return Line(
        part="segments",
        title=_TITLE,
        verdict=verdict,
        sentence=sentence,
        command=command,
        evidence=(_chart(gap), _costs(gap, worth), explosion(people.generation, fitted)),
    )


def overlap(one: Ints, other: Ints) -> float:
    """How many offers two lists share, on average; padding is none.

    >>> overlap(np.array([[1, 2, -1]]), np.array([[2, 3, -1]]))
    1.0
    """
    shared = (one[:, :, None] == other[:, None, :]) & (one[:, :, None] != metrics.PADDING)
    return float(shared.any(axis=2).sum(axis=1).mean())


def offer_prices(generation: Generation) -> Floats | None:
    """What each offer costs: float64, shape (n_offers,), 0 where unknown; None where no price is.

    Offers that have a value have it instead.
    """
    if generation.model.values is not None:
        return generation.model.values.astype(np.float64)
    prices = np.zeros(generation.model.n_offers)
    with generation.reading() as reader:
        for row in range(len(prices)):
            record = reader.offer(row)
            told = orjson.loads(b"{%b}" % record.fragment.strip(b",")) if record else {}
            prices[row] = float(told.get("price") or 0.0)
    return prices if prices.any() else None


def _worth(
    cases: Sequence[Case], ours: Ints, theirs: Ints, prices: Floats | None
) -> Interval | None:
    """What was bought of our list minus of theirs, at the offers' prices."""
    if prices is None:
        return None
    truth = [case.truth for case in cases]
    columns = [
        metrics.taken_value(metrics.judge(ranked, truth), ranked, prices, K)
        for ranked in (ours, theirs)
    ]
    drawn = metrics.bootstrap(np.column_stack(columns), np.arange(len(cases)), _SEED)
    return metrics.difference_interval(drawn, 0, 1)


def _judged(overall: GapBin) -> tuple[Verdict, str]:
    lost = overall.value.difference
    told = (
        f"Of its own list a customer buys {overall.value.ours.value:.2f}, of the segment’s"
        f" {overall.value.segment.value:.2f}: {lost.value:+.2f} ({lost.low:+.2f} to"
        f" {lost.high:+.2f}) offers a list."
    ).replace("-", "−")
    if lost.low > 0:
        return PASSED, told
    if lost.high < 0:
        return FAILED, told
    return NOT_MEASURED, f"{told} No difference can be shown."


def _money(worth: Interval) -> str:
    return f"{worth.value:+.2f} ({worth.low:+.2f} to {worth.high:+.2f})".replace("-", "−")


def _bin_name(one: GapBin) -> str:
    return f"{one.first}–{one.last} orders" if one.last else f"{one.first}+ orders"


def _chart(gap: SegmentGap) -> Bars:
    rows = []
    for one in gap.bins:
        for name, mean in (("own", one.value.ours), ("segment", one.value.segment)):
            rows.append(
                Bar(
                    label=f"{_bin_name(one)}: {name}",
                    value=mean.value,
                    text=f"{mean.value:.2f}",
                    low=mean.low,
                    high=mean.high,
                    is_ours=name == "own",
                )
            )
    return Bars(
        title=f"Offers bought of a list of {K}, by past orders",
        rows=rows,
        note="What a known customer’s next order held; 95 % intervals.",
    )


def _costs(gap: SegmentGap, worth: Interval | None) -> Table:
    assert gap.overall is not None
    rows = []
    for one in (*gap.bins, gap.overall):
        name = "all" if one is gap.overall else _bin_name(one)
        differences = (one.value.difference, one.ndcg.difference, one.recall.difference)
        cells = [f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})" for d in differences]
        rows.append([name, f"{one.n_examples:,}", *(cell.replace("-", "−") for cell in cells)])
    money = "" if worth is None else f" Worth of what is bought, all: {_money(worth)} a list."
    return Table(
        caption=f"The customer’s own list minus the segment’s.{money}",
        header=["past orders", "customers", "offers bought", f"NDCG@{K}", f"recall@{K}"],
        rows=rows,
        strong="all",
    )


def explosion(generation: Generation, fitted: Segment) -> Table:
    """What would have to be kept to have every combination, against what is kept to add them up."""
    counts, model = generation.manifest.counts, generation.model
    # Each size has a code for what is unknown, and there may be no category and no source at all.
    n_categories, n_sources, n_dayparts = (max(size - 1, 1) for size in fitted.sizes)
    combined = model.n_offers * n_categories * n_dayparts * n_sources
    features = {one.name: len(one.rows) for one in model.features if one.rows}
    # Source and hour are among the features.
    every = model.n_offers * n_categories * prod(features.values())
    named = " × ".join(f"{n:,} {name}" for name, n in features.items())
    rows = [
        ["offers", f"{model.n_offers:,}", "rows of the prior"],
        ["categories", f"{n_categories:,}", "one of which a customer buys most"],
        ["parts of the day", f"{n_dayparts:,}", "six hours each"],
        ["sources", f"{n_sources:,}", _source(fitted)],
        ["segments", f"{len(fitted.levels[0].list_of):,}", "of all three that have orders enough"],
        [
            "offers × categories × parts of the day × sources",
            f"{combined:,}",
            "figures to have for every combination",
        ],
        ["offers × categories × every context", _about(every), named],
        ["offers × customers", f"{model.n_offers * counts['customers']:,}", "to be individual"],
        [
            "context rows of the snapshot",
            f"{counts['contexts']:,}",
            "which add up to any combination",
        ],
        ["customer rows of the snapshot", f"{counts['customers']:,}", "one for each"],
    ]
    return Table(
        caption="The arithmetic of combinations in this shop: figures for each, or rows that add.",
        header=["what", "how many", "of which kind"],
        rows=rows,
    )


def _source(fitted: Segment) -> str:
    """What the segments take for the source of a visit."""
    if fitted.source_feature is None:
        return "the events tell no source of a visit"
    return f"values of {fitted.source_feature}, which tells where a visit is from"


def _about(n: int) -> str:
    """A large number by its first two digits.

    >>> _about(1_296_000)
    '1,300,000'
    """
    return f"{int(float(f'{n:.1e}')):,}"
