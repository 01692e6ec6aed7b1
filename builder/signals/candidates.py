"""Which offers may be scored for a customer: their own, their neighbours' and popular ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from builder.signals.histories import Floats, Histories, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Offers that may be scored for customers, by customer, then offer.

    Attributes:
        starts: int64, shape (n_customers + 1,); no customer is without candidates.
        offer: int64, offer row of each candidate.
        entry: int64, its entry in the histories, -1 for an offer the customer never ordered.
        neighbours: float64, mean decayed share of the neighbours' orders, 0 if none had it.
    """

    starts: Ints
    offer: Ints
    entry: Ints
    neighbours: Floats

    @property
    def customer(self) -> Ints:
        """Customer of each candidate."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def make_candidates(
    histories: Histories,
    neighbours: tuple[Ints, Ints, Floats],
    popular: Ints,
    *,
    n_offers: int,
    new_per_customer: int,
) -> Candidates:
    """A customer's own offers, their neighbours' best others, and popular ones.

    Args:
        histories: of the customers.
        neighbours: from `neighbours.Neighbourhood.mixed`.
        popular: offer rows that everybody gets.
        n_offers: offers of the shop.
        new_per_customer: how many of the neighbours' offers.
    """
    n = len(histories)
    starts, offers, values = neighbours
    customers = np.arange(n)
    own = np.repeat(customers, np.diff(histories.entry_starts)) * n_offers + histories.entry_offer
    near = np.repeat(customers, np.diff(starts)) * n_offers + offers
    near_place = _find(near, own)
    unseen = values.copy()
    unseen[near_place[near_place >= 0]] = -1.0
    best = near[_best(unseen, starts, new_per_customer)]
    shared = (customers[:, None] * n_offers + popular[None, :]).ravel()
    keys = np.unique(np.concatenate([own, best, shared]))
    return Candidates(
        starts=np.searchsorted(keys // n_offers, np.arange(n + 1)),
        offer=keys % n_offers,
        entry=_find(own, keys),
        neighbours=_valued(near, values, keys),
    )


def _best(values: Floats, starts: Ints, top: int) -> Ints:
    """Places of the highest values that are not negative, in each range; ties to the first."""
    places = []
    for start, stop in pairwise(starts.tolist()):
        part = values[start:stop]
        least = np.partition(part, -top)[-top] if 0 < top < len(part) else 0.0
        high = np.flatnonzero(part >= max(least, 0.0))
        places.append(start + high[np.argsort(-part[high], kind="stable")[:top]])
    return np.concatenate(places) if places else np.empty(0, dtype=np.int64)


def _find(known: Ints, keys: Ints) -> Ints:
    """Place of each key among known ones (rising), -1 where it is not."""
    if not len(known):
        return np.full(len(keys), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, place, -1)


def _valued(known: Ints, values: Floats, keys: Ints) -> Floats:
    place = _find(known, keys)
    found = place >= 0
    valued = np.zeros(len(keys))
    valued[found] = values[place[found]]
    return valued
