"""Walks, regression and factors: numbers on paper, other ways to the same, and planted tastes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from builder.duck import connect
from builder.signals.factors import FactorSettings, FoldIn, learn_factors
from builder.signals.interactions import (
    Matrix,
    load_interactions,
    most_taken,
    open_links,
    strongest,
    strongest_links,
    write_links,
)
from builder.signals.regression import RegressionSettings, learn_regression
from builder.signals.walk import WalkSettings, learn_begins, learn_walk
from tests.builder.signal_shops import LATE, MEMORY_BYTES, Line, learn, write_shop

TAKEN = [[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0]]
"""Three customers: {0, 1}, {0, 2}, {0, 1}; nobody took offer 3."""


def matrix(rows: list[list[int]]) -> Matrix:
    """A table of who took what."""
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


def test_a_walk_ends_with_the_chances_on_paper() -> None:
    """From 0 to one of its three customers, each of whom has two offers: 1 twice, 2 once.

    Half of all walks come back to where they began, and those are left out.
    """
    walk = learn_walk(matrix(TAKEN), WalkSettings(begin_power=0.0)).toarray()
    assert walk == pytest.approx(
        np.array([[0, 1 / 3, 1 / 6, 0], [1 / 2, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 0, 0, 0]])
    )


def test_walks_begin_at_what_more_customers_took() -> None:
    """With a whole power three times as often at 0 as at 2; in the mean of six takings once."""
    begins = learn_begins(matrix(TAKEN), WalkSettings(begin_power=1.0))
    assert begins == pytest.approx(np.array([3, 2, 1, 1]) * 6 / (9 + 4 + 1))
    walk, chances = (
        learn_walk(matrix(TAKEN), WalkSettings(begin_power=power)).toarray() for power in (1.0, 0.0)
    )
    assert walk == pytest.approx(begins[:, None] * chances)


def test_a_walk_keeps_its_likeliest_ends_after_damping() -> None:
    """To 1 twice as many ways lead as to 2, but twice as many took it: a full power ties them."""
    taken = matrix(TAKEN)
    kept = learn_walk(taken, WalkSettings(damping=0.0, per_offer=1)).toarray()
    assert np.flatnonzero(kept[0]).tolist() == [1]
    tied = learn_walk(taken, WalkSettings(damping=1.0, per_offer=1)).toarray()
    assert np.flatnonzero(tied[0]).tolist() == [1, 2]


tables = st.lists(st.lists(st.integers(0, 1), min_size=5, max_size=5), min_size=2, max_size=12)


@given(tables, st.sampled_from([0.5, 3.0, 200.0]))
def test_regression_is_that_of_each_offer_on_the_others(
    rows: list[list[int]], ridge: float
) -> None:
    """Column j of EASE is the ridge regression of who took j on who took the others."""
    found = learn_regression(matrix(rows), RegressionSettings(ridge=ridge)).toarray()
    x = np.array(rows, dtype=np.float64)
    for offer in np.flatnonzero(x.any(axis=0)):
        others = [other for other in range(5) if other != offer and x[:, other].any()]
        inputs = x[:, others]
        gram = inputs.T @ inputs + ridge * np.eye(len(others))
        expected = np.linalg.solve(gram, inputs.T @ x[:, offer])
        assert found[others, offer] == pytest.approx(expected, abs=1e-4)
        assert found[offer, offer] == 0.0


def test_regression_speaks_of_the_most_taken_only() -> None:
    """Two offers of four, and one weight each."""
    settings = RegressionSettings(offers=2, ridge=1.0, per_offer=1)
    found = learn_regression(matrix(TAKEN), settings).toarray()
    assert [tuple(place) for place in np.argwhere(found)] == [(0, 1), (1, 0)]


def test_without_customers_nothing_is_learned() -> None:
    """Neither of no customers nor of no offers."""
    for shape in ((0, 3), (0, 0)):
        nobody = sparse.csr_matrix(shape, dtype=np.float32)
        n = shape[1]
        assert learn_walk(nobody, WalkSettings()).shape == (n, n)
        assert learn_regression(nobody, RegressionSettings()).nnz == 0
        assert not learn_factors(nobody, FactorSettings(dim=4)).any()


def test_factors_tell_two_tastes_apart() -> None:
    """Who took two offers of a block is likelier to take its third than any of the other block."""
    rows = [[1, 1, 1, 0, 0, 0]] * 8 + [[0, 0, 0, 1, 1, 1]] * 8
    settings = FactorSettings(dim=4, ridge=0.1)
    factors = learn_factors(matrix(rows), settings)
    [numbers] = FoldIn(factors, settings).customers(np.array([0, 2]), np.array([0, 1]))
    scores = factors @ numbers
    assert scores[2] > 0.5
    assert (scores[3:] < 0.2).all()


def test_folding_in_is_what_the_library_does() -> None:
    """Its own way to a customer's numbers, from one of the customers it learned from."""
    from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415 - as slow here as there
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    rng = np.random.default_rng(5)
    taken = sparse.csr_matrix((rng.random((30, 12)) < 0.3).astype(np.float32))
    settings = FactorSettings(dim=3, ridge=2.0, confidence=4.0)
    with threadpool_limits(1, "blas"):
        library = AlternatingLeastSquares(
            factors=3, regularization=2.0, alpha=4.0, iterations=5, num_threads=1, random_state=1
        )
        library.fit(taken, show_progress=False)
        expected = library.recalculate_user(7, taken[7])
    ours = FoldIn(library.item_factors, settings)
    [found] = ours.customers(np.array([0, taken[7].nnz]), taken[7].indices.astype(np.int64))
    assert found == pytest.approx(expected, abs=1e-3)


def test_links_survive_their_files(tmp_path: Path) -> None:
    """Also when there are none."""
    for name, rows in (("some", TAKEN[:0] or [[0, 2], [1, 0]]), ("none", [[0, 0], [0, 0]])):
        write_links(matrix(rows), tmp_path, name)
        assert open_links(tmp_path, name).toarray().tolist() == rows


def test_the_strongest_are_those_of_largest_magnitude() -> None:
    """Signs stay, ties stay, and a row of few keeps all."""
    scores = np.array([[1.0, -3.0, 2.0], [1.0, 1.0, 0.0]], dtype=np.float32)
    assert strongest(scores, 1).tolist() == [[0.0, -3.0, 0.0], [1.0, 1.0, 0.0]]
    assert strongest(scores, 3).tolist() == scores.tolist()


@given(tables, st.integers(1, 4))
def test_the_strongest_links_are_the_strongest_of_each_row(rows: list[list[int]], n: int) -> None:
    """As of a table that is not sparse, where every size is the link's own."""
    links = matrix(
        [[value * (3 * place % 5 + 1) for place, value in enumerate(row)] for row in rows]
    )
    kept = strongest_links(links, links.data, n)
    assert kept.toarray().tolist() == strongest(links.toarray(), n).tolist()


def test_interactions_reach_what_most_customers_took(tmp_path: Path) -> None:
    """Each customer once per offer, guests never, and only the offers in reach."""
    lines = [
        Line(customer=customer, order=10 * customer + visit, item=item, day=visit)
        for customer, items in ((1, [3, 3, 1]), (2, [3, 1]), (3, [3, 0, 2]), (0, [2, 2]))
        for visit, item in enumerate(items)
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=5)
    merged_dir = learn(shop, tmp_path / "work", LATE).merged_dir
    with connect(MEMORY_BYTES, tmp_path) as connection:
        offers, taken = load_interactions(connection, merged_dir, reach=3, per_customer=9)
    with connect(MEMORY_BYTES, tmp_path) as connection:
        _, fewer = load_interactions(connection, merged_dir, reach=3, per_customer=1)

    assert offers.tolist() == [0, 1, 3]
    assert sorted(map(tuple, taken.toarray().tolist())) == [(0, 1, 1), (0, 1, 1), (1, 0, 1)]
    assert fewer.sum() == 3
    assert most_taken(taken, 2).tolist() == [1, 2]
