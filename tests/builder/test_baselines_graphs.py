"""The methods that ask what is bought together, against examples worked by hand."""

from __future__ import annotations

import gc
from dataclasses import replace
from weakref import ref

import pytest

from builder.baselines import ease, item_knn, rp3beta, v_sknn
from builder.baselines.bipartite import offers_of_items, over_customers, over_orders
from tests.builder.small_history import CARTS, ask, history, offers_for, rows, scores_for


def test_graphs_are_made_once_and_go_with_their_history() -> None:
    one = history(CARTS)
    for graph_of in (over_orders, over_customers, offers_of_items):
        assert graph_of(one) is graph_of(one)
        assert graph_of(one) is not graph_of(history(CARTS))
    gone = ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_item_knn_is_a_shrunken_cosine_over_orders() -> None:
    """Item 0 is in 3 orders, offer 1 in 2 (both shared), offer 2 in 4 (one shared)."""
    method = item_knn.fit(history(CARTS), item_knn.Settings(shrinkage=2.0))

    nearest = method.nearest(rows(0))

    assert method.popular[nearest.indices].tolist() == [0, 1, 2]
    assert nearest.data == pytest.approx([3 / (3 + 2), 2 / (6**0.5 + 2), 1 / (12**0.5 + 2)])


def test_item_knn_adds_up_the_cart() -> None:
    """For the cart {0, 3}, offer 2 is named by both and passes offer 1."""
    method = item_knn.fit(history(CARTS), item_knn.Settings(shrinkage=2.0))

    assert offers_for(method, ask(cart=rows(0), exclude=rows(0)), k=2) == [1, 2]
    assert offers_for(method, ask(cart=rows(0, 3), exclude=rows(0, 3)), k=2) == [2, 1]


def test_item_knn_reaches_as_far_as_its_neighbourhood() -> None:
    method = item_knn.fit(history(CARTS), item_knn.Settings(n_neighbours=2, shrinkage=2.0))

    assert method.popular[method.nearest(rows(0)).indices].tolist() == [0, 1]


def test_rp3beta_walks_from_items_over_orders() -> None:
    """From item 0, each of its 3 orders with 1/3; each of those has 2 offers."""
    method = rp3beta.fit_orders(history(CARTS), rp3beta.Settings(alpha=1.0, beta=0.0))

    assert scores_for(method, ask(cart=rows(0))) == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0, 0])


def test_rp3beta_damps_popular_offers() -> None:
    """The same walk divided by the number of orders of each offer: 3, 2 and 4."""
    method = rp3beta.fit_orders(history(CARTS), rp3beta.Settings(alpha=1.0, beta=1.0))

    assert scores_for(method, ask(cart=rows(0))) == pytest.approx([1 / 6, 1 / 6, 1 / 24, 0, 0])
    assert offers_for(method, ask(cart=rows(0), exclude=rows(0)), k=2) == [1, 2]


def test_rp3beta_flattens_both_steps_by_alpha() -> None:
    method = rp3beta.fit_orders(history(CARTS), rp3beta.Settings(alpha=0.5, beta=0.0))

    assert scores_for(method, ask(cart=rows(0)))[1] == pytest.approx(
        2 * (1 / 3) ** 0.5 * (1 / 2) ** 0.5
    )


def test_rp3beta_walks_from_what_a_customer_bought_over_customers() -> None:
    """Item 0 leads to customers 0 and 1 with 1/2 each, item 1 to customer 0: 3/2 and 1/2 arrive.

    Each of the two has two offers, so offer 0 gets half of both, 1 and 2 half of one.
    """
    bought = history([(0, 1, [0]), (0, 2, [0, 1]), (1, 1, [0, 2]), (2, 1, [2, 3]), (-1, 1, [0, 4])])
    method = rp3beta.fit_customers(bought, rp3beta.Settings(alpha=1.0, beta=0.0))

    assert scores_for(method, ask(0)) == pytest.approx([1, 3 / 4, 1 / 4, 0, 0])
    assert offers_for(method, ask(0, exclude=rows(0, 1)), k=2) == [2, 3]


# Offers 0, 1 and 2 stand in three orders each; 0 and 1 share two, 0 and 2 three, 1 and 2 two.
TRIPLES = [(0, 1, [0, 1, 2]), (0, 2, [0, 1, 2]), (1, 1, [0, 2]), (2, 1, [1])]


def test_ease_is_a_ridge_regression_of_each_offer_on_the_others() -> None:
    """With λ = 1 the weights x from 0 and y from 1 to offer 2 solve 4x + 2y = 3 and 2x + 4y = 2.

    So x = 2/3 and y = 1/6: that 1 goes with 2 is mostly explained by 0. Likewise 1/6 from 1 to 0;
    from 0 to 1, with 4x + 3y = 2 and 3x + 4y = 2 (y from offer 2), it is 2/7.
    """
    method = ease.fit_orders(history(TRIPLES), ease.Settings(ridge=1.0))

    of_first, of_both = (scores_for(method, ask(cart=cart)) for cart in (rows(0), rows(0, 1)))

    assert of_first == pytest.approx([0, 2 / 7, 2 / 3, 0, 0], abs=1e-6)
    assert of_both == pytest.approx([1 / 6, 2 / 7, 2 / 3 + 1 / 6, 0, 0], abs=1e-6)
    assert offers_for(method, ask(cart=rows(0), exclude=rows(0)), k=2) == [2, 1]


def test_ease_learns_from_customers_what_they_have_in_common() -> None:
    """Two customers bought 0, three bought 1, two both: from 1 to 0 with λ = 1 it is 2 / (3 + 1).

    How often they bought it does not count, and guests do not either.
    """
    bought = [(0, 1, [0]), (0, 2, [0, 1]), (1, 1, [0, 1]), (2, 1, [1]), (-1, 1, [0, 4])]
    method = ease.fit_customers(history(bought), ease.Settings(ridge=1.0))

    assert scores_for(method, ask(2))[:2] == pytest.approx([2 / 4, 0], abs=1e-6)
    assert scores_for(method, ask(0))[:2] == pytest.approx([2 / 4, 2 / 3], abs=1e-6)


def test_ease_is_about_the_most_bought_offers() -> None:
    """Offers 2 and 0 stand in most orders; what goes with the others is not learned."""
    method = ease.fit_orders(history(CARTS), ease.Settings(n_offers=2))

    assert method.popular[:2].tolist() == [2, 0]
    assert method.weights.shape == (2, 2)
    assert offers_for(method, ask(cart=rows(1)), k=3) == [2, 0, 1]


def test_ease_takes_items_for_the_offers_they_are_in() -> None:
    """Items 0 and 1 are in offer 1, which two orders hold, and item 2 in offer 0: 1 / (2 + 1)."""
    lines = replace(history([(0, 1, [1, 0]), (1, 2, [1])]), item_row=rows(0, 2, 1))
    method = ease.fit_orders(lines, ease.Settings(ridge=1.0))

    for cart in (rows(0), rows(1), rows(0, 1)):
        assert scores_for(method, ask(cart=cart)) == pytest.approx([1 / 3, 0, 0, 0, 0], abs=1e-6)
    assert scores_for(method, ask(cart=rows(3))).tolist() == [0] * 5


# One order a day, so that the last is the newest.
DAYS = [(0, 1, [0, 2]), (1, 2, [1, 3]), (-1, 3, [0, 1, 4]), (1, 4, [3])]


def test_v_sknn_adds_up_similar_orders() -> None:
    """In the cart (0, 1) item 0 weighs 1/2 and item 1 weighs 1: the orders score 1/2, 1 and 3/2."""
    method = v_sknn.fit(history(DAYS))

    assert scores_for(method, ask(cart=rows(0, 1))) == pytest.approx([2, 5 / 2, 1 / 2, 1, 3 / 2])
    assert offers_for(method, ask(cart=rows(0, 1), exclude=rows(0, 1)), k=3) == [4, 3, 2]


def test_v_sknn_reads_the_cart_from_its_end() -> None:
    """In the cart (1, 0) item 0 is the last: now the order with 2 is nearer than that with 3."""
    method = v_sknn.fit(history(DAYS))

    assert scores_for(method, ask(cart=rows(1, 0))) == pytest.approx([5 / 2, 2, 1, 1 / 2, 3 / 2])


def test_v_sknn_asks_the_nearest_orders_only() -> None:
    method = v_sknn.fit(history(DAYS), v_sknn.Settings(n_neighbours=2))

    assert scores_for(method, ask(cart=rows(0, 1))) == pytest.approx([3 / 2, 5 / 2, 0, 1, 3 / 2])


def test_v_sknn_takes_the_newest_of_equally_near_orders() -> None:
    method = v_sknn.fit(history(DAYS), v_sknn.Settings(n_neighbours=1))

    assert scores_for(method, ask(cart=rows(0))) == pytest.approx([1, 1, 0, 0, 1])


@pytest.mark.parametrize(
    ("sample_size", "scores"),
    [(1, [3 / 2, 3 / 2, 0, 0, 3 / 2]), (2, [3 / 2, 5 / 2, 0, 1, 3 / 2])],
)
def test_v_sknn_samples_the_newest_orders_that_share_an_item(
    sample_size: int, scores: list[float]
) -> None:
    """The order of day 4 shares nothing; that of day 3 comes first, then that of day 2."""
    method = v_sknn.fit(history(DAYS), v_sknn.Settings(sample_size=sample_size))

    assert scores_for(method, ask(cart=rows(0, 1))) == pytest.approx(scores)


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [("linear", [1 / 3, 2 / 3, 1]), ("harmonic", [1 / 3, 1 / 2, 1]), ("same", [1, 1, 1])],
)
def test_v_sknn_weighs_the_last_item_most(
    weighting: v_sknn.Weighting, weights: list[float]
) -> None:
    assert v_sknn.item_weights(3, weighting) == pytest.approx(weights)
    assert v_sknn.item_weights(0, weighting).tolist() == []
