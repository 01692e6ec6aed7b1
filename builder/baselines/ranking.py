"""From scores and counts to ranked lists: the few steps all baselines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builder.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedLists:
    """One ranked list of offers for each owner (a customer, a segment).

    Attributes:
        starts: int64, shape (n_owners + 1,): list i is rows[starts[i]:starts[i + 1]].
        rows: int64: offer rows, each list best first.
    """

    starts: Ints
    rows: Ints

    def of(self, owner: int) -> Ints:
        """The list of an owner; empty when there is nothing about it."""
        return self.rows[self.starts[owner] : self.starts[owner + 1]]


def ranked_lists(owner: Ints, row: Ints, keys: Sequence[Ints], n_owners: int) -> RankedLists:
    """Group offer rows by owner; sort each group by the keys, the first key first, small first."""
    sort = np.lexsort((*reversed(keys), owner))
    starts = np.searchsorted(owner[sort], np.arange(n_owners + 1))
    return RankedLists(starts=starts, rows=row[sort])


def by_popularity(counts: Ints) -> Ints:
    """All offer rows, most frequent first, ties by row."""
    return np.argsort(-counts, kind="stable")


def places(order: Ints) -> Ints:
    """The place of every offer row in an order of all of them; used to break ties."""
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return place


def best_scored(rows: Ints, scores: Floats, place: Ints, n: int) -> Ints:
    """The n rows with the highest positive scores, ties by the smaller place."""
    positive = scores > 0.0
    rows, scores = rows[positive], scores[positive]
    if rows.size > n:
        contenders = scores >= np.partition(scores, rows.size - n)[rows.size - n]
        rows, scores = rows[contenders], scores[contenders]
    return rows[np.lexsort((place[rows], -scores))][:n]


def fill_up(preferred: Ints, popular: Ints, exclude: Ints, k: int) -> Ints:
    """The first k different rows of preferred and then popular that are not excluded."""
    enough = popular[: k + preferred.size + exclude.size]
    rows = np.concatenate([preferred, enough])
    rows = rows[~np.isin(rows, exclude)]
    first = np.sort(np.unique(rows, return_index=True)[1])
    return rows[first[:k]]
