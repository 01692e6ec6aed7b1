"""A plain model of the reward, so that `dm` and `dr` need none from elsewhere.

Ridge regression on given features, cross-fitted: the rewards of a customer are estimated by a model
that has not seen that customer, or doubly robust estimates would trust luck they have learned by
heart (Chernozhukov et al. 2018, *Double/debiased machine learning*). A linear model is enough of a
helper here: it lowers the variance of what the propensities make unbiased. And being linear, it
needs only the mean features of what the policy would show, not each offer's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsqr

from builder.errors import DataGate
from builder.estimators.decisions import LoggedDecisions
from builder.metrics import Bools, Floats, Ints

_SEED: Final = 1
_PRECISION: Final = 1e-12


def with_rewards(
    log: LoggedDecisions,
    logged: sparse.csr_matrix | Floats,
    policy: sparse.csr_matrix | Floats,
    *,
    n_folds: int = 5,
    ridge: float = 10.0,
) -> LoggedDecisions:
    """The same decisions with `q_logged` and `q_policy`, estimated from their own rewards.

    Rewards are modelled as the mean of all plus a weighted sum of the features, so where nothing is
    known the mean is said. Features should be of similar scale; indicators are best.

    Args:
        log: the decisions.
        logged: dense or scipy sparse float64, shape (n, m): features of each decision with the
            offer that was shown.
        policy: likewise, with the offers the evaluated policy would show: the mean over all offers
            of the features, weighted by the policy's probabilities.
        n_folds: customers are dealt to so many groups, always the same way; fewer when there are
            fewer customers. Each group is estimated by the others.
        ridge: how strongly weights are drawn to 0, in observations: an indicator seen so many times
            gets half the weight the data ask for.

    Raises:
        DataGate: features are not finite, or of another shape.
    """
    shown, wanted = _matrix("logged", logged, len(log)), _matrix("policy", policy, len(log))
    if shown.shape != wanted.shape:
        raise DataGate(
            f"policy: expected {shown.shape[1]} features, as logged has; found {wanted.shape[1]}"
        )
    q_logged, q_policy = np.empty(len(log)), np.empty(len(log))
    fold_of = _folds(log.customers, n_folds)
    for fold in range(int(fold_of.max()) + 1):
        mine = fold_of == fold
        mean, weights = _fit(shown[~mine], log.reward[~mine], ridge)
        q_logged[mine] = mean + shown[mine] @ weights
        q_policy[mine] = mean + wanted[mine] @ weights
    return replace(log, q_logged=q_logged, q_policy=q_policy)


def _matrix(name: str, features: sparse.csr_matrix | Floats, n: int) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix(features)
    if matrix.shape[0] != n:
        raise DataGate(f"{name}: expected {n} rows of features, found {matrix.shape[0]}")
    if not np.isfinite(matrix.data).all():
        raise DataGate(f"{name}: expected finite features, found {_first_bad(matrix.data)}")
    return matrix


def _first_bad(values: Floats) -> float:
    is_bad: Bools = ~np.isfinite(values)
    return float(values[is_bad.argmax()])


def _folds(customers: Ints, n_folds: int) -> Ints:
    """The fold of each decision; customers are shuffled, as their numbers may mean something."""
    members, owner = np.unique(customers, return_inverse=True)
    dealt = np.arange(members.size) % min(max(n_folds, 2), members.size)
    return np.random.default_rng(_SEED).permutation(dealt)[owner]


def _fit(features: sparse.csr_matrix, reward: Floats, ridge: float) -> tuple[float, Floats]:
    """Mean reward, and the weights that explain what differs from it.

    They minimise Σ(reward - mean - features @ weights)² + ridge * Σweights².
    """
    mean = float(reward.mean())
    solved = lsqr(features, reward - mean, damp=np.sqrt(ridge), atol=_PRECISION, btol=_PRECISION)
    weights: Floats = solved[0]
    return mean, weights
