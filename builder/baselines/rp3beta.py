"""RP3β: a random walk from the cart over orders to offers, popular offers damped.

Bibek Paudel, Fabian Christoffel, Chris Newell, Abraham Bernstein: "Updatable, Accurate, Diverse,
and Scalable Recommendations for Interactive Applications", ACM TiiS 7(1), 2016. The paper walks
user → item → user → item; here the order plays the user, and the walk starts at the cart's items,
each alike: p(order | item) = 1 / orders of the item, p(offer | order) = 1 / offers of the order,
both to the power α, and an offer's probability is divided by (its orders) to the power β.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from builder.baselines.bipartite import orders_by_item, orders_by_offer
from builder.baselines.data import Example, History
from builder.baselines.ranking import best_scored, by_popularity, fill_up, places
from builder.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """α = 1, β = 0 is the plain walk; a smaller α flattens it, a larger β favours rare offers."""

    alpha: float = 0.75
    beta: float = 0.2


GRID = (
    Settings(),
    *(Settings(alpha=a, beta=b) for a in (0.5, 1.0) for b in (0.0, 0.2, 0.5)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rp3Beta:
    """The two steps of the walk.

    Attributes:
        to_orders: scipy CSR, shape (n_items, n_orders): p(order | item)^α.
        to_offers: scipy CSR, shape (n_orders, n_offers): p(offer | order)^α / orders(offer)^β.
    """

    to_orders: Any
    to_offers: Any
    popular: Ints
    place: Ints

    def rank(self, example: Example, k: int) -> Ints:
        scores = self.scores(example.cart)
        rows = np.flatnonzero(scores)
        best = best_scored(rows, scores[rows], self.place, k + example.exclude.size)
        return fill_up(best, self.popular, example.exclude, k)

    def scores(self, cart: Ints) -> Floats:
        """How likely a walk ends at each offer, damped: float64, shape (n_offers,)."""
        reached = self.to_orders[cart] @ self.to_offers
        scores: Floats = np.asarray(reached.sum(axis=0)).ravel()
        return scores


def fit(history: History, settings: Settings | None = None) -> Rp3Beta:
    """Turn the two incidence matrices into damped transition probabilities."""
    settings = settings or Settings()
    items, orders = orders_by_item(history), orders_by_offer(history)
    popular = by_popularity(history.popularity)
    from_item = np.asarray(items.sum(axis=1)).ravel()
    from_order = np.asarray(orders.sum(axis=1)).ravel()
    into_offer = np.asarray(orders.sum(axis=0)).ravel()
    to_offers = _scaled_rows(orders, from_order, settings.alpha)
    to_offers.data /= into_offer[to_offers.indices] ** settings.beta
    return Rp3Beta(
        to_orders=_scaled_rows(items, from_item, settings.alpha),
        to_offers=to_offers,
        popular=popular,
        place=places(popular),
    )


def _scaled_rows(matrix: Any, degrees: Floats, alpha: float) -> Any:
    """Divide each row of ones by its degree to the power α."""
    scaled = matrix.copy()
    scaled.data /= np.repeat(degrees**alpha, np.diff(matrix.indptr))
    return scaled
