"""Segment against individual, on lists whose difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.gate import MIN_CUSTOMERS
from builder.metrics import Floats, Ints
from builder.segment_gap import FIRST_ORDERS, Pair, SegmentGap, segment_gap

# Of the offers 0 and 1 that are bought, ours names 0 in the first place, the segment's list 1 in
# the second; with both in place the gain would be 1 + 1 / log2(3).
SECOND = 1 / math.log2(3)


def gap_of(n_past_orders: Ints, values: Floats | None = None) -> SegmentGap:
    n = n_past_orders.size
    return segment_gap(
        ours=np.tile([0, 5], (n, 1)),
        segment=np.tile([5, 1], (n, 1)),
        truth=[np.array([0, 1])] * n,
        n_past_orders=n_past_orders,
        values=values,
        k=2,
        seed=1,
    )


def figures(pair: Pair) -> list[float]:
    """What a pair says of lists that are the same for everybody: no interval has a width."""
    means = [pair.ours, pair.segment, pair.difference]
    assert [(one.low, one.high) for one in means] == [
        pytest.approx((one.value, one.value)) for one in means
    ]
    return [one.value for one in means]


def test_both_lists_are_judged_alike() -> None:
    (one,) = gap_of(np.full(40, 7)).bins

    assert figures(one.recall) == pytest.approx([0.5, 0.5, 0.0])
    assert figures(one.ndcg) == pytest.approx(
        [1 / (1 + SECOND), SECOND / (1 + SECOND), (1 - SECOND) / (1 + SECOND)]
    )


def test_without_worth_the_offers_taken_are_counted() -> None:
    gap = gap_of(np.full(40, 7))

    assert gap.value_unit == "hits"
    assert figures(gap.bins[0].value) == [1.0, 1.0, 0.0]


def test_the_value_deviation_is_in_worth_where_offers_have_one() -> None:
    """Offer 0 is worth 5 and offer 1 is worth 2; offer 5, which nobody takes, does not matter."""
    gap = gap_of(np.full(40, 7), values=np.array([5.0, 2.0, 0.0, 0.0, 0.0, 100.0]))

    assert gap.value_unit == "worth"
    assert figures(gap.bins[0].value) == [5.0, 2.0, 3.0]


def test_a_bin_is_about_its_own_customers() -> None:
    """The newcomers get one list from both, the others two different ones."""
    n_past_orders = np.repeat([2, 60], 40)
    ours = np.repeat([[5, 1], [0, 1]], 40, axis=0)
    gap = segment_gap(
        ours=ours,
        segment=np.tile([5, 1], (80, 1)),
        truth=[np.array([0, 1])] * 80,
        n_past_orders=n_past_orders,
        values=None,
        k=2,
        seed=1,
    )

    assert [figures(one.value) for one in gap.bins] == [[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]
    assert gap.overall is not None
    assert gap.overall.value.difference.value == 0.5
    assert gap.overall.value.difference.low < 0.5 < gap.overall.value.difference.high


def test_differences_are_paired_by_customer() -> None:
    """However much customers differ, a list that finds one offer more for each has a sure lead."""
    shown = np.where(np.arange(60)[:, None] % 2, [0, 5, 5], [0, 1, 5])
    gap = segment_gap(
        ours=np.hstack([shown, np.full((60, 1), 2)]),
        segment=np.hstack([shown, np.full((60, 1), -1)]),
        truth=[np.array([0, 1, 2])] * 60,
        n_past_orders=np.full(60, 4),
        values=None,
        k=4,
        seed=1,
    )
    value = gap.bins[0].value

    assert value.ours.low < value.ours.value < value.ours.high
    assert (value.difference.low, value.difference.high) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("counts", "firsts"),
    [
        pytest.param([30, 30, 30, 30, 30, 30], [1, 3, 6, 11, 21, 51], id="enough in each"),
        pytest.param([14, 23, 92, 207, 553, 758], [1, 6, 11, 21, 51], id="few newcomers"),
        pytest.param([40, 29, 0, 1, 40, 30], [1, 3, 21, 51], id="over a gap"),
        pytest.param([40, 40, 10, 0, 0, 19], [1, 3], id="too few at the end"),
        pytest.param([10, 0, 0, 0, 0, 20], [1], id="just enough together"),
        pytest.param([10, 0, 0, 0, 0, 19], [], id="too few"),
        pytest.param([0, 0, 0, 0, 0, 0], [], id="nobody"),
    ],
)
def test_small_bins_are_merged(counts: list[int], firsts: list[int]) -> None:
    gap = gap_of(np.repeat(FIRST_ORDERS, counts))

    assert [one.first for one in gap.bins] == firsts
    assert [one.last for one in gap.bins[:-1]] == [first - 1 for first in firsts[1:]]
    assert all(one.last is None for one in gap.bins[-1:])
    assert (gap.overall is None) == (not firsts)


@given(st.lists(st.integers(1, 80), max_size=200))
def test_every_customer_is_in_one_bin_of_enough(n_past_orders: list[int]) -> None:
    gap = gap_of(np.array(n_past_orders, dtype=np.int64))
    inside = [
        sum(one.first <= n and (one.last is None or n <= one.last) for n in n_past_orders)
        for one in gap.bins
    ]

    assert [one.n_examples for one in gap.bins] == inside
    assert all(n >= MIN_CUSTOMERS for n in inside)
    assert sum(inside) == (len(n_past_orders) if gap.bins else 0)
    assert bool(gap.bins) == (len(n_past_orders) >= MIN_CUSTOMERS)
    if gap.overall is not None:
        assert gap.overall.n_examples == len(n_past_orders)
