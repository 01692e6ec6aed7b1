"""Cart item-kNN: offers most often bought together with what is in the cart.

Similarity of item p and offer o is the shrunken cosine over orders,
c(p, o) / (√(c(p) c(o)) + shrinkage), after Badrul Sarwar, George Karypis, Joseph Konstan, John
Riedl: "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001. An offer's score is
the sum over the items of the cart among whose nearest it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from builder.baselines.bipartite import ones_at, over_orders
from builder.baselines.data import Example, History
from builder.baselines.ranking import Entries, best_scored, entries_of, rank_scored
from builder.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How far an item's neighbourhood reaches, and how much a rarely seen pair is held back."""

    n_neighbours: int = 200
    shrinkage: float = 50.0


# So many rows of the similarity are made at a time.
_ITEMS = 64

# How much shrinkage a shop wants depends on its size: orders of magnitude are enough.
GRID = tuple(Settings(shrinkage=shrinkage) for shrinkage in (50.0, 10.0, 200.0, 1000.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKnn:
    """Who bought what together; rows of the similarity are made when a cart needs them.

    Attributes:
        items: scipy CSR, shape (n_items, n_orders), 1 where an item stands in an order.
        orders: scipy CSR, shape (n_orders, n_offers), 1 where an offer stands in an order; columns
            are places by popularity.
        item_orders: float64, shape (n_items,): orders of each item.
        offer_orders: float64, shape (n_offers,): orders of each offer, by place.
    """

    settings: Settings
    items: Any
    orders: Any
    item_orders: Floats
    offer_orders: Floats
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return rank_scored(self.scores(examples), self.popular, examples, k)

    def scores(self, examples: Sequence[Example]) -> Iterator[Entries]:
        """Of each example sums of the similarities to what is in the cart."""
        carts = [example.cart for example in examples]
        items = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *carts]))
        cart_places = [np.searchsorted(items, cart) for cart in carts]
        return entries_of(ones_at(cart_places, items.size) @ self.nearest(items))

    def nearest(self, items: Ints) -> Any:
        """Similarities of the offers nearest to each item: scipy CSR, rows falling."""
        near = [
            entries
            for at in range(0, items.size, _ITEMS)
            for entries in self._nearest(items[at : at + _ITEMS])
        ]
        rows = ones_at([columns for columns, _ in near], self.popular.size)
        rows.data = np.concatenate([np.empty(0), *(values for _, values in near)])
        return rows

    def _nearest(self, items: Ints) -> Iterator[Entries]:
        similarity = self.items[items] @ self.orders
        of_item = np.repeat(self.item_orders[items], np.diff(similarity.indptr))
        norm = np.sqrt(of_item * self.offer_orders[similarity.indices])
        similarity.data /= norm + self.settings.shrinkage
        n = self.settings.n_neighbours
        return (best_scored(entries, n) for entries in entries_of(similarity))


def fit(history: History, settings: Settings | None = None) -> ItemKnn:
    """Lay out which items and offers stand in which orders."""
    graph = over_orders(history)
    return ItemKnn(
        settings=settings or Settings(),
        items=graph.items,
        orders=graph.offers,
        item_orders=np.asarray(graph.items.sum(axis=1)).ravel(),
        offer_orders=np.asarray(graph.offers.sum(axis=0)).ravel(),
        popular=graph.popular,
    )
