"""The estimators: what another policy would have earned for each decision, with intervals.

All but one are means of base + weight * residual, and differ in what stands for the three:

    ips          0          weight                 reward
    clipped_ips  0          weight, clipped        reward
    snips        0          weight / mean weight   reward
    dm           q_policy   0                      reward - q_logged
    dr           q_policy   weight                 reward - q_logged
    switch_dr    q_policy   weight, or 0 if large  reward - q_logged

Sources: Horvitz, Thompson (1952) for ips; Bottou et al. (2013), *Counterfactual reasoning and
learning systems*, for clipping; Swaminathan, Joachims (2015), *The self-normalized estimator for
counterfactual learning*, for snips; Dudík, Erhan, Langford, Li (2014), *Doubly robust policy
evaluation and optimization*, for dm and dr; Wang, Agarwal, Dudík (2017), *Optimal and adaptive
off-policy evaluation in contextual bandits*, for switch_dr.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from builder.estimators.decisions import LoggedDecisions
from builder.estimators.overlap import effective_n, overlap
from builder.estimators.tuning import candidates, clip, cut_at, errors, switch, variances
from builder.metrics import (
    Floats,
    Interval,
    Replicates,
    bootstrap,
    difference_interval,
    mean_interval,
)

Estimator: TypeAlias = Literal["ips", "clipped_ips", "snips", "dm", "dr", "switch_dr"]

ESTIMATOR_TITLES: Final[Mapping[Estimator, str]] = {
    "ips": "Inverse propensity",
    "clipped_ips": "Inverse propensity, clipped",
    "snips": "Inverse propensity, self-normalised",
    "dm": "Model of the reward",
    "dr": "Doubly robust",
    "switch_dr": "Doubly robust, switching",
}

_TUNED: Final = ("clipped_ips", "switch_dr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the evaluated policy would have earned, by one estimator.

    Attributes:
        estimator: which one.
        reward: mean reward of a decision; None when the log, or a resample of its customers, holds
            nothing the policy would do, and the estimator knows nothing else.
        difference: the same less what the log itself earned, paired; None when reward is.
        effective_n: how many decisions of equal weight would say as much, after cutting; None for
            `dm`, which weighs nothing.
        threshold: where weights were cut, chosen from the log; None where they are not.
        warnings: why not to believe it, a sentence each.
    """

    estimator: Estimator
    reward: Interval | None
    difference: Interval | None
    effective_n: float | None
    threshold: float | None
    warnings: tuple[str, ...]


def estimate(
    log: LoggedDecisions,
    *,
    seed: int = 1,
    n_resamples: int = 1000,
    thresholds: Floats | None = None,
) -> tuple[Estimate, ...]:
    """All estimates the log allows, in the order of the module docstring.

    Those that need a model of the reward are left out when the log has none. Intervals are 95 %
    percentile bootstrap intervals over customers. In each resample weights are cut anew, where that
    resample says, so that intervals are as wide as the choice is doubtful; the model of the reward
    is taken as given.

    Args:
        log: the decisions, and what the evaluated policy thinks of them.
        seed: equal seeds draw equal resamples.
        n_resamples: how many.
        thresholds: float64, shape (m,), m at least 1: where to try cutting weights;
            `tuning.candidates` when None.
    """
    tried = candidates(log.weights) if thresholds is None else thresholds
    means = _Means(log, tried, seed, n_resamples)
    found = [*_by_weights(log, means), *_by_model(log, means)]
    replicates = means.replicates([each.means for each in found])
    doubts = overlap(log)
    return tuple(
        Estimate(
            estimator=each.estimator,
            reward=mean_interval(replicates, column) if each.is_known else None,
            difference=difference_interval(replicates, column, 0) if each.is_known else None,
            effective_n=None if each.used is None else effective_n(each.used),
            threshold=each.threshold,
            warnings=doubts.too_few_customers() if each.used is None else doubts.warnings(),
        )
        for column, each in enumerate(found, start=1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What an estimator says.

    Attributes:
        estimator: which one.
        means: float64, shape (1 + n_resamples,): of the log, then of each resample.
        used: float64, shape (n,), the weights it used; None when none.
        threshold: where they were cut, if they were.
        is_known: whether the log and every resample said anything about the policy.
    """

    estimator: Estimator
    means: Floats
    used: Floats | None
    threshold: float | None = None
    is_known: bool = True


def _by_weights(log: LoggedDecisions, means: _Means) -> Iterator[_Found]:
    weights = log.weights
    plain, weight = means.of("ips"), means.of("weight")
    clipped, threshold = means.tuned("clipped_ips", plain)
    is_known = bool(weight.all())
    yield _Found(estimator="ips", means=plain, used=weights, is_known=is_known)
    yield _Found(
        estimator="clipped_ips",
        means=clipped,
        used=clip(weights, threshold),
        threshold=threshold,
        is_known=is_known,
    )
    ratio = plain / np.where(weight > 0.0, weight, 1.0)
    yield _Found(estimator="snips", means=ratio, used=weights, is_known=is_known)


def _by_model(log: LoggedDecisions, means: _Means) -> Iterator[_Found]:
    if log.q_logged is None:
        return
    weights, robust = log.weights, means.of("dr")
    switched, threshold = means.tuned("switch_dr", robust)
    yield _Found(estimator="dm", means=means.of("dm"), used=None)
    yield _Found(estimator="dr", means=robust, used=weights)
    yield _Found(
        estimator="switch_dr",
        means=switched,
        used=switch(weights, threshold),
        threshold=threshold,
    )


class _Means:
    """Means of everything that is averaged: over the log, and over resamples alike for all."""

    def __init__(self, log: LoggedDecisions, tried: Floats, seed: int, n_resamples: int) -> None:
        terms = _terms(log, tried)
        drawn = bootstrap(np.column_stack(list(terms.values())), log.customers, seed, n_resamples)
        ends = np.cumsum([columns.shape[1] for columns in terms.values()])
        parts = np.split(np.vstack([drawn.means, drawn.draws]), ends[:-1], axis=1)
        self._means = dict(zip(terms, parts, strict=True))
        self._variances = {
            name: variances(log, columns) for name, columns in terms.items() if name in _TUNED
        }
        self._tried = tried

    def of(self, name: str) -> Floats:
        """Shape (1 + n_resamples,)."""
        return self._means[name][:, 0]

    def tuned(self, name: Estimator, uncut: Floats) -> tuple[Floats, float]:
        """The same at the best threshold of the log and of each resample; and that of the log."""
        cut = self._means[name]
        best = errors(uncut, cut, self._variances[name]).argmin(axis=1)
        return cut[np.arange(len(cut)), best], float(self._tried[best[0]])

    def replicates(self, columns: Sequence[Floats]) -> Replicates:
        """What the log earned, then these."""
        table = np.column_stack([self.of("logged"), *columns])
        return Replicates(means=table[0], draws=table[1:])


def _terms(log: LoggedDecisions, tried: Floats) -> dict[str, Floats]:
    """What is averaged, float64 (n, 1), or (n, m) with a column for each threshold."""
    weights = log.weights
    terms = {
        "logged": log.reward[:, None],
        "weight": weights[:, None],
        "ips": (weights * log.reward)[:, None],
        "clipped_ips": cut_at(tried, clip, weights) * log.reward[:, None],
    }
    if log.q_logged is not None and log.q_policy is not None:
        residual, base = log.reward - log.q_logged, log.q_policy[:, None]
        terms |= {
            "dm": base,
            "dr": base + (weights * residual)[:, None],
            "switch_dr": base + cut_at(tried, switch, weights) * residual[:, None],
        }
    return terms
