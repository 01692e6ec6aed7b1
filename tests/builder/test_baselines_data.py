"""How order lines become a history, and the steps all baselines share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.baselines import data, ranking
from builder.baselines.data import ContextColumn
from builder.metrics import PADDING, Ints
from tests.builder.small_history import DAY_US, ask, rows


def test_history_sorts_by_customer_time_and_order() -> None:
    history = data.make_history(
        customer=rows(1, 0, 1),
        order=rows(900, 500, 700),
        ts_us=rows(30, 20, 10),
        offer_row=rows(0, 1, 2),
        item_row=rows(3, 4, 5),
        hour_of_week=rows(7, 8, 9),
        context={"device": ContextColumn(values=("phone", "desk"), codes=rows(0, 1, -1))},
        item_category=np.zeros(6, dtype=np.int64),
        n_customers=2,
        n_offers=3,
    )

    assert history.customer.tolist() == [0, 1, 1]
    assert history.order.tolist() == [0, 1, 2]
    assert history.ts_us.tolist() == [20, 10, 30]
    assert history.offer_row.tolist() == [1, 2, 0]
    assert history.item_row.tolist() == [4, 5, 3]
    assert history.hour_of_week.tolist() == [8, 9, 7]
    assert history.context["device"].codes.tolist() == [1, -1, 0]
    assert history.n_orders == 3


def test_popularity_counts_orders_not_lines() -> None:
    """Offer 0 stands twice in one order; the line without an offer counts nowhere."""
    assert data.count_orders(rows(1, 1, 2, 2), rows(0, 0, 1, -1), n_offers=3).tolist() == [1, 1, 0]


def test_recent_popularity_is_counted_from_the_last_line() -> None:
    last = 100 * DAY_US
    history = data.make_history(
        customer=rows(0, 0, 0),
        order=rows(1, 2, 3),
        ts_us=rows(last - 28 * DAY_US, last - 28 * DAY_US + 1, last),
        offer_row=rows(0, 1, 1),
        item_row=rows(0, 1, 1),
        hour_of_week=rows(-1, -1, -1),
        context={},
        item_category=rows(-1, -1),
        n_customers=1,
        n_offers=2,
    )

    assert history.popularity.tolist() == [1, 2]
    assert history.recent_popularity.tolist() == [0, 2]


def filled_up(preferred: Ints, popular: Ints, exclude: Ints, k: int) -> list[int]:
    [rows_of_one] = ranking.fill_up([preferred], popular, [ask(exclude=exclude)], k)
    return [row for row in rows_of_one.tolist() if row != PADDING]


def test_fill_up_goes_on_with_popular_offers() -> None:
    filled = filled_up(rows(4, 2), popular=rows(0, 1, 2, 3, 4), exclude=rows(0), k=4)

    assert filled == [4, 2, 1, 3]


def test_fill_up_is_short_only_when_everything_is_excluded() -> None:
    assert filled_up(rows(1), popular=rows(0, 1, 2), exclude=rows(0, 2), k=3) == [1]


@given(st.permutations(range(8)), st.lists(st.integers(0, 7)), st.integers(1, 10), st.data())
def test_fill_up_keeps_its_promises(
    popular: list[int], exclude: list[int], k: int, drawn: st.DataObject
) -> None:
    preferred = drawn.draw(st.lists(st.integers(0, 7), max_size=6, unique=True))

    filled = filled_up(rows(*preferred), rows(*popular), rows(*exclude), k)

    assert len(filled) == len(set(filled)) == min(k, 8 - len(set(exclude)))
    assert not set(filled) & set(exclude)
    wanted = [offer for offer in preferred if offer not in exclude]
    assert filled[: len(wanted)] == wanted[:k]


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_best_scored_breaks_ties_by_column(n: int) -> None:
    """Three score alike, and two score nothing."""
    scored = rows(3, 4, 2, 0, 1), np.array([1.0, 1.0, 1.0, 0.0, -1.0])

    columns, scores = ranking.best_scored(scored, n)

    assert columns.tolist() == [2, 3, 4][:n]
    assert scores.tolist() == [1.0, 1.0, 1.0][:n]


@given(st.integers(0, 2**32 - 1), st.integers(0, 700), st.integers(1, 12), st.integers(1, 9))
def test_best_scored_of_many_is_the_front_of_all_in_order(
    seed: int, n_offers: int, n: int, n_different: int
) -> None:
    """However many scores there are, and however many of them are equal or below zero."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(-1, n_different, n_offers).astype(np.float64)
    columns = draw.permutation(n_offers)

    best, _ = ranking.best_scored((columns, scores), n)

    score_of = dict(zip(columns.tolist(), scores.tolist(), strict=True))
    in_order = sorted(
        (column for column in score_of if score_of[column] > 0.0),
        key=lambda column: (-score_of[column], column),
    )
    assert best.tolist() == in_order[:n]


def test_ranked_lists_of_an_owner_without_rows_is_empty() -> None:
    lists = ranking.ranked_lists(rows(2, 0, 2), rows(5, 6, 7), (rows(9, 9, 1),), n_owners=3)

    assert [lists.of(owner).tolist() for owner in range(3)] == [[6], [], [7, 5]]
