"""The rows of the features that a request brings along: fitted together, cut to what matters.

The aspects that earn their place (`earning`) are fitted on all orders (`lifts`). A value's row is
the sum of what its groups say in all aspects of its feature, and it keeps the offers whose place it
moves most: those with the largest share(o) × |exp(lift) - 1|. A popular offer that this context
makes unlikely is as good a reason for a place in the row as one that it makes likely; left out, it
would stay where the prior puts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.context_counts import ContextCounts, FeatureCounts
from builder.signals.earning import Chosen, EarningSettings, choose
from builder.signals.lifts import Blend, Lifts
from builder.signals.moments import Moments

_ROUNDS: Final = 8
_SETTLED: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSettings:
    """What rows cost.

    Attributes:
        earning: which features get rows at all.
        judged_offers: so many of the offers in reach decide which do.
        offers_per_request: entries of all the rows of one request together; each costs every
            decision time. The fewer features, the longer their rows.
        least_offers: a row is not shorter than this.
        most_offers: nor longer than this.
        chunk_bytes: memory for the chances of offers at moments.
    """

    earning: EarningSettings = field(default_factory=EarningSettings)
    judged_offers: int = 300
    offers_per_request: int = 768
    least_offers: int = 64
    most_offers: int = 256
    chunk_bytes: int = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValueRow:
    """One context value's row.

    Attributes:
        name: feature and value.
        n_orders: orders behind it.
        offers: int64, offer rows, different.
        lifts: float, their log-lifts.
        counts: int64, how many of the orders held each.
    """

    name: tuple[str, str]
    n_orders: int
    offers: NDArray[np.int64]
    lifts: NDArray[np.floating[Any]]
    counts: NDArray[np.int64]


def learn_rows(counts: ContextCounts, moments: Moments, settings: RowSettings) -> list[ValueRow]:
    """Rows of all values of the features that earn their place, by feature and value.

    Args:
        counts: of all features.
        moments: their columns are the features of `counts`.
        settings: see there.
    """
    judged = slice(0, settings.judged_offers)
    chosen = choose(
        counts.looks(moments, judged), counts.shares.of(judged), moments, settings.earning
    )
    features = {one.evidence.aspect.feature for one in chosen}
    length = settings.offers_per_request // max(len(features), 1)
    length = min(max(length, settings.least_offers), settings.most_offers)
    lifts = _fit(counts, moments, chosen, settings.chunk_bytes)
    return [
        row
        for feature in counts.features
        if feature.name in features
        for row in _rows_of(feature, lifts[feature.name], counts, length)
    ]


def _fit(
    counts: ContextCounts, moments: Moments, chosen: Sequence[Chosen], chunk_bytes: int
) -> dict[str, Lifts]:
    """Lifts of all values of all chosen features: float32, shape (n_values, n_offers) each."""
    places = {feature.name: place for place, feature in enumerate(counts.features)}
    used = sorted({places[one.evidence.aspect.feature] for one in chosen})
    distinct = moments.distinct(used)
    codes = {counts.features[place].name: distinct.codes[:, i] for i, place in enumerate(used)}
    n_offers = len(counts.offers)
    found = {
        name: np.zeros((len(counts.features[places[name]].values), n_offers), dtype=np.float32)
        for name in codes
    }
    for part in _chunks(n_offers, chunk_bytes // (4 * max(len(distinct), 1))):
        blend = Blend(counts.shares.of(part), distinct)
        evidence = [
            counts.features[places[aspect.feature]].evidence(aspect, codes[aspect.feature], part)
            for aspect in (one.evidence.aspect for one in chosen)
        ]
        for _ in range(_ROUNDS):
            changes = [
                blend.refit(one, known.strength)
                for one, known in zip(evidence, chosen, strict=True)
            ]
            if len(chosen) < 2 or max(changes) < _SETTLED:
                break
        for aspect, lifts in blend.lifts.items():
            found[aspect.feature][:, part] += lifts[aspect.groups]
    return found


def _chunks(n: int, size: int) -> Iterator[slice]:
    size = max(size, 1)
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _rows_of(
    feature: FeatureCounts, lifts: Lifts, counts: ContextCounts, length: int
) -> Iterator[ValueRow]:
    moved = counts.shares.all * np.abs(np.expm1(lifts.astype(np.float64)))
    best = np.argsort(-moved, axis=1, kind="stable")[:, :length]
    held = (feature.held[0] + feature.held[1]).tocsr()
    for place, value in enumerate(feature.values):
        columns = best[place][moved[place, best[place]] > 0.0]
        yield ValueRow(
            name=(feature.name, value),
            n_orders=int(feature.n_orders[:, place].sum()),
            offers=counts.offers[columns],
            lifts=lifts[place, columns],
            counts=held[place, columns].toarray().ravel().astype(np.int64),
        )
