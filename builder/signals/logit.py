"""Conditional logit by Newton's method: which of a case's candidates are taken, given features.

Source: McFadden (1974), *Conditional logit analysis of qualitative choice behavior*. Several
candidates of a case may be taken; each counts as a choice among all.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.histories import Floats, Ints

_ROUNDS: Final = 30
_ENOUGH: Final = 1e-7
_CHUNK: Final = 1 << 16
_HALVINGS: Final = 20


def fit_logit(
    features: NDArray[np.float32],
    taken: NDArray[np.bool_],
    starts: Ints,
    *,
    start: Floats,
    ridge: float,
) -> tuple[Floats, float]:
    """Weights that make the taken candidates likeliest within their case.

    A case weighs the square root of its taken candidates, so that large orders teach more, but not
    by as much as they are large.

    Args:
        features: shape (n, m), cases under each other; best of similar scale.
        taken: shape (n,).
        starts: first row of each case, rising from 0; no case is empty.
        start: shape (m,), where the weights are drawn to, and begin.
        ridge: how strongly, per squared unit of weight, on the scale of the summed log-likelihood.

    Returns:
        Weights (m,), and the mean negative log-likelihood per taken candidate, weighted like cases.
    """
    problem = _Problem(features, taken, starts)
    weights = start.copy()
    loss, gradient, curvature = problem.at(weights)
    for _ in range(_ROUNDS):
        slope = gradient + ridge * (weights - start)
        step = np.linalg.solve(curvature + ridge * np.eye(len(weights)), slope)
        decrease = float(slope @ step)
        if decrease < _ENOUGH * (1.0 + abs(loss)):
            break
        objective = loss + 0.5 * ridge * float(((weights - start) ** 2).sum())
        share = 1.0
        for _ in range(_HALVINGS):
            candidate = weights - share * step
            tried = problem.at(candidate)
            new_objective = tried[0] + 0.5 * ridge * float(((candidate - start) ** 2).sum())
            if new_objective <= objective:
                weights, (loss, gradient, curvature) = candidate, tried
                break
            share /= 2.0
        else:
            break
    return weights, loss / max(problem.total, 1e-12)


def contenders(scores: Floats, taken: NDArray[np.bool_], starts: Ints, n: int) -> tuple[Ints, Ints]:
    """The best candidates of the cases in which these leave a choice: some taken, others not.

    Args:
        scores: float64, shape (n_rows,), cases under each other.
        taken: bool, shape (n_rows,).
        starts: first row of each case, rising from 0.
        n: of each case so many, ties to the first.

    Returns:
        Their rows, a case's best first, and where each case's begin among them: int64.
    """
    rows, firsts, n_rows = [np.empty(0, np.int64)], [], 0
    for start, stop in pairwise([*starts.tolist(), len(scores)]):
        best = start + np.argsort(-scores[start:stop], kind="stable")[:n]
        if taken[best].any() and not taken[best].all():
            rows.append(best)
            firsts.append(n_rows)
            n_rows += len(best)
    return np.concatenate(rows), np.array(firsts, dtype=np.int64)


class _Problem:
    """Loss, gradient and curvature at given weights, a chunk of whole cases at a time."""

    def __init__(
        self, features: NDArray[np.float32], taken: NDArray[np.bool_], starts: Ints
    ) -> None:
        self._features, self._taken = features, taken
        self._starts = np.append(starts, len(features))
        n_taken = np.add.reduceat(taken.astype(np.float64), starts) if len(starts) else starts
        self._n_taken = np.asarray(n_taken, dtype=np.float64)
        self._weight = np.where(self._n_taken > 0, 1.0 / np.sqrt(np.maximum(self._n_taken, 1)), 0)
        self.total = float((self._weight * self._n_taken).sum())
        self._bounds = self._chunks()

    def _chunks(self) -> list[tuple[int, int]]:
        """Ranges of cases with about `_CHUNK` rows each."""
        bounds, first = [], 0
        for case in range(len(self._starts) - 1):
            if self._starts[case + 1] - self._starts[first] >= _CHUNK:
                bounds.append((first, case + 1))
                first = case + 1
        if first < len(self._starts) - 1:
            bounds.append((first, len(self._starts) - 1))
        return bounds

    def at(self, weights: Floats) -> tuple[float, Floats, Floats]:
        loss = 0.0
        gradient = np.zeros(len(weights))
        curvature = np.zeros((len(weights), len(weights)))
        for first, stop in self._bounds:
            rows = slice(int(self._starts[first]), int(self._starts[stop]))
            starts = self._starts[first:stop] - rows.start
            case = np.repeat(np.arange(stop - first), np.diff(self._starts[first : stop + 1]))
            x = self._features[rows].astype(np.float64)
            y = self._taken[rows] * self._weight[first:stop][case]
            n_taken = self._n_taken[first:stop] * self._weight[first:stop]
            score = x @ weights
            score -= np.maximum.reduceat(score, starts)[case]
            chance = np.exp(score)
            sums = np.add.reduceat(chance, starts)
            chance /= sums[case]
            loss += float(n_taken @ np.log(sums) - y @ score)
            expected = chance * n_taken[case]
            weighted = x * expected[:, None]
            gradient += weighted.sum(axis=0) - y @ x
            means = np.add.reduceat(x * chance[:, None], starts, axis=0)
            curvature += x.T @ weighted - (means * n_taken[:, None]).T @ means
        return loss, gradient, curvature
