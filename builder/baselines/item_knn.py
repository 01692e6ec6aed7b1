"""Cart item-kNN: offers most often bought together with what is in the cart.

Similarity of item p and offer o is the shrunken cosine over orders,
c(p, o) / (√(c(p) c(o)) + shrinkage), after Badrul Sarwar, George Karypis, Joseph Konstan, John
Riedl: "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001. An offer's score is
the sum over the items of the cart among whose nearest it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from builder.baselines.bipartite import over_orders
from builder.baselines.data import Example, History
from builder.baselines.ranking import best_scored, by_popularity, fill_up, places
from builder.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How far an item's neighbourhood reaches, and how much a rarely seen pair is held back."""

    n_neighbours: int = 200
    shrinkage: float = 50.0


# How much shrinkage a shop wants depends on its size: orders of magnitude are enough.
GRID = tuple(Settings(shrinkage=shrinkage) for shrinkage in (50.0, 10.0, 200.0, 1000.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKnn:
    """Who bought what together; rows of the similarity are made when a cart needs them.

    Attributes:
        items: scipy CSR, shape (n_items, n_orders), 1 where an item stands in an order.
        orders: scipy CSR, shape (n_orders, n_offers), 1 where an offer stands in an order.
        item_orders: float64, shape (n_items,): orders of each item.
        offer_orders: float64, shape (n_offers,): orders of each offer.
        near: rows already made, since carts share popular items.
    """

    settings: Settings
    items: Any
    orders: Any
    item_orders: Floats
    offer_orders: Floats
    popular: Ints
    place: Ints
    near: dict[int, tuple[Ints, Floats]] = field(default_factory=dict)

    def rank(self, example: Example, k: int) -> Ints:
        scores = np.zeros(self.popular.size)
        for item in example.cart.tolist():
            rows, similarities = self.nearest(item)
            scores[rows] += similarities
        best = best_scored(scores, self.place, k + example.exclude.size)
        return fill_up(best, self.popular, example.exclude, k)

    def nearest(self, item: int) -> tuple[Ints, Floats]:
        """The offers nearest to an item and their similarities, falling."""
        if item not in self.near:
            together = self.items[item] @ self.orders
            rows = together.indices.astype(np.int64)
            norm = np.sqrt(self.item_orders[item] * self.offer_orders[rows])
            similarity = together.data / (norm + self.settings.shrinkage)
            best = best_scored(similarity, self.place[rows], self.settings.n_neighbours)
            self.near[item] = rows[best], similarity[best]
        return self.near[item]


def fit(history: History, settings: Settings | None = None) -> ItemKnn:
    """Lay out which items and offers stand in which orders."""
    popular = by_popularity(history.popularity)
    graph = over_orders(history)
    return ItemKnn(
        settings=settings or Settings(),
        items=graph.items,
        orders=graph.offers,
        item_orders=np.asarray(graph.items.sum(axis=1)).ravel(),
        offer_orders=np.asarray(graph.offers.sum(axis=0)).ravel(),
        popular=popular,
        place=places(popular),
    )
