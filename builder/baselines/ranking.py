"""From scores and counts to ranked lists: the few steps all baselines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from builder.metrics import Floats, Ints

# Sorting all the scores of a large shop takes longer than making them; so many stand for one.
_BLOCK: Final = 64
_LEAST: Final = float(np.finfo(np.float64).smallest_subnormal)


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


def best_scored(scores: Floats, place: Ints, n: int) -> Ints:
    """The n offers with the highest positive scores, ties by the smaller place."""
    rows = np.flatnonzero(scores >= max(_bar(scores, n), _LEAST))
    return rows[np.lexsort((place[rows], -scores[rows]))][:n]


def _bar(scores: Floats, n: int) -> float:
    """What at least n scores reach, and few others: the n-th of the best of each block."""
    n_blocks = scores.size // _BLOCK
    if n_blocks <= n:
        return 0.0
    best = scores[: n_blocks * _BLOCK].reshape(n_blocks, _BLOCK).max(axis=1)
    return float(np.partition(best, n_blocks - n)[n_blocks - n])


def fill_up(preferred: Ints, popular: Ints, exclude: Ints, k: int) -> Ints:
    """The first k different rows of preferred and then popular that are not excluded."""
    enough = popular[: k + preferred.size + exclude.size]
    rows = np.concatenate([preferred, enough])
    rows = rows[~np.isin(rows, exclude)]
    first = np.sort(np.unique(rows, return_index=True)[1])
    return rows[first[:k]]
