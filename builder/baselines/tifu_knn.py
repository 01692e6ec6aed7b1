"""TIFU-KNN: decayed personal frequency mixed with that of the nearest customers.

Haoji Hu, Xiangnan He, Jinyang Gao, Zhi-Li Zhang: "Modeling Personalized Item Frequency Information
for Next-basket Recommendation", SIGIR 2020, section 4. A customer's orders are cut into groups of
about equal size, the later ones never smaller. Orders decay inside their group, groups decay
towards the past, and the prediction is α · own vector + (1 - α) · mean of the nearest vectors by
Euclidean distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from builder.baselines.data import Example, History, distinct_pairs
from builder.baselines.ranking import best_scored, by_popularity, fill_up, places
from builder.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The paper's numbers; the defaults are those of its published code."""

    n_groups: int = 7
    within_decay: float = 0.9
    group_decay: float = 0.7
    n_neighbours: int = 300
    own_share: float = 0.7


GRID = (
    Settings(),
    Settings(own_share=0.3),
    Settings(own_share=0.5),
    Settings(own_share=0.9),
    Settings(within_decay=1.0, group_decay=0.9),
    Settings(n_groups=20, group_decay=0.9, own_share=0.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TifuKnn:
    """Every customer's vector; neighbours are searched when a customer is asked about.

    Attributes:
        vectors: scipy CSR float64, shape (n_customers, n_offers).
        holders: scipy CSR float64, shape (n_offers, n_customers), the same by offer: few customers
            share an offer with one, and only these are multiplied.
        lengths: float64, shape (n_customers,): squared norms, inf for customers without orders.
    """

    settings: Settings
    vectors: Any
    holders: Any
    lengths: Floats
    popular: Ints
    place: Ints

    def rank(self, example: Example, k: int) -> Ints:
        if example.customer < 0 or np.isinf(self.lengths[example.customer]):
            return fill_up(self.popular[:0], self.popular, example.exclude, k)
        scores = self.scores(example.customer)
        best = best_scored(scores, self.place, k + example.exclude.size)
        return fill_up(best, self.popular, example.exclude, k)

    def scores(self, customer: int) -> Floats:
        """Equation 6: own and neighbours' frequencies, float64, shape (n_offers,)."""
        n_offers = self.popular.size
        own = self.vectors[customer]
        near = self.vectors[self._neighbours(customer, own)]
        around = np.bincount(near.indices, near.data, minlength=n_offers)
        share = self.settings.own_share
        scores: Floats = around * ((1.0 - share) / max(near.shape[0], 1))
        scores[own.indices] += share * own.data
        return scores

    def _neighbours(self, customer: int, own: Any) -> Ints:
        """The nearest other customers, ties by index."""
        shared = self.holders[own.indices]
        weights = shared.data * np.repeat(own.data, np.diff(shared.indptr))
        products = np.bincount(shared.indices, weights, minlength=self.lengths.size)
        distances = self.lengths - 2.0 * products
        distances[customer] = np.inf
        near: Ints = np.argsort(distances, kind="stable")[: self.settings.n_neighbours]
        finite: Ints = near[np.isfinite(distances[near])]
        return finite


def fit(history: History, settings: Settings | None = None) -> TifuKnn:
    """Make every customer's decayed frequency vector."""
    settings = settings or Settings()
    customer, order_weight = _weigh_orders(history, settings)
    order, offer = distinct_pairs(history.order, history.offer_row, history.n_offers)
    known = customer[order] >= 0
    order, offer = order[known], offer[known]
    vectors = sparse.csr_matrix(
        (order_weight[order], (customer[order], offer)),
        shape=(history.n_customers, history.n_offers),
    )
    lengths = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    popular = by_popularity(history.popularity)
    return TifuKnn(
        settings=settings,
        vectors=vectors,
        holders=vectors.T.tocsr(),
        lengths=np.where(lengths > 0.0, lengths, np.inf),
        popular=popular,
        place=places(popular),
    )


def _weigh_orders(history: History, settings: Settings) -> tuple[Ints, Floats]:
    """Customer and weight of every order; history rows are sorted by customer and time."""
    first = np.sort(np.unique(history.order, return_index=True)[1])
    order, customer = history.order[first], history.customer[first]
    starts = np.searchsorted(customer, customer)
    n_orders = np.searchsorted(customer, customer, side="right") - starts
    owners = np.empty(history.n_orders, dtype=np.int64)
    weights = np.empty(history.n_orders)
    owners[order] = customer
    weights[order] = order_weights(np.arange(order.size) - starts, n_orders, settings)
    return owners, weights


def order_weights(place: Ints, n_orders: Ints, settings: Settings) -> Floats:
    """Weight of the order at a place (0 = oldest) among a customer's n_orders: equations 1 to 3.

    With fewer orders than groups every order is a group of its own.
    """
    n_groups = np.minimum(n_orders, settings.n_groups)
    size, n_larger = np.divmod(n_orders, n_groups)
    n_in_smaller = (n_groups - n_larger) * size
    is_larger = place >= n_in_smaller
    group_size = size + is_larger
    place = place - np.where(is_larger, n_in_smaller, 0)
    group = place // group_size + np.where(is_larger, n_groups - n_larger, 0)
    within = settings.within_decay ** (group_size - 1 - place % group_size) / group_size
    between = settings.group_decay ** (n_groups - 1 - group) / n_groups
    weights: Floats = within * between
    return weights
