"""Conditional logit by Newton's method: which of a case's candidates are taken, given features.

Source: McFadden (1974), *Conditional logit analysis of qualitative choice behavior*. Several
candidates of a case may be taken; each counts as a choice among all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from builder.signals.histories import Floats, Ints

_ROUNDS: Final = 30
_ENOUGH: Final = 1e-7
_CHUNK: Final = 1 << 12
"""Rows at a time: their features, in float64, stay near the processor."""
_HALVINGS: Final = 20


class Choices(Protocol):
    """Cases under each other, as `fit_logit` takes them."""

    @property
    def features(self) -> NDArray[np.float32]: ...
    @property
    def taken(self) -> NDArray[np.bool_]: ...
    @property
    def starts(self) -> Ints: ...


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
    whole = _Whole(features=features, taken=taken, starts=starts)
    return fit_logit_parts([whole], start=start, ridge=ridge)


def fit_logit_parts(
    parts: Iterable[Choices], *, start: Floats, ridge: float
) -> tuple[Floats, float]:
    """`fit_logit` of cases in parts, which are gone through once for every step.

    Never more than a part is held, so what lies in files need not fit into memory.
    """
    problem = _Problem(parts)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    features: NDArray[np.float32]
    taken: NDArray[np.bool_]
    starts: Ints


class _Problem:
    """Loss, gradient and curvature at given weights, a chunk of whole cases at a time."""

    def __init__(self, parts: Iterable[Choices]) -> None:
        self._parts = parts
        sums = [np.sqrt(_n_taken(part.taken, part.starts)).sum() for part in parts]
        self.total = float(sum(sums))

    def at(self, weights: Floats) -> tuple[float, Floats, Floats]:
        loss = 0.0
        gradient = np.zeros(len(weights))
        curvature = np.zeros((len(weights), len(weights)))
        for part in self._parts:
            for rows, starts in _chunks(part):
                chunk = _at(weights, part.features[rows], part.taken[rows], starts)
                loss += chunk[0]
                gradient += chunk[1]
                curvature += chunk[2]
        return loss, gradient, curvature


def _chunks(part: Choices) -> Iterator[tuple[slice, Ints]]:
    """Rows of whole cases, about `_CHUNK` at a time, and where the cases begin among them."""
    if not len(part.starts):
        return
    bounds = np.append(part.starts, len(part.taken))
    full = np.searchsorted(bounds, [*range(0, int(bounds[-1]), _CHUNK), bounds[-1]])
    for first, stop in pairwise(np.unique(full).tolist()):
        rows = slice(int(bounds[first]), int(bounds[stop]))
        yield rows, part.starts[first:stop] - rows.start


def _at(
    weights: Floats, features: NDArray[np.float32], taken: NDArray[np.bool_], starts: Ints
) -> tuple[float, Floats, Floats]:
    """The loss of some cases with its gradient and curvature."""
    bounds = np.append(starts, len(taken))
    case = np.repeat(np.arange(len(starts)), np.diff(bounds))
    x = features.astype(np.float64)
    n_taken = np.sqrt(_n_taken(taken, starts))  # of so many choices a case's weight is
    y = taken / np.maximum(n_taken, 1.0)[case]
    score = x @ weights
    score -= np.maximum.reduceat(score, starts)[case]
    chance = np.exp(score)
    sums = np.add.reduceat(chance, starts)
    chance /= sums[case]
    loss = float(n_taken @ np.log(sums) - y @ score)
    means = np.array([chance[i:j] @ x[i:j] for i, j in pairwise(bounds.tolist())])
    gradient = n_taken @ means - y @ x
    x *= np.sqrt(chance * n_taken[case])[:, None]
    return loss, gradient, x.T @ x - (means * n_taken[:, None]).T @ means


def _n_taken(taken: NDArray[np.bool_], starts: Ints) -> Floats:
    """How many of each case's candidates are taken."""
    if not len(starts):
        return np.empty(0)
    n_taken: Floats = np.add.reduceat(taken, starts, dtype=np.float64)
    return n_taken
