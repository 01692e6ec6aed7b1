"""Which offers may be scored for a customer: own ones, likely ones, popular ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builder.signals.histories import Histories, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Offers that may be scored for customers, by customer, then offer.

    Attributes:
        starts: int64, shape (n_customers + 1,); no customer is without candidates.
        offer: int64, offer row of each candidate.
        entry: int64, its entry in the histories, -1 for an offer the customer never ordered.
    """

    starts: Ints
    offer: Ints
    entry: Ints

    @property
    def customer(self) -> Ints:
        """Customer of each candidate."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def make_candidates(
    histories: Histories,
    sources: Iterable[NDArray[np.float32]],
    reach: Ints,
    popular: Ints,
    *,
    n_offers: int,
    new_per_source: int,
) -> Candidates:
    """A customer's own offers, the best others of each source, and popular ones.

    Args:
        histories: of the customers.
        sources: float32, shape (n_customers, n offers in reach): what speaks for offers.
        reach: int64, rising: offer rows of the sources' columns.
        popular: offer rows that everybody gets.
        n_offers: offers of the shop.
        new_per_source: how many of each source's offers that are not the customer's own.
    """
    n = len(histories)
    customers = np.arange(n)
    owner = np.repeat(customers, np.diff(histories.entry_starts))
    own = owner * n_offers + histories.entry_offer
    column = np.minimum(np.searchsorted(reach, histories.entry_offer), max(len(reach) - 1, 0))
    is_reached = reach[column] == histories.entry_offer if len(reach) else column < 0
    found = [own, (customers[:, None] * n_offers + popular[None, :]).ravel()]
    for source in sources:
        scores = source.copy()
        scores[owner[is_reached], column[is_reached]] = 0.0
        rows, columns = _best(scores, new_per_source)
        found.append(rows * n_offers + reach[columns])
    keys = np.unique(np.concatenate(found))
    return Candidates(
        starts=np.searchsorted(keys // n_offers, np.arange(n + 1)),
        offer=keys % n_offers,
        entry=_find(own, keys),
    )


def _best(scores: NDArray[np.float32], top: int) -> tuple[Ints, Ints]:
    """Rows and columns of the highest positive scores of each row; ties with the last are in."""
    best = scores > 0.0
    if top < scores.shape[1]:
        best &= scores >= np.partition(scores, -top, axis=1)[:, -top, None]
    rows, columns = np.nonzero(best)
    return rows, columns


def _find(known: Ints, keys: Ints) -> Ints:
    """Place of each key among known ones (rising), -1 where it is not."""
    if not len(known):
        return np.full(len(keys), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, place, -1)
