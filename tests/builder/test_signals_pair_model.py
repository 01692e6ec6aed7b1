"""Learned pairs: features on paper, planted tastes found, rows that keep what they promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from builder.duck import connect
from builder.signals.histories import Floats
from builder.signals.pair_model import MIN_CARTS, Cart, Heard, PairModel, fit_pairs, pair_rows
from builder.signals.pair_tables import FEATURES, PairTables
from builder.signals.rows import SparseRows, pack_rows, replace_rows, stack_rows
from tests.builder.signal_shops import MEMORY_BYTES, Line, learn, write_shop

N_ITEMS = 6


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> PairTables:
    """Items 0 and 1 are bought together by 30 customers, 2, 3, 4 and 5 together by 20 others.

    Nobody bought 0 with 2, but both are bread.
    """
    folder: Path = tmp_path_factory.mktemp("pairs")
    lines = [
        Line(customer=customer, order=customer, item=item)
        for customer in range(1, 51)
        for item in ((0, 1) if customer <= 30 else (2, 3, 4, 5))
    ]
    categories = ["food > bread", "food > jam", "food > bread", "home", "home", None]
    shop = write_shop(folder / "shop", lines, n_items=N_ITEMS, categories=categories)
    learned = learn(shop, folder / "work")
    with connect(MEMORY_BYTES, folder) as connection:
        return PairTables(connection, learned.globals_dir, learned.merged_dir, shop.vocabulary)


def told(tables: PairTables, item: int, offer: int) -> dict[str, float]:
    place, offers, features, _ = tables.features(np.array([5, item]))
    (row,) = np.flatnonzero((place == 1) & (offers == offer))
    return dict(zip(FEATURES, features[row].tolist(), strict=True))


def test_features_are_those_on_paper(tables: PairTables) -> None:
    """30 of 50 orders hold 0, and each of them 1; orders of two are smaller than most lines'."""
    share = (30 + 0.5) / (50 + 1)
    pair = told(tables, 0, 1)

    for strength in (10, 100, 1000):
        lift = (30 + strength * share) / ((30 + strength) * share)
        assert pair[f"orders_{strength}"] == pytest.approx(np.log(lift), abs=1e-6)
    assert (pair["heard"], pair["same_0"], pair["same_1"]) == (1.0, 0.0, 1.0)
    assert pair["plain"] == pytest.approx(np.log1p(5 * 30 / (130 * share)), abs=1e-6)
    # 30 orders of 2 items and 20 of 4: of 140 lines the mean log size is (60 ln 2 + 80 ln 4) / 140.
    usual = (60 * np.log(2) + 80 * np.log(4)) / 140
    small = 30 * (np.log(2) - usual) / (30 + 20)
    assert pair["size"] == pytest.approx(small, abs=1e-3)
    assert pair["sizes_alike"] == pytest.approx(small**2, abs=1e-3)


def test_a_category_brings_candidates_that_were_never_taken_together(tables: PairTables) -> None:
    """Nobody took 0 and 3 together, but whoever took other food did; 3 and 4 are of one kind."""
    pair = told(tables, 0, 3)
    assert (pair["heard"], pair["plain"], pair["same_0"]) == (0.0, 0.0, 0.0)
    assert pair["orders_10"] < 0.0
    alike = told(tables, 4, 3)
    assert (alike["heard"], alike["same_0"]) == (1.0, 1.0)


def carts(item: int, *truths: int) -> list[Cart]:
    return [
        Cart(item_rows=np.array([item]), banned=np.array([item]), truth=np.array([truth]))
        for truth in truths
    ]


def test_what_carts_say_decides_what_counts(tables: PairTables) -> None:
    """Whoever has 2 takes 3, though 4 and 5 go with it just as often: only prior rows differ."""
    taken = [*carts(2, *[3] * MIN_CARTS), *carts(4, *[3] * MIN_CARTS)]
    model = fit_pairs(tables, taken)

    assert model is not None
    # Of 4's candidates 3 alone is of its kind.
    assert model.weights[FEATURES.index("same_0")] > 0.5
    offers, values, _ = pair_rows(tables, model, np.array([4]), 10).row(0)
    assert int(offers[np.argmax(values)]) == 3


def test_of_a_cart_the_loudest_item_speaks(tables: PairTables) -> None:
    """3 of 4's kind is taken with 4, whether 0 lies there too or not, and whichever comes first."""
    taken = [
        Cart(item_rows=np.array(items), banned=np.array([0, 4]), truth=np.array([3]))
        for items in ([0, 4], [4, 0])
        for _ in range(MIN_CARTS)
    ]
    model = fit_pairs(tables, taken)
    alone = fit_pairs(tables, [replace(cart, item_rows=np.array([4])) for cart in taken])

    assert model is not None
    assert alone is not None
    # What 0 says of 1, the best of its own, is judged beside what 4 says of 3.
    rows = pair_rows(tables, model, np.array([4, 0]), 10)
    (offers, values, _), (other_offers, other_values, _) = rows.row(0), rows.row(1)
    liked = tables.prior[3] + values[offers == 3]
    assert liked > (tables.prior[other_offers] + other_values)[other_offers != 3].max()
    # With 4 alone nobody had to tell 1 from 3.
    assert model.weights != alone.weights


@given(weights=arrays(np.float64, len(FEATURES), elements=st.integers(-3, 3)))
def test_the_loudest_pair_of_each_choice_is_found(tables: PairTables, weights: Floats) -> None:
    taken = [
        Cart(item_rows=np.array(items), banned=np.array(banned, np.int64), truth=np.array([1]))
        for items, banned in (([0, 2, 4], [0, 2, 4]), ([3], []), ([2, 5, 3], [1]))
    ]
    heard = Heard.of(tables, taken)
    loudest = heard.loudest(weights)
    bounds = [*heard.starts.tolist(), len(heard.offers)]

    for cart, start, stop in zip(taken, bounds[:-1], bounds[1:], strict=True):
        loud: dict[int, float] = {}
        for item in cart.item_rows:
            _, offers, told, _ = tables.features(np.array([item]))
            for offer, value in zip(offers.tolist(), (told @ weights).tolist(), strict=True):
                if offer not in cart.banned:
                    loud[offer] = max(loud.get(offer, -np.inf), value)
        assert heard.offers[start:stop].tolist() == sorted(loud)
        found = heard.told[loudest[start:stop]] @ weights
        assert found.tolist() == pytest.approx([loud[offer] for offer in sorted(loud)])
        assert heard.taken[start:stop].tolist() == [offer == 1 for offer in sorted(loud)]


def test_few_carts_or_carts_that_nothing_answers_make_no_model(tables: PairTables) -> None:
    assert fit_pairs(tables, carts(2, *[3] * (MIN_CARTS - 1))) is None
    assert fit_pairs(tables, carts(0, *[0] * (2 * MIN_CARTS))) is None
    assert fit_pairs(tables, []) is None


def test_rows_hold_the_best_positive_values_and_offers_rise(tables: PairTables) -> None:
    """Under the plain value alone, rows are the plain ones."""
    alone = tuple(float(name == "plain") for name in FEATURES)
    items = np.array([2, 0])
    rows = pair_rows(tables, PairModel(weights=alone), items, 2)

    assert rows.row(1)[0].tolist() == tables.affinity.row(0)[0].tolist() == [1]
    offers, values, counts = rows.row(0)
    assert len(offers) == 2
    assert np.all(np.diff(offers.astype(np.int64)) > 0)
    plain = dict(zip(*(part.tolist() for part in tables.affinity.row(2)[:2]), strict=True))
    assert values.tolist() == pytest.approx([plain[offer] for offer in offers.tolist()])
    assert counts.tolist() == [20, 20]
    nothing = pair_rows(tables, PairModel(weights=tuple(-one for one in alone)), items, 2)
    assert np.diff(nothing.starts).tolist() == [0, 0]


def test_rows_do_not_depend_on_the_other_items(tables: PairTables) -> None:
    model = PairModel(weights=tuple(1.0 / (n + 1) for n in range(len(FEATURES))))
    every = pair_rows(tables, model, np.arange(N_ITEMS), 3)
    single = [pair_rows(tables, model, np.array([item]), 3) for item in range(N_ITEMS)]
    assert same(every, stack_rows(single))


def test_replacing_rows_leaves_the_others(tables: PairTables) -> None:
    table = tables.affinity
    new = pack_rows(2, np.array([0, 1]), np.array([4, 2]), np.array([1.5, 2.5]), np.array([7, 8]))
    changed = replace_rows(table, np.array([1, 3]), new)

    assert [part.tolist() for part in changed.row(1)] == [[4], [1.5], [7]]
    assert [part.tolist() for part in changed.row(3)] == [[2], [2.5], [8]]
    for item in (0, 2, 4, 5):
        for ours, before in zip(changed.row(item), table.row(item), strict=True):
            assert ours.tolist() == before.tolist()
    back = replace_rows(changed, np.arange(N_ITEMS), table)
    assert same(back, replace(table))


def same(one: SparseRows, other: SparseRows) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("starts", "rows", "values", "counts")
    )
