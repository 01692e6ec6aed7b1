"""Fitting the weights of signals, and the curve from a score to a probability.

Sources: McFadden (1974), conditional logit; Platt (1999), probabilities from scores.

Learners of many columns have `builder.signals.logit`, in which a case counts the more the more of
its candidates were taken, and a weight may be below zero. Here a case counts once, and no weight
is: a signal that speaks for an offer never speaks against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.metrics import Floats

_RIDGE: Final = 1e-3
_MIN_PRIOR_WEIGHT: Final = 0.05


def fit_conditional_logit(
    values: Floats,
    is_bought: NDArray[np.bool_],
    starts: NDArray[np.int64],
    expected_weights: Floats,
    start: Floats | None = None,
) -> tuple[Floats, float]:
    """Non-negative weights that make bought candidates likeliest within their case.

    Args:
        values: float64, shape (n, m).
        is_bought: bool, shape (n,); every case has at least one.
        starts: int64, shape (n_cases,), rising from 0.
        expected_weights: float64, shape (m,): what few cases are drawn to.
        start: float64, shape (m,): where to begin; near the expected weights by default.

    Returns:
        Weights (float64, shape (m,)) and the mean loss per case (nats). The first weight, the
        prior's, is at least 0.05: the others are told relative to it.
    """
    sizes = np.diff(np.append(starts, len(values)))
    case = np.repeat(np.arange(len(starts)), sizes)
    bought_share = is_bought / np.add.reduceat(is_bought.astype(np.float64), starts)[case]
    target = bought_share @ values
    scale = np.maximum(np.abs(values).max(axis=0), 1e-9)

    def loss(weights: Floats) -> tuple[float, Floats]:
        off = weights / scale - expected_weights
        scores = values @ (weights / scale)
        scores -= np.maximum.reduceat(scores, starts)[case]
        expected = np.exp(scores)
        sums = np.add.reduceat(expected, starts)
        expected /= sums[case]
        value = np.log(sums).sum() - bought_share @ scores
        gradient = (expected @ values - target) / scale
        n = len(starts)
        return (
            float(value / n + _RIDGE * (off @ off)),
            gradient / n + 2 * _RIDGE * off / scale,
        )

    first = np.maximum(expected_weights, 0.1) if start is None else start
    bounds = [(_MIN_PRIOR_WEIGHT * scale[0], None), *[(0.0, None)] * (values.shape[1] - 1)]
    found, left = _minimum(loss, first * scale, bounds)
    return found / scale, left


def fit_platt(scores: Floats, is_bought: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the logistic curve from score to probability.

    Uses Platt's smoothed targets, so that perfect separation stays finite.
    """
    n_bought = int(is_bought.sum())
    high = (n_bought + 1.0) / (n_bought + 2.0)
    low = 1.0 / (len(scores) - n_bought + 2.0)
    target = np.where(is_bought, high, low)

    def loss(curve: Floats) -> tuple[float, Floats]:
        logits = curve[0] * scores + curve[1]
        error = 1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60))) - target
        value = np.logaddexp(0.0, logits) - target * logits
        return float(value.mean()), np.array([(error * scores).mean(), error.mean()])

    found, _ = _minimum(loss, np.array([1.0, 0.0]), [(1e-3, None), (None, None)])
    return float(found[0]), float(found[1])


def _minimum(
    loss: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    bounds: Sequence[tuple[float | None, float | None]],
) -> tuple[Floats, float]:
    """Where a loss, given with its gradient, is least within bounds, and how small it is there."""
    from scipy.optimize import minimize  # noqa: PLC0415 - slow to load, and workers don't need it

    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(result.x), float(result.fun)
