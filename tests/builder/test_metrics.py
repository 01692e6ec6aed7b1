"""Metrics on arrays small enough to do in the head, and what must hold for any array."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder import metrics
from builder.metrics import Floats, Ints

ONE_LIST = np.array([[7, 8, 9]])


def rows(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def test_recall_divides_by_the_whole_truth() -> None:
    judged = metrics.judge(ONE_LIST, [rows(8, 9, 1, 2)])

    assert metrics.recall(judged, k=1).tolist() == [0.0]
    assert metrics.recall(judged, k=2).tolist() == [0.25]
    assert metrics.recall(judged, k=3).tolist() == [0.5]


def test_ndcg_discounts_by_place() -> None:
    judged = metrics.judge(ONE_LIST, [rows(8)])

    assert metrics.ndcg(judged, k=3).tolist() == pytest.approx([1 / math.log2(3)])


def test_ndcg_ideal_is_cut_at_k() -> None:
    """Two hits in two places are perfect although a third offer of the truth is missing."""
    judged = metrics.judge(ONE_LIST, [rows(7, 8, 1)])

    assert metrics.ndcg(judged, k=2).tolist() == pytest.approx([1.0])


def test_ndcg_of_a_list_shorter_than_k() -> None:
    judged = metrics.judge(ONE_LIST, [rows(7, 1)])

    assert metrics.ndcg(judged, k=10).tolist() == pytest.approx([1 / (1 + 1 / math.log2(3))])


def test_hit_is_any_place() -> None:
    judged = metrics.judge(np.array([[1, 2], [3, 4]]), [rows(2), rows(5)])

    assert metrics.hit(judged, k=2).tolist() == [1.0, 0.0]
    assert metrics.hit(judged, k=1).tolist() == [0.0, 0.0]


def test_taken_value_is_the_worth_of_the_hits() -> None:
    """Of 7, 8 and 9 the last two are taken, of the padded list only 1."""
    ranked = np.array([[7, 8, 9], [1, -1, -1]])
    judged = metrics.judge(ranked, [rows(9, 8), rows(1)])
    values = np.array([0.0, 0.5, 0, 0, 0, 0, 0, 64.0, 2.0, 4.0])

    assert metrics.taken_value(judged, ranked, values, k=3).tolist() == [6.0, 0.5]
    assert metrics.taken_value(judged, ranked, values, k=2).tolist() == [2.0, 0.5]
    assert metrics.taken_value(judged, ranked, None, k=3).tolist() == [2.0, 1.0]


def test_mean_first_hit_is_over_lists_with_a_hit() -> None:
    judged = metrics.judge(np.array([[1, 2], [3, 4], [5, 6]]), [rows(2), rows(3, 4), rows(9)])

    assert metrics.mean_first_hit(judged) == 1.5


def test_mean_first_hit_without_any_is_none() -> None:
    assert metrics.mean_first_hit(metrics.judge(ONE_LIST, [rows(1)])) is None


def test_padding_is_never_a_hit() -> None:
    judged = metrics.judge(np.array([[1, -1, -1]]), [rows(-1, 1)])

    assert judged.is_hit.tolist() == [[True, False, False]]


def test_an_offer_named_twice_counts_once() -> None:
    judged = metrics.judge(np.array([[4, 4]]), [rows(4)])

    assert judged.is_hit.tolist() == [[True, False]]


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(-1, 5), min_size=4, max_size=4),
            st.lists(st.integers(0, 7), min_size=1, max_size=6),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_many_lists_are_judged_as_one_by_one(examples: list[tuple[list[int], list[int]]]) -> None:
    judged = metrics.judge(
        np.array([ranked for ranked, _ in examples]), [rows(*truth) for _, truth in examples]
    )

    for place, (ranked, truth) in enumerate(examples):
        hits = [row in truth and row not in ranked[:at] for at, row in enumerate(ranked)]
        assert judged.is_hit[place].tolist() == hits
        assert judged.n_truth[place] == len(set(truth))


def test_judge_refuses_an_example_without_truth() -> None:
    with pytest.raises(ValueError, match="example 1 has no truth"):
        metrics.judge(np.array([[1], [2]]), [rows(1), rows()])


def test_exposure_of_one_list_for_all() -> None:
    """Two lists alike, one offer of four: everything goes to one."""
    shown = metrics.exposure(np.array([[2], [2]]), n_offers=4, k=1)

    assert shown == metrics.Exposure(coverage=0.25, gini=0.75, top1_share=1.0)


def test_exposure_of_everything_once() -> None:
    shown = metrics.exposure(np.array([[0, 1], [2, 3]]), n_offers=4, k=2)

    assert shown.coverage == 1.0
    assert shown.gini == pytest.approx(0.0)
    assert shown.top1_share == 0.5


@pytest.mark.parametrize("ranked", [np.full((2, 3), -1), np.empty((0, 3), dtype=np.int64)])
def test_exposure_of_nothing_is_zero(ranked: Ints) -> None:
    assert metrics.exposure(ranked, n_offers=4, k=3) == metrics.Exposure(
        coverage=0.0, gini=0.0, top1_share=0.0
    )


def test_brier_is_the_mean_squared_distance() -> None:
    assert metrics.brier(np.array([0.5, 1.0]), np.array([True, True])) == 0.125


def test_reliability_has_bins_of_equal_mass() -> None:
    curve = metrics.reliability(
        np.array([0.4, 0.1, 0.2, 0.3]), np.array([True, False, False, True]), n_bins=2
    )

    assert curve.n_examples == (2, 2)
    assert curve.mean_probability == pytest.approx((0.15, 0.35))
    assert curve.positive_share == (0.0, 1.0)


def test_reliability_keeps_equal_probabilities_together() -> None:
    curve = metrics.reliability(np.full(4, 0.5), np.array([True, False, False, False]), n_bins=2)

    assert curve == metrics.ReliabilityCurve(
        mean_probability=(0.5,), positive_share=(0.25,), n_examples=(4,)
    )


def test_reliability_of_nothing_has_no_bins() -> None:
    curve = metrics.reliability(np.empty(0), np.empty(0, dtype=np.bool_))

    assert curve.n_examples == ()


def test_bootstrap_of_a_constant_has_no_width() -> None:
    replicates = metrics.bootstrap(np.full((5, 1), 0.25), np.arange(5), seed=1)

    assert metrics.mean_interval(replicates, 0) == metrics.Interval(value=0.25, low=0.25, high=0.25)


def test_bootstrap_width_is_that_of_the_mean() -> None:
    """For 400 coin tosses the mean's 95 % interval is 0.5 ± 1.96 · 0.5 / 20."""
    tosses = (np.arange(400) % 2).astype(np.float64)[:, None]

    interval = metrics.mean_interval(metrics.bootstrap(tosses, np.arange(400), seed=2), 0)

    assert (interval.low, interval.high) == pytest.approx((0.451, 0.549), abs=0.01)


def test_bootstrap_draws_whole_customers() -> None:
    """Twenty copies of two customers say no more than two customers."""
    values = np.repeat([[0.0], [1.0]], 20, axis=0)
    customers = np.repeat([5, 9], 20)

    interval = metrics.mean_interval(metrics.bootstrap(values, customers, seed=3), 0)

    assert (interval.low, interval.high) == (0.0, 1.0)


def test_bootstrap_weighs_customers_by_their_examples() -> None:
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    replicates = metrics.bootstrap(values, rows(1, 1, 1, 2), seed=4, n_resamples=200)

    assert replicates.means.tolist() == [0.75]
    assert set(replicates.draws[:, 0]) == {0.0, 0.75, 1.0}


def test_differences_are_paired() -> None:
    """However much the examples differ, a constant lead has no width."""
    base = np.random.default_rng(5).random(50)
    replicates = metrics.bootstrap(np.column_stack([base, base + 0.5]), np.arange(50), seed=5)

    lead = metrics.difference_interval(replicates, column=1, base=0)

    assert (lead.low, lead.value, lead.high) == pytest.approx((0.5, 0.5, 0.5))


def test_ratios_are_paired() -> None:
    base = np.random.default_rng(6).random(50) + 0.1
    replicates = metrics.bootstrap(np.column_stack([base, 2 * base]), np.arange(50), seed=6)

    ratio = metrics.ratio_interval(replicates, column=1, base=0)

    assert ratio is not None
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize("n_hits", [0, 1])
def test_a_ratio_to_almost_nothing_is_none(n_hits: int) -> None:
    base = (np.arange(10) < n_hits).astype(np.float64)
    replicates = metrics.bootstrap(np.column_stack([base, np.ones(10)]), np.arange(10), seed=7)

    assert metrics.ratio_interval(replicates, column=1, base=0) is None


def test_bootstrap_repeats_with_its_seed() -> None:
    values = np.random.default_rng(8).random((30, 2))
    first = metrics.bootstrap(values, np.arange(30), seed=8)

    assert np.array_equal(first.draws, metrics.bootstrap(values, np.arange(30), seed=8).draws)
    assert not np.array_equal(first.draws, metrics.bootstrap(values, np.arange(30), seed=9).draws)


lists = st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True)


@given(lists, lists, st.integers(1, 12))
def test_metrics_are_shares(ranked: list[int], truth: list[int], k: int) -> None:
    judged = metrics.judge(np.array([ranked]), [rows(*truth)])

    for metric in (metrics.recall, metrics.ndcg, metrics.hit):
        assert 0.0 <= metric(judged, k)[0] <= 1.0 + 1e-12


@given(lists, lists, st.integers(1, 12), st.randoms(use_true_random=False))
def test_truth_is_a_set(ranked: list[int], truth: list[int], k: int, chance: random.Random) -> None:
    again = truth + truth[:1]
    chance.shuffle(again)
    judged = metrics.judge(np.array([ranked, ranked]), [rows(*truth), rows(*again)])

    for metric in (metrics.recall, metrics.ndcg, metrics.hit):
        assert metric(judged, k)[0] == metric(judged, k)[1]


@given(lists, lists)
def test_recall_and_hit_never_fall_with_k(ranked: list[int], truth: list[int]) -> None:
    judged = metrics.judge(np.array([ranked]), [rows(*truth)])

    for metric in (metrics.recall, metrics.hit):
        by_k = [metric(judged, k)[0] for k in range(1, 10)]
        assert by_k == sorted(by_k)


@given(lists, lists)
def test_ndcg_never_falls_when_a_hit_moves_up(ranked: list[int], truth: list[int]) -> None:
    hits_first = sorted(ranked, key=lambda offer: offer not in truth)
    judged = metrics.judge(np.array([ranked, hits_first]), [rows(*truth)] * 2)

    as_ranked, at_best = metrics.ndcg(judged, k=10)

    assert as_ranked <= at_best + 1e-12


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 10))
def test_reliability_loses_nothing(pairs: list[tuple[float, bool]], n_bins: int) -> None:
    """Counts add up, positives add up, and bins rise."""
    probability = np.array([p for p, _ in pairs])
    outcome = np.array([o for _, o in pairs])

    curve = metrics.reliability(probability, outcome, n_bins)

    assert sum(curve.n_examples) == len(pairs)
    positives = np.multiply(curve.positive_share, curve.n_examples).sum()
    assert positives == pytest.approx(outcome.sum())
    assert list(curve.mean_probability) == sorted(curve.mean_probability)


GOLDEN = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def golden_lists() -> metrics.Judged:
    """Lists of different lengths, padded, with truths longer and shorter than any cut."""
    ranked = np.full((len(GOLDEN["lists"]), 12), metrics.PADDING)
    for place, drawn in enumerate(GOLDEN["lists"]):
        ranked[place, : len(drawn["ranked"])] = drawn["ranked"]
    return metrics.judge(ranked, [rows(*drawn["truth"]) for drawn in GOLDEN["lists"]])


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize(
    ("name", "metric"),
    [("recall", metrics.recall), ("ndcg", metrics.ndcg), ("hit_rate", metrics.hit)],
)
def test_metrics_agree_with_ranx(
    golden_lists: metrics.Judged, name: str, metric: Callable[..., Floats], k: int
) -> None:
    """`make_golden_metrics` says what was asked of which version."""
    expected = GOLDEN["scores"][f"{name}@{k}"]

    assert len(set(expected)) > 1
    assert metric(golden_lists, k).tolist() == pytest.approx(expected, abs=1e-11)


def test_first_hits_agree_with_ranx(golden_lists: metrics.Judged) -> None:
    """Its reciprocal ranks are one over our places; lists without a hit have neither."""
    places = [1.0 / reciprocal for reciprocal in GOLDEN["scores"]["mrr"] if reciprocal > 0.0]

    assert metrics.mean_first_hit(golden_lists) == pytest.approx(sum(places) / len(places))
