"""V-SKNN: what stood in recent orders like this cart, the cart's last items counting most.

Malte Ludewig, Dietmar Jannach: "Evaluation of session-based recommendation algorithms", User
Modeling and User-Adapted Interaction 28, 2018. A session is an order here. Of the orders that share
an item with the cart the most recent are sampled; their similarity is the sum of the weights of the
shared items, which fall from the cart's last item to its first; an offer's score is the sum of the
similarities of the nearest orders that hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from builder.baselines.bipartite import ones_at, over_orders
from builder.baselines.data import Example, History
from builder.baselines.ranking import Entries, entries_of, in_blocks, rank_scored
from builder.metrics import Floats, Ints

Weighting = Literal["linear", "harmonic", "same"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How many orders are sampled, how many of them are neighbours, and how item weights fall."""

    n_neighbours: int = 500
    sample_size: int = 5000
    weighting: Weighting = "linear"


GRID = (
    Settings(),
    Settings(n_neighbours=100, sample_size=1000),
    Settings(n_neighbours=1500),
    Settings(weighting="harmonic"),
    Settings(weighting="same"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VSknn:
    """All orders, the newest first.

    Attributes:
        items: scipy CSR, shape (n_items, n_orders), 1 where an item stands in an order, only in its
            newest: an order among the newest of all is among the newest of each of its items.
        offers: scipy CSR, shape (n_orders, n_offers), 1 where an offer stands in an order; columns
            are places by popularity.
    """

    settings: Settings
    items: Any
    offers: Any
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return rank_scored(self.scores(examples), self.popular, examples, k)

    def scores(self, examples: Sequence[Example]) -> Iterator[Entries]:
        """Of each example the similarity of the neighbours that hold each offer."""
        for some in in_blocks(examples):
            carts = [example.cart for example in some]
            wanted = ones_at(carts, self.items.shape[0])
            weights = [item_weights(cart.size, self.settings.weighting) for cart in carts]
            wanted.data = np.concatenate(weights)
            similarity = wanted @ self.items
            similarity.sort_indices()
            rows = pairwise(similarity.indptr.tolist())
            found = [self._nearest(similarity, start, stop) for start, stop in rows]
            near = ones_at([similarity.indices[at] for at in found], self.offers.shape[0])
            near.data = similarity.data[np.concatenate(found)]
            yield from entries_of(near @ self.offers)

    def _nearest(self, similarity: Any, start: int, stop: int) -> Ints:
        """Where the nearest of the newest orders stand in a row of similarities."""
        places = np.arange(start, min(stop, start + self.settings.sample_size))
        # Orders come newest first, and of equally near ones the newest stay in front.
        near = np.argsort(-similarity.data[places], kind="stable")
        return places[near[: self.settings.n_neighbours]]


def item_weights(n: int, weighting: Weighting) -> Floats:
    """What each of n items of a cart counts, the first to the last, which always counts 1."""
    from_end = np.arange(n - 1, -1, -1, dtype=np.float64)
    if weighting == "linear":
        return 1.0 - from_end / max(n, 1)
    return 1.0 / (1.0 + from_end) if weighting == "harmonic" else np.ones(n)


def fit(history: History, settings: Settings | None = None) -> VSknn:
    """Put the orders in the order of their time."""
    graph = over_orders(history)
    at_us = np.zeros(history.n_orders, dtype=np.int64)
    np.maximum.at(at_us, history.order, history.ts_us)
    newest = np.argsort(-at_us, kind="stable")
    items = graph.items[:, newest]
    items.sort_indices()
    settings = settings or Settings()
    place = np.arange(items.nnz) - np.repeat(items.indptr[:-1], np.diff(items.indptr))
    items.data[place >= settings.sample_size] = 0.0
    items.eliminate_zeros()
    return VSknn(
        settings=settings,
        items=items,
        offers=graph.offers[newest],
        popular=graph.popular,
    )
