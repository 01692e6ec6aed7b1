"""From scores and counts to ranked lists: the few steps all baselines share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np

from builder.baselines.data import Example
from builder.metrics import PADDING, Floats, Ints

Entries = tuple[Ints, Floats]
"""Columns that have a score, each once, and their scores; what else there is has none.

Columns are places by popularity: what often stands in orders then stands together in memory too,
and a product hardly leaves it.
"""

# Enough that a product costs more than calling it, few enough that their scores fit in memory.
_EXAMPLES: Final = 64
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


def best_scored(entries: Entries, n: int) -> Entries:
    """The n entries with the highest positive scores, falling, ties by the smaller column."""
    columns, scores = entries
    likely = scores >= max(_bar(scores, n), _LEAST)
    columns, scores = columns[likely], scores[likely]
    best = np.lexsort((columns, -scores))[:n]
    return columns[best], scores[best]


def _bar(scores: Floats, n: int) -> float:
    """What at least n scores reach, and few others: the n-th of the best of each block."""
    n_blocks = scores.size // _BLOCK
    if n_blocks <= n:
        return 0.0
    best = scores[: n_blocks * _BLOCK].reshape(n_blocks, _BLOCK).max(axis=1)
    return float(np.partition(best, n_blocks - n)[n_blocks - n])


def entries_of(matrix: Any) -> Iterator[Entries]:
    """The entries of each row of a scipy CSR matrix."""
    for start, stop in pairwise(matrix.indptr.tolist()):
        yield matrix.indices[start:stop], matrix.data[start:stop]


def in_blocks(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """The examples, as many at a time as are scored together."""
    return (examples[at : at + _EXAMPLES] for at in range(0, len(examples), _EXAMPLES))


def rank_scored(
    scored: Iterable[Entries], popular: Ints, examples: Sequence[Example], k: int
) -> Ints:
    """The offers with the best scores, then popular ones, that are not excluded: see `fill_up`.

    Args:
        scored: of each example; ties go to the more popular offer.
        popular: all offer rows, most popular first.
        examples: for whom.
        k: how many.
    """
    preferred = (
        popular[best_scored(entries, k + example.exclude.size)[0]]
        for entries, example in zip(scored, examples, strict=True)
    )
    return fill_up(preferred, popular, examples, k)


def fill_up(preferred: Iterable[Ints], popular: Ints, examples: Sequence[Example], k: int) -> Ints:
    """The first k rows of what each prefers, and then popular, that are not excluded.

    Args:
        preferred: of each example different offer rows, best first.
        popular: all offer rows, most popular first.
        examples: for whom.
        k: how many.

    Returns:
        int64, shape (n, k), padded with -1.
    """
    ranked = np.full((len(examples), k), PADDING, dtype=np.int64)
    for place, (own, example) in enumerate(zip(preferred, examples, strict=True)):
        excluded = set(example.exclude.tolist())
        enough = k + len(excluded)
        rows = chain(own[:enough].tolist(), popular[:enough].tolist())
        chosen = [*dict.fromkeys(row for row in rows if row not in excluded)][:k]
        ranked[place, : len(chosen)] = chosen
    return ranked
