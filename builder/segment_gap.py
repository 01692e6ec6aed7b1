"""Segment against individual: what a list for many loses, by how long a customer is known.

Both lists answer the same questions about customers whose past both know: ours was made for the
customer, the other for everybody in the customer's segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from builder import metrics
from builder.gate import MIN_CUSTOMERS
from builder.metrics import Floats, Interval, Ints, Replicates

FIRST_ORDERS: Final = (1, 3, 6, 11, 21, 51)
"""Where a bin of past orders begins; the first is tier `thin`."""

ValueUnit = Literal["worth", "hits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A metric's mean over the same examples for both lists.

    Attributes:
        ours: of the list for the customer.
        segment: of the list for the segment.
        difference: ours minus segment, paired by example.
    """

    ours: Interval
    segment: Interval
    difference: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class GapBin:
    """Customers with about as many orders before the question.

    Attributes:
        first: fewest past orders.
        last: most past orders; None for no limit.
        n_examples: questions asked, one for each customer.
        recall: recall@k.
        ndcg: NDCG@k.
        value: what the offers of a list that were taken are worth, per list; its difference is the
            expected value deviation.
    """

    first: int
    last: int | None
    n_examples: int
    recall: Pair
    ndcg: Pair
    value: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentGap:
    """All bins.

    Attributes:
        k: how many offers were ranked.
        value_unit: `worth` where offers have a value, in the brand's unit; otherwise `hits`, each
            offer taken counting one.
        bins: by rising number of past orders; empty when too few customers are known.
        overall: all of them together; None when there are no bins.
    """

    k: int
    value_unit: ValueUnit
    bins: tuple[GapBin, ...]
    overall: GapBin | None


def segment_gap(
    *,
    ours: Ints,
    segment: Ints,
    truth: Sequence[Ints],
    n_past_orders: Ints,
    values: Floats | None,
    k: int,
    seed: int,
) -> SegmentGap:
    """Compare both lists in every bin; bins of fewer than MIN_CUSTOMERS are merged.

    Args:
        ours: int64, shape (n, at least k), offer rows, padded with -1: one customer's example each.
        segment: likewise, of the same examples.
        truth: n arrays of offer rows, none of them empty.
        n_past_orders: int64, shape (n,), at least 1: orders the tables knew of each customer.
        values: worth of each offer, shape (n_offers,), or None.
        k: places that count.
        seed: equal seeds draw equal resamples.
    """
    unit: ValueUnit = "hits" if values is None else "worth"
    firsts = _firsts(n_past_orders)
    if not firsts:
        return SegmentGap(k=k, value_unit=unit, bins=(), overall=None)
    columns = np.column_stack(
        [column for ranked in (ours, segment) for column in _columns(ranked, truth, values, k)]
    )
    # The next bin's first is one more than this one's last; the last bin has no limit.
    limits = [*((a, b - 1) for a, b in pairwise(firsts)), (firsts[-1], None)]
    return SegmentGap(
        k=k,
        value_unit=unit,
        bins=tuple(_bin(columns, n_past_orders, first, last, seed) for first, last in limits),
        overall=_bin(columns, n_past_orders, firsts[0], None, seed),
    )


def _firsts(n_past_orders: Ints) -> list[int]:
    """Where bins begin, so that each has enough examples: a small one takes in the next.

    What is too few at the end joins the bin before it; too few altogether make no bin.
    """
    counts = np.histogram(n_past_orders, bins=[*FIRST_ORDERS, np.inf])[0]
    firsts: list[int] = []
    n_inside = MIN_CUSTOMERS
    for first, count in zip(FIRST_ORDERS, counts.tolist(), strict=True):
        if n_inside >= MIN_CUSTOMERS:
            firsts.append(first)
            n_inside = 0
        n_inside += count
    return firsts if n_inside >= MIN_CUSTOMERS else firsts[:-1]


def _columns(
    ranked: Ints, truth: Sequence[Ints], values: Floats | None, k: int
) -> tuple[Floats, Floats, Floats]:
    judged = metrics.judge(ranked, truth)
    return (
        metrics.recall(judged, k),
        metrics.ndcg(judged, k),
        metrics.taken_value(judged, ranked, values, k),
    )


def _bin(columns: Floats, n_past_orders: Ints, first: int, last: int | None, seed: int) -> GapBin:
    inside = n_past_orders >= first
    if last is not None:
        inside &= n_past_orders <= last
    n_examples = int(np.count_nonzero(inside))
    replicates = metrics.bootstrap(columns[inside], np.arange(n_examples), seed)
    recall, ndcg, value = (_pair(replicates, metric) for metric in range(3))
    return GapBin(
        first=first, last=last, n_examples=n_examples, recall=recall, ndcg=ndcg, value=value
    )


def _pair(replicates: Replicates, metric: int) -> Pair:
    """Columns stand by list, then by metric."""
    ours, segment = metric, metric + 3
    return Pair(
        ours=metrics.mean_interval(replicates, ours),
        segment=metrics.mean_interval(replicates, segment),
        difference=metrics.difference_interval(replicates, ours, segment),
    )
