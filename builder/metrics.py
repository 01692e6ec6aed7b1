"""Numbers about ranked lists: how good they are, how sure we are, how honest the probabilities are.

Pure functions over numpy arrays; nothing here knows customers, files or methods.
Which lists are compared with which truth is decided in `comparison`.

Relevance is binary: an offer is in the truth or it is not. A ranked list is a row of offer rows,
best first, padded at its end with -1; an offer named twice counts at its first place only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

PADDING = -1

# Resamples are drawn in blocks, so that memory stays near block * examples * 8 bytes.
_RESAMPLES_PER_BLOCK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Ranked lists after comparing them with their truths.

    Attributes:
        is_hit: bool, shape (n, depth): whether place j of list i holds an offer of truth i.
        n_truth: int64, shape (n,): how many different offers truth i has; at least 1.
    """

    is_hit: Bools
    n_truth: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What share of the offers a method ever shows, and how unevenly.

    Attributes:
        coverage: share of all offers that appear in at least one top k, in [0, 1].
        gini: inequality of how often each offer is shown; 0 = all alike, near 1 = a few get all.
        top1_share: share of the lists whose first place holds the most frequent first offer.
    """

    coverage: float
    gini: float
    top1_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityCurve:
    """Predicted against observed, in bins of about equal mass, by rising probability.

    Attributes:
        mean_probability: mean prediction of each bin, in [0, 1].
        positive_share: share of each bin that came true, in [0, 1].
        n_examples: how many predictions stand behind each bin; at least 1.
    """

    mean_probability: tuple[float, ...]
    positive_share: tuple[float, ...]
    n_examples: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and its 95 % percentile bootstrap interval, bounds included."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicates:
    """Means of several columns over the examples, and over every resample of them.

    Attributes:
        means: float64, shape (m,).
        draws: float64, shape (n_resamples, m). Row b is one resample for all columns alike: this is
            what makes differences and ratios of columns paired.
    """

    means: Floats
    draws: Floats


def judge(ranked: Ints, truth: Sequence[Ints]) -> Judged:
    """Mark the hits of every list.

    Args:
        ranked: int64, shape (n, depth), offer rows, padded with -1.
        truth: n arrays of offer rows; their order and repetitions do not matter.

    Raises:
        ValueError: an example without truth, which no metric is defined for.
    """
    n, depth = ranked.shape
    wanted = np.concatenate([np.empty(0, dtype=np.int64), *truth])
    # One number for an example and an offer; the least offer is the padding.
    span = max(wanted.max(initial=0), ranked.max(initial=0)) - PADDING + 1
    first_key = np.arange(n) * span - PADDING
    different = np.unique(np.repeat(first_key, [offers.size for offers in truth]) + wanted)
    n_truth = np.bincount(different // span, minlength=n)
    if not n_truth.all():
        place = int(n_truth.argmin())
        raise ValueError(f"example {place} has no truth; leave it out of the measurement")
    is_hit = np.isin(first_key[:, None] + ranked, different) & (ranked != PADDING)
    for place in range(1, depth):
        is_hit[:, place] &= (ranked[:, :place] != ranked[:, place : place + 1]).all(axis=1)
    return Judged(is_hit=is_hit, n_truth=n_truth)


def recall(judged: Judged, k: int) -> Floats:
    """Share of the truth found in the first k places.

    The divisor is the whole truth, not the smaller of k and the truth.

    >>> recall(judge(np.array([[7, 8]]), [np.array([8, 9])]), k=2)
    array([0.5])
    """
    found: Floats = judged.is_hit[:, :k].sum(axis=1) / judged.n_truth
    return found


def ndcg(judged: Judged, k: int) -> Floats:
    """Normalised discounted cumulative gain of the first k places.

    Gains are binary, place j is discounted by 1 / log2(1 + j). The ideal is cut at k: a list of
    k hits scores 1 even when the truth is longer.
    """
    discounts: Floats = 1.0 / np.log2(np.arange(2, k + 2))
    ideal: Floats = np.cumsum(discounts)[np.minimum(judged.n_truth, k) - 1]
    gained: Floats = judged.is_hit[:, :k] @ discounts[: judged.is_hit.shape[1]]
    return gained / ideal


def hit(judged: Judged, k: int) -> Floats:
    """1.0 where any of the first k places is in the truth, else 0.0."""
    return np.asarray(judged.is_hit[:, :k].any(axis=1), dtype=np.float64)


def taken_value(judged: Judged, ranked: Ints, values: Floats | None, k: int) -> Floats:
    """What the offers of the first k places that are in the truth are worth together.

    Args:
        judged: what `judge` found of `ranked`.
        ranked: int64, shape (n, depth), offer rows, padded with -1.
        values: worth of each offer row; None counts each offer as one.
        k: places that count.
    """
    worth = 1.0 if values is None else values[ranked]
    taken: Floats = np.where(judged.is_hit, worth, 0.0)[:, :k].sum(axis=1)
    return taken


def mean_first_hit(judged: Judged) -> float | None:
    """Mean place (from 1) of the first hit, over the lists that have one; None when none has."""
    with_hit = judged.is_hit[judged.is_hit.any(axis=1)]
    return float(with_hit.argmax(axis=1).mean() + 1.0) if len(with_hit) else None


def exposure(ranked: Ints, n_offers: int, k: int) -> Exposure:
    """Coverage and concentration of the first k places; all zero when nothing is shown."""
    shown = ranked[:, :k]
    times = np.sort(np.bincount(shown[shown != PADDING], minlength=n_offers))
    first = shown[:, 0][shown[:, 0] != PADDING] if shown.size else shown.ravel()
    return Exposure(
        coverage=float(np.count_nonzero(times) / n_offers) if n_offers else 0.0,
        gini=_gini(times),
        top1_share=float(np.bincount(first).max() / len(ranked)) if first.size else 0.0,
    )


def _gini(rising: Ints) -> float:
    """Gini coefficient of counts sorted upwards."""
    total = rising.sum()
    if total == 0:
        return 0.0
    places = np.arange(1, rising.size + 1)
    return float(2.0 * (places @ rising) / (rising.size * total) - (rising.size + 1) / rising.size)


def brier(probability: Floats, outcome: Bools) -> float:
    """Mean squared distance of a probability from what happened; 0 is perfect, lower is better."""
    return float(np.mean((probability - outcome) ** 2))


def reliability(probability: Floats, outcome: Bools, n_bins: int = 10) -> ReliabilityCurve:
    """Reliability curve over bins of about equal mass.

    Equal probabilities always share a bin, so the curve does not depend on the order of the input;
    with many ties there are fewer than n_bins bins.
    """
    rising = np.sort(probability)
    rank_below = np.searchsorted(rising, probability, side="left")
    bins = rank_below * n_bins // max(probability.size, 1)
    counts = np.bincount(bins, minlength=n_bins)
    filled = counts > 0
    predicted = np.bincount(bins, weights=probability, minlength=n_bins)[filled] / counts[filled]
    observed = np.bincount(bins, weights=outcome, minlength=n_bins)[filled] / counts[filled]
    return ReliabilityCurve(
        mean_probability=tuple(predicted.tolist()),
        positive_share=tuple(observed.tolist()),
        n_examples=tuple(counts[filled].tolist()),
    )


def bootstrap(values: Floats, customers: Ints, seed: int, n_resamples: int = 1000) -> Replicates:
    """Resample customers with replacement and average every column each time.

    Whole customers are drawn because the examples of one customer resemble each other; drawing
    examples one by one would make the intervals too narrow.

    Args:
        values: float64, shape (n, m), n at least 1: a row an example, a column a method's metric.
        customers: int64, shape (n,): whose example a row is; equal means same customer.
        seed: equal seeds draw equal resamples.
        n_resamples: how many; 1000 place the ends of a 95 % interval well enough.
    """
    members, owner = np.unique(customers, return_inverse=True)
    totals = np.zeros((members.size, values.shape[1] + 1))
    np.add.at(totals, owner, np.column_stack([values, np.ones(len(values))]))
    rng = np.random.default_rng(seed)
    summed = np.concatenate([w @ totals for w in _resamples(rng, members.size, n_resamples)])
    return Replicates(means=values.mean(axis=0), draws=summed[:, :-1] / summed[:, -1:])


def _resamples(rng: np.random.Generator, n: int, n_resamples: int) -> Iterator[Floats]:
    """Blocks of resamples as how often each of n members was drawn, shape (block, n)."""
    for start in range(0, n_resamples, _RESAMPLES_PER_BLOCK):
        block = min(_RESAMPLES_PER_BLOCK, n_resamples - start)
        drawn = rng.integers(n, size=(block, n)) + np.arange(block)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=block * n).reshape(block, n).astype(np.float64)


def mean_interval(replicates: Replicates, column: int) -> Interval:
    """The mean of a column."""
    return _interval(float(replicates.means[column]), replicates.draws[:, column])


def difference_interval(replicates: Replicates, column: int, base: int) -> Interval:
    """Mean of a column minus the mean of the base column, paired."""
    means, draws = replicates.means, replicates.draws
    return _interval(float(means[column] - means[base]), draws[:, column] - draws[:, base])


def ratio_interval(replicates: Replicates, column: int, base: int) -> Interval | None:
    """Mean of a column over the mean of the base column, paired.

    Returns:
        None when the base is zero in any resample: there are too few hits to speak of a ratio.
    """
    means, draws = replicates.means, replicates.draws
    if means[base] == 0.0 or not draws[:, base].all():
        return None
    return _interval(float(means[column] / means[base]), draws[:, column] / draws[:, base])


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))
