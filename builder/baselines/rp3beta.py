"""RP3β: a random walk from what is known over its owners to offers, popular offers damped.

Bibek Paudel, Fabian Christoffel, Chris Newell, Abraham Bernstein: "Updatable, Accurate, Diverse,
and Scalable Recommendations for Interactive Applications", ACM TiiS 7(1), 2016. The paper walks
user → item → user → item. For the next order that is the walk here, over customers; for a cart the
order plays the user. A walk starts at each known item alike: p(owner | item) = 1 / owners of the
item, p(offer | owner) = 1 / offers of the owner, both to the power α, and an offer's probability is
divided by (its owners) to the power β.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from builder.baselines.bipartite import Bipartite, Known, ones_at, over_customers, over_orders
from builder.baselines.data import Example, History
from builder.baselines.ranking import Entries, entries_of, in_blocks, rank_scored
from builder.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """α = 1, β = 0 is the plain walk; a smaller α flattens it, a larger β favours rare offers."""

    alpha: float = 0.75
    beta: float = 0.2


_MANY = 0.2

GRID = (
    Settings(),
    *(Settings(alpha=a, beta=b) for a in (0.5, 1.0) for b in (0.0, 0.2, 0.5)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rp3Beta:
    """The two steps of the walk.

    Attributes:
        known: the item rows an example starts from.
        to_owners: scipy CSR, shape (n_items, n_owners): p(owner | item)^α.
        to_offers: scipy CSR, shape (n_owners, n_offers): p(offer | owner)^α / owners(offer)^β.
            Columns are places by popularity.
    """

    known: Known
    to_owners: Any
    to_offers: Any
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return rank_scored(self.scores(examples), self.popular, examples, k)

    def scores(self, examples: Sequence[Example]) -> Iterator[Entries]:
        """Of each example how likely walks from what is known end at offers, damped."""
        every = np.arange(self.popular.size)
        nothing = every[:0], np.empty(0)
        for some in in_blocks(examples):
            known = [self.known(example) for example in some]
            arriving = ones_at(known, self.to_owners.shape[0]) @ self.to_owners
            arriving.sort_indices()
            # Where walks reach many owners, passing over all takes less than picking those.
            if arriving.nnz > _MANY * np.prod(arriving.shape):
                for one in arriving.toarray():
                    # Of a stranger nothing is known that a walk could begin from.
                    yield (every, one @ self.to_offers) if one.any() else nothing
            else:
                yield from entries_of(arriving @ self.to_offers)


def fit_customers(history: History, settings: Settings | None = None) -> Rp3Beta:
    """Walks from what a customer bought before, over the customers who bought it too."""
    return _fit(over_customers(history), settings or Settings())


def fit_orders(history: History, settings: Settings | None = None) -> Rp3Beta:
    """Walks from a cart, over the orders its items stood in."""
    return _fit(over_orders(history), settings or Settings())


def _fit(graph: Bipartite, settings: Settings) -> Rp3Beta:
    """Turn the two incidence matrices into damped transition probabilities."""
    from_item = np.asarray(graph.items.sum(axis=1)).ravel()
    from_owner = np.asarray(graph.offers.sum(axis=1)).ravel()
    into_offer = np.asarray(graph.offers.sum(axis=0)).ravel()
    to_offers = _scaled_rows(graph.offers, from_owner, settings.alpha)
    to_offers.data /= into_offer[to_offers.indices] ** settings.beta
    return Rp3Beta(
        known=graph.known,
        to_owners=_scaled_rows(graph.items, from_item, settings.alpha),
        to_offers=to_offers,
        popular=graph.popular,
    )


def _scaled_rows(matrix: Any, degrees: Floats, alpha: float) -> Any:
    """Divide each row of ones by its degree to the power α."""
    scaled = matrix.copy()
    scaled.data /= np.repeat(degrees**alpha, np.diff(matrix.indptr))
    return scaled
