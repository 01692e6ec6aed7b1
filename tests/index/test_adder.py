"""Sums, and the best of them: by hand, and compiled code against NumPy."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import adder as adder_module
from index.adder import Adder, Pool, Terms
from index.arrays import RowBytes, Scores
from index.compiled import IS_COMPILED
from index.records import packed_pairs

N_OFFERS = 24
PRIOR = np.linspace(-3.0, -1.0, N_OFFERS, dtype=np.float32)

needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")


def row(**values: float) -> bytes:
    """A sparse row: `o3=0.5` names offer 3."""
    offers = np.array([int(name[1:]) for name in values], dtype=np.intp)
    return packed_pairs(offers, np.array(list(values.values()), dtype=np.float32))


def peaks(rows: list[RowBytes], *weights: float) -> Pool:
    """A pool of which only the loudest counts."""
    return Pool(rows, list(weights), [0.0] * len(rows))


def ids(*offers: int) -> bytes:
    return np.array(offers, dtype="<u4").tobytes()


@pytest.fixture(params=["compiled", "numpy"])
def adder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Adder:
    """Each way of doing it, over a prior of -1 for all of ten offers."""
    if request.param == "numpy":
        monkeypatch.setattr(adder_module, "IS_COMPILED", False)
    elif not IS_COMPILED:
        pytest.skip("installed without a C compiler")
    return Adder(np.full(10, -1.0, dtype=np.float32))


def test_rows_add_up_under_their_weights(adder: Adder) -> None:
    terms = Terms([row(o1=1.0, o2=2.0), row(o2=4.0, o9=0.5)], [1.0, 0.5], [], None)
    assert list(adder.best(terms, 5)) == [(2, 3.0), (1, 0.0), (9, -0.75)]


def test_nothing_of_one_sum_stays_for_the_next(adder: Adder) -> None:
    terms = Terms([row(o1=1.0), row(o2=2.0)], [1.0, 1.0], [], ids(2))
    assert list(adder.best(terms, 5)) == list(adder.best(terms, 5)) == [(1, 0.0)]
    assert list(adder.best(Terms([row(o2=0.0)], [1.0], [], None), 5)) == [(2, -1.0)]


def test_ties_go_by_row_and_further_offers_come_when_asked(adder: Adder) -> None:
    terms = Terms([row(o7=1.0, o3=1.0, o5=1.0, o1=0.5, o8=0.25)], [1.0], [], None)
    assert [offer for offer, _ in islice(adder.best(terms, 2), 3)] == [3, 5, 7]
    assert [offer for offer, _ in adder.best(terms, 2)] == [3, 5, 7, 1, 8]
    assert [offer for offer, _ in adder.best(terms, 1)] == [3, 5, 7, 1, 8]


def test_of_a_pool_the_largest_value_counts_and_nothing_below_zero(adder: Adder) -> None:
    pool: list[RowBytes] = [row(o1=2.0, o2=1.0, o3=-5.0, o4=-1.0), row(o1=1.0, o2=3.0, o4=0.5)]
    terms = Terms([row(o2=1.0)], [1.0], [peaks(pool, 0.5, 0.5), peaks([row(o2=4.0)], 2.0)], None)
    for _ in range(2):
        assert list(adder.best(terms, 9)) == [(2, 9.5), (1, 0.0), (4, -0.75), (3, -1.0)]


def test_rows_of_a_pool_have_weights_of_their_own(adder: Adder) -> None:
    pool: list[RowBytes] = [row(o1=2.0, o2=2.0), row(o1=3.0, o3=8.0)]
    terms = Terms([b""], [1.0], [peaks(pool, 1.0, 0.5)], None)
    assert list(adder.best(terms, 9)) == [(3, 3.0), (1, 1.0), (2, 1.0)]


def test_an_item_that_stands_in_a_pool_twice_counts_once(adder: Adder) -> None:
    terms = Terms([b""], [1.0], [peaks([row(o1=2.0), row(o1=2.0)], 1.0, 1.0)], None)
    assert list(adder.best(terms, 9)) == [(1, 1.0)]


def test_what_a_pool_says_together_counts_besides(adder: Adder) -> None:
    pool: list[RowBytes] = [row(o1=2.0, o3=-5.0), row(o1=1.0, o2=3.0, o3=-1.0)]
    terms = Terms([b""], [1.0], [Pool(pool, [1.0, 0.5], [0.5, 0.25])], None)
    # o1: the loudest says 2, both together 1 + 0.25; o3 is below 0 for either, and added.
    expected = [(1, -1.0 + 2.0 + 1.25), (2, -1.0 + 1.5 + 0.75), (3, -1.0 - 2.5 - 0.25)]
    for _ in range(2):
        assert list(adder.best(terms, 9)) == expected


def test_what_is_not_added_cannot_do_harm(adder: Adder) -> None:
    terms = Terms([b""], [1.0], [peaks([row(o1=math.nan, o2=1.0)], 1.0)], None)
    assert list(adder.best(terms, 9)) == [(2, 0.0), (1, -1.0)]


def test_bought_offers_are_left_out(adder: Adder) -> None:
    terms = Terms([row(o1=1.0, o2=2.0)], [1.0], [], ids(2, 4))
    assert list(adder.best(terms, 5)) == [(1, 0.0)]


@pytest.mark.parametrize(
    "terms", [Terms([b""], [1.0], [], None), Terms([row(o1=1.0)], [1.0], [], ids(1))]
)
def test_nothing_left_is_an_empty_answer(adder: Adder, terms: Terms) -> None:
    assert list(adder.best(terms, 5)) == []


def test_what_is_no_number_is_never_the_best(adder: Adder) -> None:
    terms = Terms([row(o1=math.nan, o2=math.inf, o3=-math.inf, o4=0.0)], [1.0], [], None)
    assert list(adder.best(terms, 5)) == [(2, math.inf), (4, -1.0)]


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param(Terms([row(o1=5.0), row(o10=1.0)], [1.0, 1.0], [], None), id="a row's"),
        pytest.param(Terms([row(o1=5.0)], [1.0], [], ids(0, 10)), id="bought"),
        pytest.param(
            Terms(
                [row(o1=5.0)],
                [1.0],
                [Pool([row(o0=9.0), row(o2=3.0, o10=1.0)], [1.0, 1.0], [1.0, 1.0])],
                None,
            ),
            id="a pool's",
        ),
        pytest.param(Terms([row(o1=5.0)], [1.0], [], ids(0xFFFFFFFF)), id="the largest"),
    ],
)
def test_an_offer_that_does_not_exist_is_refused_and_leaves_no_trace(
    adder: Adder, terms: Terms
) -> None:
    with pytest.raises(IndexError):
        list(adder.best(terms, 5))
    sound = Terms([row(o1=0.0, o0=0.0)], [1.0], [], None)
    assert list(adder.best(sound, 5)) == [(0, -1.0), (1, -1.0)]


def test_what_is_no_buffer_leaves_no_trace(adder: Adder) -> None:
    parts: list[RowBytes] = [row(o1=5.0), None]  # type: ignore[list-item]
    with pytest.raises(TypeError):
        list(adder.best(Terms(parts, [1.0, 1.0], [], None), 5))
    assert list(adder.best(Terms([row(o1=0.0)], [1.0], [], None), 5)) == [(1, -1.0)]


FLOATS = st.floats(width=32, allow_nan=True, min_value=None, max_value=None)
SAID = st.dictionaries(st.integers(0, N_OFFERS - 1), FLOATS | st.sampled_from([0.0, 1.0, -1.0]))
PARTS = st.lists(
    st.tuples(
        SAID,
        st.floats(-3, 3),
    ),
    min_size=1,
    max_size=6,
)
HEARD = st.lists(
    st.tuples(SAID, st.floats(-3, 3), st.floats(-3, 3) | st.just(0.0)), min_size=1, max_size=6
)


@needs_compiler
@given(
    PARTS,
    st.lists(HEARD, max_size=2),
    st.none() | st.lists(st.integers(0, N_OFFERS - 1)),
    st.integers(1, 30),
)
def test_compiled_code_and_numpy_agree_to_the_last_bit(
    parts: list[tuple[dict[int, float], float]],
    pooled: list[list[tuple[dict[int, float], float, float]]],
    bought: list[int] | None,
    first: int,
) -> None:
    pairs: list[RowBytes] = [_packed(values) for values, _ in parts]
    weights = [weight for _, weight in parts]
    pools = [
        Pool(
            [_packed(values) for values, _, _ in pool],
            [weight for _, weight, _ in pool],
            [added for _, _, added in pool],
        )
        for pool in pooled
    ]
    terms = Terms(pairs, weights, pools, None if bought is None else ids(*bought))
    assert found(terms, first, compiled=True) == found(terms, first, compiled=False)


def found(terms: Terms, first: int, *, compiled: bool) -> list[tuple[int, str]]:
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(adder_module, "IS_COMPILED", compiled)
        return [(offer, score.hex()) for offer, score in Adder(PRIOR).best(terms, first)]


def _packed(values: dict[int, float]) -> bytes:
    offers = np.array(list(values), dtype=np.intp)
    scores: Scores = np.array(list(values.values()), dtype=np.float32)
    return packed_pairs(offers, scores)
