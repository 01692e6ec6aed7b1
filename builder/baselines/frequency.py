"""Personal frequency: what this customer bought most often, then what everyone buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builder.baselines.data import Example, History
from builder.baselines.ranking import RankedLists, by_popularity, fill_up, places, ranked_lists
from builder.metrics import Ints


@dataclass(frozen=True, slots=True)
class Frequency:
    """Every customer's own offers, sorted."""

    own: RankedLists
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return fill_up(map(self._own, examples), self.popular, examples, k)

    def _own(self, example: Example) -> Ints:
        return self.own.of(example.customer) if example.customer >= 0 else self.popular[:0]


def fit(history: History) -> Frequency:
    """Own offers by number of orders, ties by the later last purchase, then popularity."""
    popular = by_popularity(history.popularity)
    rows = (history.customer >= 0) & (history.offer_row >= 0)
    order, offer = history.order[rows], history.offer_row[rows]
    lines = np.unique(order * history.n_offers + offer, return_index=True)[1]
    customer, offer = history.customer[rows][lines], offer[lines]
    pairs, pair_of = np.unique(customer * history.n_offers + offer, return_inverse=True)
    last_us = np.zeros(pairs.size, dtype=np.int64)
    np.maximum.at(last_us, pair_of, history.ts_us[rows][lines])
    owner, row = np.divmod(pairs, history.n_offers)
    keys = (-np.bincount(pair_of, minlength=pairs.size), -last_us, places(popular)[row])
    return Frequency(ranked_lists(owner, row, keys, history.n_customers), popular)
