"""V-SKNN: what stood in recent orders like this cart, the cart's last items counting most.

Malte Ludewig, Dietmar Jannach: "Evaluation of session-based recommendation algorithms", User
Modeling and User-Adapted Interaction 28, 2018. A session is an order here. Of the orders that share
an item with the cart the most recent are sampled; their similarity is the sum of the weights of the
shared items, which fall from the cart's last item to its first; an offer's score is the sum of the
similarities of the nearest orders that hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from builder.baselines.bipartite import over_orders
from builder.baselines.data import Example, History
from builder.baselines.ranking import best_scored, by_popularity, fill_up, places
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
        items: scipy CSR, shape (n_items, n_orders), the orders of each item, newest first.
        offers: scipy CSR, shape (n_orders, n_offers), 1 where an offer stands in an order.
    """

    settings: Settings
    items: Any
    offers: Any
    popular: Ints
    place: Ints

    def rank(self, example: Example, k: int) -> Ints:
        scores = self.scores(example.cart)
        best = best_scored(scores, self.place, k + example.exclude.size)
        return fill_up(best, self.popular, example.exclude, k)

    def scores(self, cart: Ints) -> Floats:
        """Similarity of the neighbours that hold each offer, float64, shape (n_offers,)."""
        orders, similarity = self._sample(cart)
        # Orders come newest first, and of equally near ones the newest stay in front.
        near = np.argsort(-similarity, kind="stable")[: self.settings.n_neighbours]
        scores: Floats = self.offers[orders[near]].T @ similarity[near]
        return scores

    def _sample(self, cart: Ints) -> tuple[Ints, Floats]:
        """The newest orders that share an item with the cart, newest first, and how near each is.

        An order among the newest of all is among the newest of each of its items.
        """
        size = self.settings.sample_size
        weights = item_weights(cart.size, self.settings.weighting)
        starts, ends = self.items.indptr[cart], self.items.indptr[cart + 1]
        ends = np.minimum(ends, starts + size)
        found = [self.items.indices[a:b] for a, b in zip(starts, ends, strict=True)]
        orders, which = np.unique(np.concatenate([cart[:0], *found]), return_inverse=True)
        similarity = np.zeros(orders.size)
        np.add.at(similarity, which, np.repeat(weights, ends - starts))
        return orders[:size], similarity[:size]


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
    popular = by_popularity(history.popularity)
    return VSknn(
        settings=settings or Settings(),
        items=items,
        offers=graph.offers[newest],
        popular=popular,
        place=places(popular),
    )
