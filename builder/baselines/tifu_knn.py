"""TIFU-KNN: decayed personal frequency mixed with that of the nearest customers.

Haoji Hu, Xiangnan He, Jinyang Gao, Zhi-Li Zhang: "Modeling Personalized Item Frequency Information
for Next-basket Recommendation", SIGIR 2020, section 4. A customer's orders are cut into groups of
about equal size, the later ones never smaller. Orders decay inside their group, groups decay
towards the past, and the prediction is α · own vector + (1 - α) · mean of the nearest vectors by
Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from builder.baselines.bipartite import offer_places, ones_at
from builder.baselines.data import Example, History, distinct_pairs
from builder.baselines.ranking import Entries, by_popularity, entries_of, in_blocks, rank_scored
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
        vectors: scipy CSR float64, shape (n_customers, n_offers); columns are places by popularity.
        holders: scipy CSR float64, shape (n_offers, n_customers), the same by offer: few customers
            share an offer with one, and only these are multiplied.
        lengths: float64, shape (n_customers,): squared norms, inf for customers without orders.
    """

    settings: Settings
    vectors: Any
    holders: Any
    lengths: Floats
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return rank_scored(self.scores(examples), self.popular, examples, k)

    def scores(self, examples: Sequence[Example]) -> Iterator[Entries]:
        """Of each example own and neighbours' frequencies: equation 6."""
        share, n_customers = self.settings.own_share, self.lengths.size
        for some in in_blocks(examples):
            customer = np.array([example.customer for example in some])
            own = ones_at([one[one >= 0] for one in customer[:, None]], n_customers) @ self.vectors
            neighbours = self._neighbours(customer, own)
            around = ones_at(neighbours, n_customers) @ self.vectors
            n_near = np.array([max(near.size, 1) for near in neighbours])
            around.data *= np.repeat((1.0 - share) / n_near, np.diff(around.indptr))
            yield from entries_of(around + share * own)

    def _neighbours(self, customer: Ints, own: Any) -> list[Ints]:
        """The nearest other customers of each, ties by index; none of somebody unknown."""
        distances = self.lengths - 2.0 * (own @ self.holders).toarray()
        known = np.flatnonzero(customer >= 0)
        distances[known, customer[known]] = np.inf
        distances[np.diff(own.indptr) == 0] = np.inf
        near = np.argsort(distances, axis=1, kind="stable")[:, : self.settings.n_neighbours]
        finite = np.isfinite(np.take_along_axis(distances, near, axis=1))
        return [rows[known] for rows, known in zip(near, finite, strict=True)]


def fit(history: History, settings: Settings | None = None) -> TifuKnn:
    """Make every customer's decayed frequency vector."""
    settings = settings or Settings()
    customer, order_weight = _weigh_orders(history, settings)
    order, offer = distinct_pairs(history.order, offer_places(history), history.n_offers)
    known = customer[order] >= 0
    order, offer = order[known], offer[known]
    vectors = sparse.csr_matrix(
        (order_weight[order], (customer[order], offer)),
        shape=(history.n_customers, history.n_offers),
    )
    lengths = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    return TifuKnn(
        settings=settings,
        vectors=vectors,
        holders=vectors.T.tocsr(),
        lengths=np.where(lengths > 0.0, lengths, np.inf),
        popular=by_popularity(history.popularity),
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
