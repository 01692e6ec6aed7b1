"""The methods that look at one customer or one segment, against examples worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.baselines import data, default, frequency, recent, segment, tifu_knn
from builder.baselines.data import History
from builder.baselines.tifu_knn import Settings
from tests.builder.small_history import ask, history, offers_for, rows, scores_for


def test_default_ranks_by_orders_with_ties_by_row() -> None:
    method = default.fit(history([(0, 1, [3, 1]), (1, 2, [3]), (2, 3, [2])]))

    assert offers_for(method, ask(), k=5) == [3, 1, 2, 0, 4]


def test_default_leaves_out_what_is_excluded() -> None:
    method = default.fit(history([(0, 1, [3, 1]), (1, 2, [3]), (2, 3, [2])]))

    assert offers_for(method, ask(exclude=rows(3, 2)), k=2) == [1, 0]


def test_recent_forgets_what_was_bought_long_ago() -> None:
    """Offer 0 was bought three times in spring; 4 is on top now; equals follow all-time counts."""
    spring = [(0, day, [0, 1]) for day in (1, 2, 3)]
    method = recent.fit(history([*spring, (0, 99, [4]), (1, 100, [4, 3])]))

    assert offers_for(method, ask(), k=5) == [4, 3, 0, 1, 2]


def test_frequency_ranks_own_offers_by_count_then_recency_then_popularity() -> None:
    """Customer 0: offer 2 twice, 4 last, then 1 and 3 of one order of which 3 is more popular."""
    method = frequency.fit(
        history([(0, 1, [2, 1, 3]), (0, 2, [2]), (0, 3, [4]), (1, 1, [3, 0]), (1, 2, [0])])
    )

    assert offers_for(method, ask(0), k=5) == [2, 4, 3, 1, 0]


def test_frequency_of_a_stranger_is_popularity() -> None:
    method = frequency.fit(history([(0, 1, [2]), (0, 2, [2]), (1, 3, [4])]))

    assert offers_for(method, ask(-1), k=3) == [2, 4, 0]
    assert offers_for(method, ask(2), k=3) == [2, 4, 0]


def test_frequency_counts_an_order_once() -> None:
    method = frequency.fit(history([(0, 1, [1, 1, 1]), (0, 2, [2]), (0, 3, [2])]))

    assert offers_for(method, ask(0), k=2) == [2, 1]


def segment_history(n_orders: int) -> History:
    """Fans of category 0 buy 0 from mail and 1 from search in the morning; category 1 buys 4."""
    mail = [(0, 1, [0])] * n_orders
    search = [(0, 1, [1])] * n_orders
    other = [(1, 1, [4])] * (3 * n_orders)
    sources = ["mail"] * n_orders + ["search"] * n_orders + ["search"] * (3 * n_orders)
    return history(
        [*mail, *search, *other],
        categories=[0, 0, 0, 1, 1],
        hours=[9] * len(sources),
        context={"referrer_source": sources, "device": ["phone"] * len(sources)},
    )


def test_segment_is_category_by_source_by_daypart() -> None:
    method = segment.fit(segment_history(segment.MIN_ORDERS))

    def first(**context: str) -> int:
        return offers_for(method, ask(0, hour_of_week=24 + 9, context=context), k=1)[0]

    assert first(referrer_source="mail") == 0
    assert first(referrer_source="search") == 1


def test_segment_of_a_cart_is_its_category() -> None:
    method = segment.fit(segment_history(segment.MIN_ORDERS))
    context = {"referrer_source": "search"}

    by_cart = [
        offers_for(method, ask(cart=rows(item), hour_of_week=9, context=context), k=1)
        for item in (2, 3)
    ]

    assert by_cart == [[1], [4]]


@pytest.mark.parametrize(
    ("hour", "source", "n_orders", "expected"),
    [
        pytest.param(9, "mail", 100, 0, id="all three"),
        pytest.param(20, "mail", 100, 0, id="no such daypart: category and source"),
        pytest.param(9, "radio", 100, 0, id="no such source: category"),
        pytest.param(9, "mail", 50, 0, id="too small: category, 100 orders"),
        pytest.param(9, "mail", 49, 4, id="even category too small: everyone"),
    ],
)
def test_segment_backs_off(hour: int, source: str, n_orders: int, expected: int) -> None:
    method = segment.fit(segment_history(n_orders))

    ranked = offers_for(method, ask(0, hour_of_week=hour, context={"referrer_source": source}), k=1)

    assert ranked == [expected]


def test_segment_takes_another_feature_where_there_is_no_source() -> None:
    orders = [(0, 1, [0])] * segment.MIN_ORDERS + [(0, 1, [1])] * segment.MIN_ORDERS
    shops = ["north"] * segment.MIN_ORDERS + ["south"] * segment.MIN_ORDERS
    past = history(orders, context={"store": shops}, categories=[0] * 5)
    # An import has a column for the source even where no event fills it.
    empty = data.ContextColumn(values=(), codes=np.full(len(orders), -1))
    method = segment.fit(replace(past, context={**past.context, "referrer_source": empty}))

    assert offers_for(method, ask(0, context={"store": "south"}), k=1) == [1]


@pytest.mark.parametrize(
    ("hour", "source", "n_orders", "expected"),
    [
        pytest.param(9, "mail", 100, 0, id="source and daypart"),
        pytest.param(20, "mail", 100, 0, id="no such daypart: source"),
        pytest.param(9, "search", 25, 4, id="its source as a whole likes another offer"),
        pytest.param(9, "radio", 100, 4, id="no such source: daypart"),
        pytest.param(20, "radio", 100, 4, id="neither: everyone"),
        pytest.param(9, "mail", 99, 4, id="too small: daypart"),
    ],
)
def test_segment_of_a_stranger_needs_no_category(
    hour: int, source: str, n_orders: int, expected: int
) -> None:
    method = segment.fit(segment_history(n_orders))

    ranked = offers_for(method, ask(hour_of_week=hour, context={"referrer_source": source}), k=1)

    assert ranked == [expected]


@pytest.mark.parametrize(
    ("hour_of_week", "part"), [(-1, -1), (0, 0), (5, 0), (6, 1), (23, 3), (24, 0), (167, 3)]
)
def test_dayparts_are_six_hours(hour_of_week: int, part: int) -> None:
    assert segment.daypart(hour_of_week) == part


def test_tifu_weights_decay_inside_groups_and_between_them() -> None:
    """Five orders in two groups (two, then three), halving inside, a tenth between."""
    settings = Settings(n_groups=2, within_decay=0.5, group_decay=0.1)

    weights = tifu_knn.order_weights(np.arange(5), np.full(5, 5), settings)

    older, newer = 0.1 / 2 / 2, 1 / 3 / 2
    assert weights == pytest.approx([0.5 * older, older, 0.25 * newer, 0.5 * newer, newer])


def test_tifu_gives_each_of_few_orders_its_own_group() -> None:
    settings = Settings(n_groups=7, within_decay=0.5, group_decay=0.1)

    assert tifu_knn.order_weights(rows(0, 1), rows(2, 2), settings) == pytest.approx([0.05, 0.5])


def test_tifu_mixes_own_and_neighbours() -> None:
    """One order each: vectors are 0/1. Customer 0 has {0, 1}; 1 has {0, 1, 2}; 2 has {4}.

    The nearer of the others is customer 1 (distance 1, against √3), so offer 2 follows the own two.
    """
    settings = Settings(n_neighbours=1, own_share=0.6)
    method = tifu_knn.fit(history([(0, 1, [0, 1]), (1, 1, [0, 1, 2]), (2, 1, [4])]), settings)

    assert scores_for(method, ask(0)) == pytest.approx([1.0, 1.0, 0.4, 0.0, 0.0])
    assert offers_for(method, ask(0), k=3) == [0, 1, 2]


def test_tifu_means_over_all_neighbours() -> None:
    """With both neighbours, an offer of one of them has half its weight."""
    settings = Settings(n_neighbours=300, own_share=0.6)
    method = tifu_knn.fit(history([(0, 1, [0, 1]), (1, 1, [0, 1, 2]), (2, 1, [4])]), settings)

    assert scores_for(method, ask(0)) == pytest.approx([0.8, 0.8, 0.2, 0.0, 0.2])


@pytest.mark.parametrize("customer", [-1, 2])
def test_tifu_of_a_stranger_is_popularity(customer: int) -> None:
    method = tifu_knn.fit(history([(0, 1, [3]), (1, 1, [3, 1])]))

    assert offers_for(method, ask(customer), k=3) == [3, 1, 0]


def test_tifu_leaves_guests_out_of_the_neighbourhood() -> None:
    method = tifu_knn.fit(history([(-1, 1, [2]), (-1, 2, [2]), (0, 1, [0]), (1, 1, [0, 1])]))

    assert scores_for(method, ask(0))[2] == 0.0
