"""Where to cut importance weights that are too large: chosen from the log, not by the user.

A cut trades variance for bias. For each candidate both are estimated, and the smallest mean squared
error wins: variance + bias², the bias being what the cut takes away from the estimate.

Source: Su, Dimakopoulou, Krishnamurthy, Dudík (2020), *Doubly robust off-policy evaluation with
shrinkage*, section 5, with the direct estimate of the bias. Their alternative, a bound
that holds with high probability, adds so much to every candidate's bias that next to nothing was
cut in the logs we tried. SLOPE (Su, Srinath, Krishnamurthy 2020) halved the error where the model
of the reward was good, and doubled it where it was not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from builder.estimators.decisions import LoggedDecisions
from builder.estimators.overlap import variance_of_mean
from builder.metrics import Floats

Cut: TypeAlias = Callable[[Floats, float], Floats]
"""Makes of weights and a threshold the weights that are used instead."""

_N_CANDIDATES: Final = 16
_LOWEST_QUANTILE: Final = 0.05


def clip(weights: Floats, threshold: float) -> Floats:
    """Let no weight be larger.

    >>> clip(np.array([1.0, 5.0]), 3.0)
    array([1., 3.])
    """
    return np.minimum(weights, threshold)


def switch(weights: Floats, threshold: float) -> Floats:
    """Leave out what is larger, for a model of the reward to answer instead.

    >>> switch(np.array([1.0, 5.0]), 3.0)
    array([1., 0.])
    """
    return np.where(weights <= threshold, weights, 0.0)


def candidates(weights: Floats) -> Floats:
    """Thresholds to try, float64 (16,), falling from the largest weight, which cuts nothing.

    They fall in equal ratios to the 5 % quantile of the weights above 0; without any of those, the
    only candidate is 0.
    """
    positive = weights[weights > 0.0]
    if positive.size == 0:
        return np.zeros(1)
    return np.geomspace(positive.max(), np.quantile(positive, _LOWEST_QUANTILE), _N_CANDIDATES)


def cut_at(thresholds: Floats, cut: Cut, weights: Floats) -> Floats:
    """The weights (n,) cut at each of m thresholds, float64, shape (n, m)."""
    return np.column_stack([cut(weights, threshold) for threshold in thresholds.tolist()])


def variances(log: LoggedDecisions, terms: Floats) -> Floats:
    """Variance of the mean of each column when whole customers are drawn.

    Args:
        log: the decisions.
        terms: float64, shape (n, m).

    Returns:
        float64, shape (m,).
    """
    owner = np.unique(log.customers, return_inverse=True)[1]
    return np.array([variance_of_mean(column, owner) for column in terms.T])


def errors(uncut: Floats, cut: Floats, variance: Floats) -> Floats:
    """Estimated mean squared errors of estimates with cut weights.

    Args:
        uncut: float64, shape (k,): an estimate on each of k logs, with the weights as they are.
        cut: float64, shape (k, m): the same, with the weights cut at each of m thresholds.
        variance: float64, shape (m,): of the estimate at each threshold; one for all logs, as it
            differs little from resample to resample.

    Returns:
        float64, shape (k, m), in squared units of the reward. Of equals the first is best, the
        largest threshold.
    """
    squared: Floats = (cut - uncut[:, None]) ** 2
    return variance + squared
