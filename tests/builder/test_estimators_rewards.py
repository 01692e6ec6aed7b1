"""The plain model of the reward: its arithmetic, and that nobody is estimated by their own luck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from builder.errors import DataGate
from builder.estimators.decisions import LoggedDecisions
from builder.estimators.estimates import estimate
from builder.estimators.rewards import with_rewards
from builder.metrics import Floats
from tests.builder.logs import World, values


def log_of(reward: Floats, customers: list[int]) -> LoggedDecisions:
    n = len(reward)
    return LoggedDecisions(
        reward=reward,
        propensity=np.full(n, 0.5),
        action=np.zeros(n, dtype=np.int64),
        pi_e=np.full(n, 0.5),
        customers=np.array(customers),
    )


def test_two_customers_are_estimated_by_each_other() -> None:
    """Each earned 4 with the first offer and 0 with the second, 2 more and 2 less than the mean.

    One observation and a ridge of 3 leave a quarter of that. The policy shows either half the time.
    """
    offers = np.array([[1.0, 0.0], [0.0, 1.0]] * 2)
    log = log_of(np.array([4.0, 0.0, 4.0, 0.0]), [1, 1, 2, 2])

    found = with_rewards(log, offers, np.full((4, 2), 0.5), ridge=3.0)

    assert found.q_logged == pytest.approx(np.array([2.5, 1.5, 2.5, 1.5]))
    assert found.q_policy == pytest.approx(np.full(4, 2.0))


def test_what_nobody_else_was_shown_gets_the_mean_of_the_others() -> None:
    """The first customer's offer was shown to no one else."""
    offers = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = with_rewards(log_of(np.array([9.0, 1.0, 3.0]), [1, 2, 3]), offers, offers)

    assert found.q_logged is not None
    assert found.q_logged[0] == pytest.approx(2.0)


@given(st.integers(0, 19), st.floats(-1e3, 1e3), st.integers(2, 30))
def test_nobody_is_estimated_by_their_own_rewards(customer: int, more: float, folds: int) -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 4))
    log = log_of(rng.normal(size=60), (np.arange(60) % 20).tolist())
    own = log.customers == customer
    richer = replace(log, reward=log.reward + more * own)

    before = with_rewards(log, features, features, n_folds=folds).q_logged
    after = with_rewards(richer, features, features, n_folds=folds).q_logged

    assert before is not None
    assert after is not None
    assert np.array_equal(after[own], before[own])


def test_without_cross_fitting_noise_would_be_learned() -> None:
    """As many features as decisions, and rewards that are nothing but chance."""
    rng = np.random.default_rng(5)
    log = log_of(rng.normal(size=200), list(range(200)))

    found = with_rewards(log, np.eye(200), np.eye(200), ridge=0.1)

    assert found.q_logged is not None
    assert found.q_logged == pytest.approx(np.full(200, log.reward.mean()), abs=0.2)


def test_planted_rewards_come_back() -> None:
    rng = np.random.default_rng(6)
    weights = np.array([1.0, -0.5, 0.25])
    features, other = rng.normal(size=(2, 4000, 3))
    log = log_of(2.0 + features @ weights + rng.normal(0, 0.1, 4000), list(range(4000)))

    found = with_rewards(log, features, other)

    assert found.q_logged == pytest.approx(2.0 + features @ weights, abs=0.05)
    assert found.q_policy == pytest.approx(2.0 + other @ weights, abs=0.05)


def test_dense_and_sparse_features_are_the_same() -> None:
    rng = np.random.default_rng(7)
    features = rng.normal(size=(30, 3))
    log = log_of(rng.normal(size=30), list(range(30)))

    dense = with_rewards(log, features, features)
    thin = with_rewards(log, sparse.csr_matrix(features), sparse.csr_matrix(features))

    assert dense.q_logged is not None
    assert thin.q_logged is not None
    assert np.array_equal(dense.q_logged, thin.q_logged)


def test_a_learned_model_makes_dr_surer_than_ips() -> None:
    """Both find the truth over 100 logs; what the model explains is not left to the weights."""
    world = World(
        rewards=np.array([[5.0, 4.0, 6.0], [2.0, 1.0, 3.0]]),
        logging=np.array([[0.6, 0.3, 0.1], [0.1, 0.6, 0.3]]),
        evaluated=np.array([[0.1, 0.3, 0.6], [0.6, 0.1, 0.3]]),
    )
    rng, found = np.random.default_rng(8), []
    for _ in range(100):
        log = world.log(rng, 300, model=np.array([[0.0] * 3, [1.0] * 3]))
        assert log.q_logged is not None
        kind = log.q_logged.astype(np.int64)  # the model says nothing but the kind of customer
        features, kinds = np.eye(3)[log.action], np.eye(2)[kind]
        learned = with_rewards(
            log, np.c_[features, kinds], np.c_[world.evaluated[kind], kinds], ridge=1.0
        )
        found.append(values(estimate(learned, n_resamples=1)))
    ips, dr = (np.array([each[name] for each in found]) for name in ("ips", "dr"))

    assert abs(dr.mean() - world.truth) < 3 * dr.std() / 10
    assert abs(ips.mean() - world.truth) < 3 * ips.std() / 10
    assert dr.std() < 0.5 * ips.std()


@pytest.mark.parametrize(
    ("logged", "policy", "told"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "logged: expected 4 rows of features, found 3"),
        (np.ones((4, 2)), np.ones((5, 2)), "policy: expected 4 rows of features, found 5"),
        (np.ones((4, 2)), np.ones((4, 3)), "policy: expected 2 features, .*; found 3"),
        (np.ones((4, 2)), np.full((4, 2), np.nan), "policy: expected finite features, found nan"),
    ],
)
def test_features_that_do_not_fit_are_refused(logged: Floats, policy: Floats, told: str) -> None:
    with pytest.raises(DataGate, match=told):
        with_rewards(log_of(np.ones(4), [1, 2, 3, 4]), logged, policy)
