"""EASE: each offer predicted from all others by ridge regression, in closed form.

Harald Steck: "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. With X the owners ×
offers matrix of ones, G = XᵀX + λI and P = G⁻¹, the weights are B = I − P · diag(1 / diag P): a
column holds the regression of one offer on the rest, its diagonal is zero. An offer's score is the
sum of its weights from the offers known.

The matrix is square in the number of offers, so only the most bought take part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from builder.baselines.bipartite import (
    Bipartite,
    Known,
    offers_of_items,
    ones_at,
    over_customers,
    over_orders,
)
from builder.baselines.data import Example, History
from builder.baselines.ranking import Entries, in_blocks, rank_scored
from builder.metrics import Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much the regression is held back (λ), and how many offers take part.

    4,000 offers take 64 MB and a second; memory grows with their square, time with their cube.
    """

    ridge: float = 300.0
    n_offers: int = 4000


# The λ a shop wants grows with its orders: powers of ten are enough.
GRID = tuple(Settings(ridge=ridge) for ridge in (300.0, 30.0, 3000.0, 30_000.0))


def smaller(settings: Settings) -> Settings:
    """The same λ with fewer offers: which one suits a shop best hardly depends on how many."""
    return replace(settings, n_offers=min(settings.n_offers, 1500))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ease:
    """The learned weights.

    Attributes:
        known: the item rows an example starts from.
        columns: scipy CSR, shape (n_items, m): which of the m offers taking part, the most popular,
            an item is in.
        weights: float32, shape (m, m): B, from offer (row) to offer (column).
    """

    known: Known
    columns: Any
    weights: NDArray[np.float32]
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return rank_scored(self.scores(examples), self.popular, examples, k)

    def scores(self, examples: Sequence[Example]) -> Iterator[Entries]:
        """Of each example sums of the weights from what is known."""
        every = np.arange(self.weights.shape[0])
        for some in in_blocks(examples):
            known = [self.known(example) for example in some]
            start = (ones_at(known, self.columns.shape[0]) @ self.columns).astype(np.float32)
            start.data[:] = 1.0  # an offer counts once, however many of its items are known
            start.sort_indices()
            yield from ((every, one) for one in (start @ self.weights).astype(np.float64))


def fit_customers(history: History, settings: Settings | None = None) -> Ease:
    """What goes with all a customer bought before."""
    return _fit(history, over_customers(history), settings or Settings())


def fit_orders(history: History, settings: Settings | None = None) -> Ease:
    """What goes with a cart."""
    return _fit(history, over_orders(history), settings or Settings())


def _fit(history: History, graph: Bipartite, settings: Settings) -> Ease:
    m = min(settings.n_offers, np.count_nonzero(history.popularity))
    return Ease(
        known=graph.known,
        columns=offers_of_items(history)[:, :m],
        weights=_weights(graph.offers[:, :m], settings.ridge),
        popular=graph.popular,
    )


def _weights(ones: Any, ridge: float) -> NDArray[np.float32]:
    """B. In float32 counts are exact below 2²⁴, and rounding stays far below λ."""
    ones = ones.astype(np.float32)
    gram = (ones.T @ ones).toarray()
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] += ridge
    inverse = linalg.inv(gram, assume_a="pos", overwrite_a=True, check_finite=False)
    weights: NDArray[np.float32] = np.ascontiguousarray(inverse)  # rows are what is asked for
    weights /= -weights[diagonal]
    weights[diagonal] = 0.0
    return weights
