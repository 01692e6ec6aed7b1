"""Every baseline against an example worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from builder.baselines import (
    data,
    default,
    frequency,
    item_knn,
    recent,
    registry,
    rp3beta,
    segment,
    tifu_knn,
)
from builder.baselines.data import ContextColumn, Example, History
from builder.baselines.tifu_knn import Settings
from builder.metrics import Ints

DAY_US = 86_400_000_000
NONE = np.empty(0, dtype=np.int64)


def rows(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def history(
    orders: Sequence[tuple[int, int, list[int]]],
    *,
    n_customers: int = 3,
    n_offers: int = 5,
    categories: Sequence[int] | None = None,
    hours: Sequence[int] | None = None,
    context: Mapping[str, Sequence[str]] | None = None,
) -> History:
    """Orders as (customer, day, offers), each item being its own offer; context by order."""
    line_order = np.repeat(np.arange(len(orders)), [len(offers) for _, _, offers in orders])
    offer_row = rows(*(offer for _, _, offers in orders for offer in offers))
    return data.make_history(
        customer=rows(*(customer for customer, _, _ in orders))[line_order],
        order=line_order,
        ts_us=rows(*(day * DAY_US for _, day, _ in orders))[line_order],
        offer_row=offer_row,
        item_row=offer_row,
        hour_of_week=rows(*(hours or [-1] * len(orders)))[line_order],
        context={name: column(values, line_order) for name, values in (context or {}).items()},
        item_category=rows(*(categories or [-1] * n_offers)),
        n_customers=n_customers,
        n_offers=n_offers,
    )


def column(values: Sequence[str], line_order: Ints) -> ContextColumn:
    names = tuple(sorted(set(values)))
    return ContextColumn(values=names, codes=rows(*map(names.index, values))[line_order])


def ask(
    customer: int = -1,
    *,
    cart: Ints = NONE,
    exclude: Ints = NONE,
    hour_of_week: int = -1,
    context: Mapping[str, str] | None = None,
) -> Example:
    return Example(
        customer=customer,
        hour_of_week=hour_of_week,
        context=context or {},
        cart=cart,
        truth=NONE,
        exclude=exclude,
    )


def test_default_ranks_by_orders_with_ties_by_row() -> None:
    method = default.fit(history([(0, 1, [3, 1]), (1, 2, [3]), (2, 3, [2])]))

    assert method.rank(ask(), k=5).tolist() == [3, 1, 2, 0, 4]


def test_default_leaves_out_what_is_excluded() -> None:
    method = default.fit(history([(0, 1, [3, 1]), (1, 2, [3]), (2, 3, [2])]))

    assert method.rank(ask(exclude=rows(3, 2)), k=2).tolist() == [1, 0]


def test_recent_forgets_what_was_bought_long_ago() -> None:
    """Offer 0 was bought three times in spring; 4 is on top now; equals follow all-time counts."""
    spring = [(0, day, [0, 1]) for day in (1, 2, 3)]
    method = recent.fit(history([*spring, (0, 99, [4]), (1, 100, [4, 3])]))

    assert method.rank(ask(), k=5).tolist() == [4, 3, 0, 1, 2]


def test_frequency_ranks_own_offers_by_count_then_recency_then_popularity() -> None:
    """Customer 0: offer 2 twice, 4 last, then 1 and 3 of one order of which 3 is more popular."""
    method = frequency.fit(
        history([(0, 1, [2, 1, 3]), (0, 2, [2]), (0, 3, [4]), (1, 1, [3, 0]), (1, 2, [0])])
    )

    assert method.rank(ask(0), k=5).tolist() == [2, 4, 3, 1, 0]


def test_frequency_of_a_stranger_is_popularity() -> None:
    method = frequency.fit(history([(0, 1, [2]), (0, 2, [2]), (1, 3, [4])]))

    assert method.rank(ask(-1), k=3).tolist() == [2, 4, 0]
    assert method.rank(ask(2), k=3).tolist() == [2, 4, 0]


def test_frequency_counts_an_order_once() -> None:
    method = frequency.fit(history([(0, 1, [1, 1, 1]), (0, 2, [2]), (0, 3, [2])]))

    assert method.rank(ask(0), k=2).tolist() == [2, 1]


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
        return int(method.rank(ask(0, hour_of_week=24 + 9, context=context), k=1)[0])

    assert first(referrer_source="mail") == 0
    assert first(referrer_source="search") == 1


def test_segment_of_a_cart_is_its_category() -> None:
    method = segment.fit(segment_history(segment.MIN_ORDERS))
    context = {"referrer_source": "search"}

    by_cart = [
        method.rank(ask(cart=rows(item), hour_of_week=9, context=context), k=1).tolist()
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

    ranked = method.rank(ask(0, hour_of_week=hour, context={"referrer_source": source}), k=1)

    assert ranked.tolist() == [expected]


def test_segment_takes_another_feature_where_there_is_no_source() -> None:
    orders = [(0, 1, [0])] * segment.MIN_ORDERS + [(0, 1, [1])] * segment.MIN_ORDERS
    shops = ["north"] * segment.MIN_ORDERS + ["south"] * segment.MIN_ORDERS
    method = segment.fit(history(orders, context={"store": shops}, categories=[0] * 5))

    assert method.rank(ask(0, context={"store": "south"}), k=1).tolist() == [1]


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

    assert method.scores(0) == pytest.approx([1.0, 1.0, 0.4, 0.0, 0.0])
    assert method.rank(ask(0), k=3).tolist() == [0, 1, 2]


def test_tifu_means_over_all_neighbours() -> None:
    """With both neighbours, an offer of one of them has half its weight."""
    settings = Settings(n_neighbours=300, own_share=0.6)
    method = tifu_knn.fit(history([(0, 1, [0, 1]), (1, 1, [0, 1, 2]), (2, 1, [4])]), settings)

    assert method.scores(0) == pytest.approx([0.8, 0.8, 0.2, 0.0, 0.2])


@pytest.mark.parametrize("customer", [-1, 2])
def test_tifu_of_a_stranger_is_popularity(customer: int) -> None:
    method = tifu_knn.fit(history([(0, 1, [3]), (1, 1, [3, 1])]))

    assert method.rank(ask(customer), k=3).tolist() == [3, 1, 0]


def test_tifu_leaves_guests_out_of_the_neighbourhood() -> None:
    method = tifu_knn.fit(history([(-1, 1, [2]), (-1, 2, [2]), (0, 1, [0]), (1, 1, [0, 1])]))

    assert method.scores(0)[2] == 0.0


CARTS = [
    (0, 1, [0, 1]),
    (0, 2, [0, 1]),
    (1, 1, [0, 2]),
    (2, 1, [2, 3]),
    (2, 2, [2, 3]),
    (2, 3, [2]),
]


def test_item_knn_is_a_shrunken_cosine_over_orders() -> None:
    """Item 0 is in 3 orders, offer 1 in 2 (both shared), offer 2 in 4 (one shared)."""
    method = item_knn.fit(history(CARTS), item_knn.Settings(shrinkage=2.0))

    nearest, similarity = method.nearest(0)

    assert nearest.tolist() == [0, 1, 2]
    assert similarity == pytest.approx([3 / (3 + 2), 2 / (6**0.5 + 2), 1 / (12**0.5 + 2)])


def test_item_knn_adds_up_the_cart() -> None:
    """For the cart {0, 3}, offer 2 is named by both and passes offer 1."""
    method = item_knn.fit(history(CARTS), item_knn.Settings(shrinkage=2.0))

    assert method.rank(ask(cart=rows(0), exclude=rows(0)), k=2).tolist() == [1, 2]
    assert method.rank(ask(cart=rows(0, 3), exclude=rows(0, 3)), k=2).tolist() == [2, 1]


def test_item_knn_reaches_as_far_as_its_neighbourhood() -> None:
    method = item_knn.fit(history(CARTS), item_knn.Settings(n_neighbours=2, shrinkage=2.0))

    assert method.nearest(0)[0].tolist() == [0, 1]


def test_rp3beta_walks_from_items_over_orders() -> None:
    """From item 0, each of its 3 orders with 1/3; each of those has 2 offers."""
    method = rp3beta.fit(history(CARTS), rp3beta.Settings(alpha=1.0, beta=0.0))

    assert method.scores(rows(0)) == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0, 0])


def test_rp3beta_damps_popular_offers() -> None:
    """The same walk divided by the number of orders of each offer: 3, 2 and 4."""
    method = rp3beta.fit(history(CARTS), rp3beta.Settings(alpha=1.0, beta=1.0))

    assert method.scores(rows(0)) == pytest.approx([1 / 6, 1 / 6, 1 / 24, 0, 0])
    assert method.rank(ask(cart=rows(0), exclude=rows(0)), k=2).tolist() == [1, 2]


def test_rp3beta_flattens_both_steps_by_alpha() -> None:
    method = rp3beta.fit(history(CARTS), rp3beta.Settings(alpha=0.5, beta=0.0))

    assert method.scores(rows(0))[1] == pytest.approx(2 * (1 / 3) ** 0.5 * (1 / 2) ** 0.5)


@pytest.mark.parametrize("name", registry.POST_PURCHASE)
def test_every_method_answers_every_example(name: str) -> None:
    """Known or not, with a cart or not, whatever is excluded: the promised number of rows."""
    method = registry.POST_PURCHASE[name](history(CARTS))
    examples = [
        ask(customer, cart=cart, exclude=exclude)
        for customer in (-1, 0, 1)
        for cart in (NONE, rows(4), rows(0, 2))
        for exclude in (NONE, rows(0, 1, 2), np.arange(5))
    ]

    for example in examples:
        ranked = method.rank(example, k=4).tolist()

        assert len(ranked) == len(set(ranked)) == min(4, 5 - example.exclude.size)
        assert not set(ranked) & set(example.exclude.tolist())


@pytest.mark.parametrize("name", registry.POST_PURCHASE)
def test_every_method_learns_from_nothing(name: str) -> None:
    method = registry.POST_PURCHASE[name](history([]))

    assert method.rank(ask(0, cart=rows(1)), k=2).tolist() == [0, 1]


@pytest.mark.parametrize("name", registry.POST_PURCHASE)
def test_every_method_ignores_the_order_of_lines(name: str) -> None:
    fit = registry.POST_PURCHASE[name]
    forwards, backwards = history(CARTS), history([*reversed(CARTS)])

    ranked = [
        fit(lines).rank(ask(0, cart=rows(3)), k=5).tolist() for lines in (forwards, backwards)
    ]

    assert ranked[0] == ranked[1]


def test_rank_all_pads_short_lists() -> None:
    method = default.fit(history(CARTS))

    ranked = registry.rank_all(method, [ask(exclude=rows(0, 1, 2))], k=3)

    assert ranked.tolist() == [[3, 4, -1]]


def test_tuning_takes_the_best_settings() -> None:
    """Offer 3 goes with item 0 but is rare: it leads item-kNN only when little is shrunk."""
    orders = [(0, 1, [0, 3])] * 6 + [(0, 1, [0, 1])] * 8 + [(1, 1, [1])] * 40
    example = Example(customer=-1, cart=rows(0), truth=rows(1), exclude=rows(0))

    tuned = registry.tune(registry.POST_PURCHASE, history(orders), [example], k=1)

    assert tuned.settings["item_knn"] == "n_neighbours=200, shrinkage=50.0"
    assert tuned.fits["default"] is registry.POST_PURCHASE["default"]
    method = tuned.fits["item_knn"](history(orders))
    assert method.rank(example, k=1).tolist() == [1]


def test_tuning_without_examples_changes_nothing() -> None:
    tuned = registry.tune(registry.NEXT_ORDER, history(CARTS), [], k=1)

    assert tuned.fits == dict(registry.NEXT_ORDER)
    assert tuned.settings == {}


def test_offers_may_hold_several_items() -> None:
    """Items 0 and 1 stand for offer 1, item 2 for none: carts are items, answers are offers."""
    lines = [(0, 0, 1, 0), (0, 0, 0, 3), (1, 1, 1, 1), (1, 1, -1, 2)]
    customer, order, offer, item = (rows(*values) for values in zip(*lines, strict=True))
    stock = data.make_history(
        customer=customer,
        order=order,
        ts_us=order,
        offer_row=offer,
        item_row=item,
        hour_of_week=np.full(4, -1),
        context={},
        item_category=np.full(4, -1),
        n_customers=2,
        n_offers=2,
    )

    for fit in registry.POST_PURCHASE.values():
        assert fit(stock).rank(ask(cart=rows(2)), k=2).tolist() == [1, 0]
