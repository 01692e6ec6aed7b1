"""Ours beside the baselines: one question, one slice of customers, one truth for all methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from builder import metrics
from builder.metrics import Exposure, Floats, Interval, Ints, Replicates
from index.wording import many

OURS = "almanac"
DEFAULT = "default"
SEGMENT = "segment"

QUESTION_TITLES: Final[Mapping[str, str]] = {
    "next_order": "Next order",
    "post_purchase": "Post-purchase",
}

SLICE_TITLES: Final[Mapping[str, str]] = {
    "warm": "Warm customers",
    "thin": "Thin customers",
    "cold_with_cart": "Cold, with a cart",
    "cold_without_cart": "Cold, without a cart",
}


def asked_of(n_examples: int, n_customers: int) -> str:
    """How much stands behind the figures of a slice.

    >>> asked_of(1200, 1)
    '1,200 examples of 1 customer'
    """
    return f"{many(n_examples, 'example')} of {many(n_customers, 'customer')}"


_METRICS = (metrics.recall, metrics.ndcg, metrics.hit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A metric's mean over the examples, alone and against `default`.

    Attributes:
        mean: the mean.
        ratio: mean divided by that of `default`; None for `default` itself, when `default` was not
            run, and when it has too few hits to divide by.
        difference: mean minus that of `default`, paired by example; None for `default` itself and
            when it was not run.
    """

    mean: Interval
    ratio: Interval | None
    difference: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """How one method did on one slice."""

    method: str
    recall: Score
    ndcg: Score
    hit: Score
    mean_first_hit: float | None
    exposure: Exposure


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """All methods on one question and slice, on the same examples.

    Attributes:
        question: what was asked, a key of `QUESTION_TITLES`.
        slice_name: of whom, a key of `SLICE_TITLES`.
        k: how many offers were ranked.
        n_examples: questions asked; 0 means the slice was not measured.
        n_customers: different customers among them (guests count one per order).
        methods: in printing order; empty when the slice was not measured.
    """

    question: str
    slice_name: str
    k: int
    n_examples: int
    n_customers: int
    methods: tuple[MethodResult, ...]

    def of(self, method: str) -> MethodResult | None:
        """The result of a method, if it was run on this slice."""
        return next((result for result in self.methods if result.method == method), None)


def title(key: str, titles: Mapping[str, str]) -> str:
    """A printable name; a key nobody named reads as itself.

    >>> title("warm", SLICE_TITLES), title("last_minute", SLICE_TITLES)
    ('Warm customers', 'Last minute')
    """
    return titles.get(key) or key.replace("_", " ").capitalize()


def place_title(question: str, slice_name: str) -> str:
    """Where a figure is from, in a phrase.

    >>> place_title("next_order", "warm")
    'Next order, warm customers'
    """
    return f"{title(question, QUESTION_TITLES)}, {title(slice_name, SLICE_TITLES).lower()}"


def compare(
    *,
    question: str,
    slice_name: str,
    ranked: Mapping[str, Ints],
    truth: Sequence[Ints],
    customers: Ints,
    n_offers: int,
    k: int,
    seed: int,
) -> SliceResult:
    """Measure every method on the same examples and resample them all alike.

    Args:
        question: what was asked.
        slice_name: of whom.
        ranked: by method, int64, shape (n, at least k), offer rows, padded with -1.
        truth: n arrays of offer rows, none of them empty.
        customers: int64, shape (n,): whose example it is; whole customers are resampled.
        n_offers: how many candidates there were.
        k: places that count.
        seed: equal seeds draw equal resamples.
    """
    methods = list(ranked)
    results: tuple[MethodResult, ...] = ()
    if len(truth) > 0:
        judged = {method: metrics.judge(rows, truth) for method, rows in ranked.items()}
        columns = [metric(judged[method], k) for method in methods for metric in _METRICS]
        replicates = metrics.bootstrap(np.column_stack(columns), customers, seed)
        results = tuple(
            MethodResult(
                method=method,
                recall=_score(replicates, methods, method, metrics.recall),
                ndcg=_score(replicates, methods, method, metrics.ndcg),
                hit=_score(replicates, methods, method, metrics.hit),
                mean_first_hit=metrics.mean_first_hit(judged[method]),
                exposure=metrics.exposure(ranked[method], n_offers, k),
            )
            for method in methods
        )
    return SliceResult(
        question=question,
        slice_name=slice_name,
        k=k,
        n_examples=len(truth),
        n_customers=np.unique(customers).size,
        methods=results,
    )


def _score(
    replicates: Replicates, methods: Sequence[str], method: str, metric: Callable[..., Floats]
) -> Score:
    """A method's score; its column stands where `compare` put it: by method, then metric."""
    place = _METRICS.index(metric)
    column = methods.index(method) * len(_METRICS) + place
    mean = metrics.mean_interval(replicates, column)
    if method == DEFAULT or DEFAULT not in methods:
        return Score(mean=mean, ratio=None, difference=None)
    base = methods.index(DEFAULT) * len(_METRICS) + place
    return Score(
        mean=mean,
        ratio=metrics.ratio_interval(replicates, column, base),
        difference=metrics.difference_interval(replicates, column, base),
    )
