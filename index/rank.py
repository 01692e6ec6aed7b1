"""Ranking: the best of many candidates without sorting them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays import Scores

FURTHER: Final = 4
"""How many times as many are looked for when the first were not enough."""


class Candidates(NamedTuple):
    """Offers that some row of a request names, with their scores; copies.

    Attributes:
        rows: offer rows, intp, shape (n,); an offer stands once for every row that names it.
        scores: score of the offer at the same place, the same wherever the offer stands, shape
            (n,); -inf for those that must not be shown because they were bought.
        n_lead: the first places, up to this, name different offers.
        n_rows: how often an offer may stand here at most.
    """

    rows: NDArray[np.intp]
    scores: Scores
    n_lead: int
    n_rows: int


def best_first(candidates: Candidates, utility: Scores, first: int) -> Iterator[tuple[int, float]]:
    """Candidates by falling utility, ties by row, each once: the first cheaply, the rest if asked.

    Args:
        candidates: offers and scores; those at -inf are left out.
        utility: what to rank by, for each place of the candidates.
        first: how many are likely to be asked for.
    """
    rows, scores = candidates.rows, candidates.scores
    done = None
    while True:
        bound = _bound(candidates, utility, first)
        is_next = utility >= bound if bound > -np.inf else utility > bound
        if done is not None:
            is_next &= utility < done
        places = is_next.nonzero()[0]
        order = places.take(np.lexsort((rows.take(places), -utility.take(places))))
        last = -1
        for row, score in zip(rows.take(order).tolist(), scores.take(order).tolist(), strict=True):
            if row != last:
                last = row
                yield row, score
        if bound == -np.inf:
            return
        first *= FURTHER
        # A damaged value can make the bound NaN, which nothing reaches and nothing is below.
        if len(places):
            done = bound


def _bound(candidates: Candidates, utility: Scores, first: int) -> float:
    """A utility that at least `first` different offers reach; -inf when fewer are left.

    The first places name different offers, mostly good ones: few others reach what the best of
    those do. Failing that, an offer stands in at most `n_rows` places.
    """
    n = candidates.n_lead
    if first < n:
        lead = utility[:n].copy()
        lead.partition(n - first)
        bound = lead.item(n - first)
        if bound > -np.inf:
            return bound
    n, first = len(utility), first * candidates.n_rows
    return float(np.partition(utility, n - first)[n - first]) if first < n else -np.inf
