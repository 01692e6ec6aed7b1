"""The estimators on four decisions, and what must hold for any log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import DataGate
from builder.estimators.decisions import LoggedDecisions
from builder.estimators.estimates import ESTIMATOR_TITLES, estimate
from builder.estimators.overlap import effective_n, overlap, variance_of_mean
from builder.estimators.tuning import candidates, clip, cut_at, errors, switch, variances
from builder.metrics import Floats, Interval
from tests.builder.logs import FOUR, by_name, values

# Four decisions -----------------------------------------------------------------------------------


def test_estimates_of_four_decisions_on_paper() -> None:
    """Weighted rewards are 1, 0, 6, 0; doubly robust terms 1, 3/4, 4, -1/2; cut at 2."""
    found = values(estimate(FOUR, thresholds=np.array([2.0])))

    assert found == pytest.approx(
        {
            "ips": 7 / 4,
            "clipped_ips": 5 / 4,
            "snips": 7 / 5.5,
            "dm": 3 / 4,
            "dr": 5.25 / 4,
            "switch_dr": 2.25 / 4,
        }
    )
    assert list(found) == list(ESTIMATOR_TITLES)


def test_difference_is_to_what_the_log_earned() -> None:
    """The log earned 3/4 a decision."""
    for found in estimate(FOUR):
        assert found.reward is not None
        assert found.difference is not None
        assert found.difference.value == pytest.approx(found.reward.value - 3 / 4)


def test_effective_n_counts_the_weights_that_were_used() -> None:
    """(Σw)² / Σw² of 1, 1/2, 3, 1, of the same clipped at 2, and without the 3."""
    found = by_name(estimate(FOUR, thresholds=np.array([2.0])))

    assert found["ips"].effective_n == found["dr"].effective_n == 5.5**2 / 11.25
    assert found["clipped_ips"].effective_n == 4.5**2 / 6.25
    assert found["switch_dr"].effective_n == 2.5**2 / 2.25
    assert found["dm"].effective_n is None


def test_only_what_was_cut_has_a_threshold() -> None:
    found = estimate(FOUR, thresholds=np.array([2.0]))

    assert {e.estimator for e in found if e.threshold == 2.0} == {"clipped_ips", "switch_dr"}
    assert {e.threshold for e in found} == {None, 2.0}


def test_error_of_a_threshold_is_variance_and_squared_bias() -> None:
    """At 3 nothing is cut: variance 6.1875 of 4. At 2: 2.6875 of 4, and a bias of 2/4."""
    tried = np.array([3.0, 2.0])
    terms = cut_at(tried, clip, FOUR.weights) * FOUR.reward[:, None]
    found = errors(np.array([7 / 4]), terms.mean(axis=0)[None], variances(FOUR, terms))

    assert found == pytest.approx(np.array([[6.1875 / 4, 2.6875 / 4 + 0.25]]))
    assert by_name(estimate(FOUR, thresholds=tried))["clipped_ips"].threshold == 2.0


def test_variance_counts_customers_not_decisions() -> None:
    """Deviations -1, -1, 1, 1; two customers who are always alike double them."""
    apart = variance_of_mean(np.array([0.0, 0.0, 2.0, 2.0]), np.arange(4))

    assert apart == 1 / 4
    assert variance_of_mean(np.array([0.0, 0.0, 2.0, 2.0]), np.array([0, 0, 1, 1])) == 2 / 4


def test_without_a_model_only_weights_speak() -> None:
    found = estimate(replace(FOUR, q_logged=None, q_policy=None))

    assert [e.estimator for e in found] == ["ips", "clipped_ips", "snips"]


# Cutting ------------------------------------------------------------------------------------------


def test_a_threshold_itself_is_not_cut() -> None:
    weights = np.array([1.0, 3.0, 5.0])

    assert clip(weights, 3.0).tolist() == [1.0, 3.0, 3.0]
    assert switch(weights, 3.0).tolist() == [1.0, 3.0, 0.0]


def test_candidates_fall_from_the_largest_weight() -> None:
    found = candidates(np.array([0.0, 1.0, 2.0, 16.0]))

    assert found[0] == 16.0
    assert (np.diff(found) < 0.0).all()
    assert found[-1] == pytest.approx(np.quantile([1.0, 2.0, 16.0], 0.05))


def test_nothing_is_cut_when_it_makes_no_difference() -> None:
    found = by_name(estimate(replace(FOUR, reward=np.zeros(4))))

    assert found["clipped_ips"].threshold == 3.0


# A policy the log knows little about --------------------------------------------------------------


def decisions(n: int, propensity: float, pi_e: float) -> LoggedDecisions:
    return LoggedDecisions(
        reward=np.ones(n),
        propensity=np.full(n, propensity),
        action=np.zeros(n, dtype=np.int64),
        pi_e=np.full(n, pi_e),
        customers=np.arange(n),
    )


def test_a_log_of_the_policy_itself_has_no_warnings() -> None:
    for found in estimate(decisions(200, 0.1, 0.1)):
        assert found.warnings == ()
        assert found.reward == Interval(value=1.0, low=1.0, high=1.0)
        assert found.effective_n == pytest.approx(200)


def test_what_the_policy_never_does_tells_nothing() -> None:
    """Zero would be a value; there is none."""
    for found in estimate(decisions(200, 0.1, 0.0)):
        assert (found.reward, found.difference) == (None, None)
        assert found.effective_n == 0.0


def test_a_resample_without_weight_leaves_no_interval() -> None:
    """One decision in fifty is the policy's: every third resample has none of it."""
    log = replace(decisions(50, 1.0, 0.0), pi_e=(np.arange(50) == 7).astype(np.float64))

    assert {found.reward for found in estimate(log)} == {None}


def test_a_model_knows_even_what_was_never_tried() -> None:
    log = replace(decisions(200, 0.1, 0.0), q_logged=np.ones(200), q_policy=np.full(200, 0.25))

    assert values(estimate(log)) == {"dm": 0.25, "dr": 0.25, "switch_dr": 0.25}


@pytest.mark.parametrize(
    ("log", "told"),
    [
        pytest.param(decisions(99, 0.5, 0.5), "99 decisions count like 99.0", id="few"),
        pytest.param(decisions(200, 0.5, 0.4), "weights average 0.800 instead of 1", id="untried"),
        pytest.param(decisions(200, 0.0009, 0.0009), "100.0% of the decisions", id="tiny"),
        pytest.param(decisions(29, 0.5, 0.5), "29 customers", id="customers"),
        pytest.param(
            replace(decisions(1000, 0.5, 0.5), pi_e=np.r_[1.0, np.full(999, 0.01)]),
            "one decision, of weight 2.0, carries 9% of all weight",
            id="one",
        ),
    ],
)
def test_poor_overlap_is_told(log: LoggedDecisions, told: str) -> None:
    warnings = by_name(estimate(log, n_resamples=10))["ips"].warnings

    assert any(warning.startswith(told) for warning in warnings)


def test_overlap_of_four_decisions() -> None:
    found = overlap(FOUR)

    assert (found.n_decisions, found.n_customers) == (4, 4)
    assert found.mean_weight == 5.5 / 4
    assert (found.max_weight, found.max_share) == (3.0, 3 / 5.5)
    assert found.tiny_share == 0.0


def test_tiny_propensities_count_only_where_the_policy_goes() -> None:
    log = replace(
        FOUR, propensity=np.array([1e-4, 1e-4, 0.5, 0.5]), pi_e=np.array([0.0, 0.5, 0.5, 0.5])
    )

    assert overlap(log).tiny_share == 1 / 3


def test_the_model_alone_is_not_warned_of_weights() -> None:
    found = by_name(estimate(FOUR))

    assert found["dm"].warnings == ("4 customers: intervals are too narrow below 30",)
    assert len(found["dr"].warnings) > 1


# Any log ------------------------------------------------------------------------------------------

chances = st.integers(1, 64).map(lambda share: share / 64)
rows = st.tuples(st.integers(-8, 8), chances, chances, st.integers(0, 6), st.integers(0, 8))


def log_of(drawn: list[tuple[int, float, float, int, int]]) -> LoggedDecisions:
    """Two customers more than drawn, so that there are two."""
    reward, propensity, pi_e, customers, q = map(
        np.array, zip(*drawn, (1, 0.5, 0.5, 7, 1), (0, 1.0, 1.0, 8, 0), strict=True)
    )
    return LoggedDecisions(
        reward=reward.astype(np.float64),
        propensity=propensity,
        action=np.zeros(len(reward), dtype=np.int64),
        pi_e=pi_e,
        customers=customers,
        q_logged=q.astype(np.float64),
        q_policy=q[::-1].astype(np.float64),
    )


logs = st.lists(rows, max_size=30).map(log_of)


@given(logs)
def test_the_logging_policy_earned_what_the_log_says(log: LoggedDecisions) -> None:
    found = values(estimate(replace(log, pi_e=log.propensity), n_resamples=5))

    assert found["ips"] == found["clipped_ips"] == pytest.approx(log.reward.mean())
    assert found["snips"] == pytest.approx(log.reward.mean())


@given(logs, st.sampled_from([0.25, 64.0, -1.0]))
def test_another_currency_changes_nothing_else(log: LoggedDecisions, rate: float) -> None:
    """Powers of two, so that it holds to the last bit."""
    assert log.q_logged is not None
    assert log.q_policy is not None
    exchanged = replace(
        log,
        reward=log.reward * rate,
        q_logged=log.q_logged * rate,
        q_policy=log.q_policy * rate,
    )

    for ours, theirs in zip(
        estimate(log, n_resamples=5), estimate(exchanged, n_resamples=5), strict=True
    ):
        assert ours.reward is not None
        assert theirs.reward is not None
        assert theirs.reward.value == ours.reward.value * rate
        assert (theirs.threshold, theirs.effective_n) == (ours.threshold, ours.effective_n)


@given(logs)
def test_a_perfect_model_leaves_nothing_to_weigh(log: LoggedDecisions) -> None:
    found = values(estimate(replace(log, q_logged=log.reward), n_resamples=5))

    assert found["dr"] == found["switch_dr"] == found["dm"]


@given(st.lists(st.floats(0.0, 100.0), min_size=1))
def test_effective_n_is_at_most_n(weights: list[float]) -> None:
    assert 0.0 <= effective_n(np.array(weights)) <= len(weights) * (1 + 1e-9)


def test_intervals_repeat_with_their_seed() -> None:
    assert estimate(FOUR, seed=2) == estimate(FOUR, seed=2)
    assert estimate(FOUR, seed=2) != estimate(FOUR, seed=3)


# What is no log -----------------------------------------------------------------------------------


def changed(place: int, value: float) -> Floats:
    array = FOUR.propensity.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        pytest.param(
            {"propensity": changed(2, 0.0)},
            r"propensity: expected more than 0 and at most 1; found 0\.0 in row 2 \(1 such rows\)",
            id="propensity 0",
        ),
        pytest.param(
            {"propensity": changed(1, np.nan)},
            "propensity: expected a finite number; found nan in row 1",
            id="propensity nan",
        ),
        pytest.param({"propensity": changed(0, 1.5)}, "found 1.5 in row 0", id="propensity 1.5"),
        pytest.param({"propensity": changed(0, -0.5)}, "found -0.5", id="propensity below 0"),
        pytest.param({"reward": changed(3, np.inf)}, "reward: .* inf in row 3", id="reward inf"),
        pytest.param({"pi_e": changed(3, -0.1)}, "pi_e: expected 0 to 1; found -0.1", id="pi_e"),
        pytest.param({"pi_e": changed(3, 1.1)}, "pi_e: expected 0 to 1; found 1.1", id="pi_e 1.1"),
        pytest.param({"q_policy": changed(0, np.nan)}, "q_policy: expected a finite", id="q nan"),
        pytest.param(
            {"propensity": np.ones(3)},
            r"propensity: expected 4 numbers of float64, .*; found float64 of shape \(3,\)",
            id="length",
        ),
        pytest.param({"position": np.ones((4, 1), dtype=np.int64)}, "position: .*4, 1", id="shape"),
        pytest.param({"action": np.ones(4)}, "action: expected 4 numbers of int64", id="type"),
        pytest.param({"action": np.array([0, 0, -1, 0])}, "action: .* found -1", id="action"),
        pytest.param({"q_logged": None}, "both or neither", id="half a model"),
        pytest.param(
            {"customers": np.full(4, 3)}, "customers: expected at least two, found one", id="one"
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_row(wrong: dict[str, Floats | None], told: str) -> None:
    with pytest.raises(DataGate, match=told):
        replace(FOUR, **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(DataGate, match="the log is empty"):
        FOUR.where(np.zeros(4, dtype=np.bool_))


def test_sums_of_probabilities_may_end_a_little_above_one() -> None:
    assert replace(FOUR, pi_e=changed(0, 1.0 + 2**-50)).pi_e[0] > 1.0


def test_rows_can_be_chosen_by_position() -> None:
    position = np.array([1, 3, 1, 3])

    last = replace(FOUR, position=position).where(position == 3)

    assert last.position is not None
    assert last.position.tolist() == [3, 3]
    assert last.customers.tolist() == [8, 5]
    assert last.weights.tolist() == [0.5, 1.0]
    assert last.q_policy is not None
    assert last.q_policy.tolist() == [1.0, 0.0]
