"""Which offers may be scored for a customer: own ones, likely ones, popular ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.histories import Histories, Ints

_FOLDS: Final = 8
_LEAST: Final = np.finfo(np.float32).tiny


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
        sources: float32, shape (n_customers, n offers in reach): what speaks for offers; changed
            while this runs, and the same again afterwards.
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
    owned = (owner[is_reached], column[is_reached])
    for scores in sources:
        said_of_own = scores[owned]
        scores[owned] = 0.0
        rows, columns = best_columns(scores, new_per_source)
        scores[owned] = said_of_own
        found.append(rows * n_offers + reach[columns])
    keys = distinct(np.concatenate(found))
    return Candidates(
        starts=np.searchsorted(keys // n_offers, np.arange(n + 1)),
        offer=keys % n_offers,
        entry=find(own, keys),
    )


def joined_candidates(parts: Sequence[Candidates], first_entries: Ints) -> Candidates:
    """Candidates of parts of some histories as those of the whole.

    Args:
        parts: of customers in their order, at least one.
        first_entries: the first entry of each part, in the whole.
    """
    first = np.cumsum([0, *(len(part.offer) for part in parts)])
    starts = [part.starts[1:] + n for part, n in zip(parts, first[:-1], strict=True)]
    entries = [
        np.where(part.entry < 0, -1, part.entry + n)
        for part, n in zip(parts, first_entries, strict=True)
    ]
    return Candidates(
        starts=np.concatenate([first[:1], *starts]),
        offer=np.concatenate([part.offer for part in parts]),
        entry=np.concatenate(entries),
    )


def best_columns(scores: NDArray[np.float32], top: int) -> tuple[Ints, Ints]:
    """Rows, rising, and columns of each row's highest positive scores, falling; ties to the first.

    >>> best_columns(np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 3.0]], dtype=np.float32), 1)
    (array([0, 1]), array([1, 0]))
    """
    least = np.maximum(_least_of_best(scores, top), _LEAST)
    rows, columns = np.divmod(np.flatnonzero(scores >= least[:, None]), max(scores.shape[1], 1))
    order = np.lexsort((columns, -scores[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return rows[rank < top], columns[rank < top]


def _least_of_best(scores: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """What the `top` highest scores of each row are not below; few others are above.

    Columns are folded upon each other, and of these maxima the `top` highest are scores that high.
    Many times faster than to bring all columns into order.
    """
    width = _FOLDS * top
    if scores.shape[1] < 2 * width:
        return np.zeros(len(scores), dtype=np.float32)
    highest = scores[:, :width].copy()
    for first in range(width, scores.shape[1] - width + 1, width):
        np.maximum(highest, scores[:, first : first + width], out=highest)
    least: NDArray[np.float32] = np.partition(highest, width - top, axis=1)[:, width - top]
    return least


def distinct(keys: Ints) -> Ints:
    """Each key once, rising.

    >>> distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    # Of many keys `np.unique` makes a table first, which takes many times as long as sorting them.
    rising = np.sort(keys)
    is_first: NDArray[np.bool_] = np.diff(rising, prepend=rising[:1] - 1) != 0
    return rising[is_first]


def find(known: Ints, keys: Ints) -> Ints:
    """Place of each key among known ones (rising), -1 where it is not."""
    if not len(known):
        return np.full(len(keys), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, place, -1)
