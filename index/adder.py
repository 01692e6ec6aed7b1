"""Adding up: the sparse rows of all signals become one score per offer, and the best are found.

The sums are dense, one number for every offer of the shop, and start, and are left, as the prior.
Compiled code does both in one pass; where the package was installed without a compiler NumPy does
the same, to the last bit, in about eight times the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays import RowBytes, Scores
from index.compiled import IS_COMPILED
from index.rank import FURTHER, Candidates, best_first
from index.records import PAIR

if IS_COMPILED:
    from index._kernel import Scratch

_FLOAT: Final = np.dtype(np.float32)


class Pool(NamedTuple):
    """Rows of several items, heard together: the loudest, and all.

    Attributes:
        rows: a row each, as `records.PAIR` bytes.
        weights: as many; of each offer only the largest weighted value among the rows counts, and
            nothing below 0.
        added: as many; what each row's values are multiplied with and added, besides.
    """

    rows: list[RowBytes]
    weights: list[float]
    added: list[float]


class Terms(NamedTuple):
    """What is added to the prior: rows, and what each row's values are multiplied with.

    Attributes:
        pairs: a row each, as `records.PAIR` bytes. The first should name the best offers: where
            nothing is compiled, ranking starts from it.
        weights: as many.
        pools: see `Pool`.
        bought: offers left out of the answer, as uint32 bytes; None for none.
    """

    pairs: list[RowBytes]
    weights: list[float]
    pools: list[Pool]
    bought: RowBytes | None

    def rows(self) -> list[RowBytes]:
        """All rows, those of the pools last."""
        return [*self.pairs, *(part for pool in self.pools for part in pool.rows)]


class Adder:
    """Scratch space of one caller at a time.

    Args:
        prior: float32, shape (n_offers,).

    Attributes:
        scratch: compiled code's; None where there is none.
    """

    __slots__ = ("_prior", "_sums", "scratch")

    def __init__(self, prior: Scores) -> None:
        self._prior = prior
        self.scratch = Scratch(prior) if IS_COMPILED else None
        self._sums: Scores | None = None

    def best(self, terms: Terms, first: int) -> Iterator[tuple[int, float]]:
        """Offers that a term names and their scores, by falling score, ties by row, each once.

        Args:
            terms: what to add up.
            first: how many are likely to be asked for; further ones are looked for when they are.

        Raises:
            IndexError: a row names an offer that does not exist.
        """
        if self.scratch is None:
            candidates = self.candidates(terms)
            return best_first(candidates, candidates.scores, first)
        found = self.scratch.best(*terms, first)
        return iter(found) if len(found) < first else chain(found, self._further(terms, first))

    def _further(self, terms: Terms, done: int) -> Iterator[tuple[int, float]]:
        assert self.scratch is not None
        n_found = done
        while n_found == done:
            more = self.scratch.best(*terms, done * FURTHER)
            yield from more[done:]
            n_found, done = len(more), done * FURTHER

    def candidates(self, terms: Terms) -> Candidates:
        """All offers that a term names, scored, for another order than that of the scores.

        The rows' bytes are joined and made an array once: an array for each would cost more than
        all the arithmetic.

        Raises:
            IndexError: a row names an offer that does not exist.
        """
        if self._sums is None:
            self._sums = self._prior.copy()
        sums, prior = self._sums, self._prior
        parts = terms.rows()
        lengths = [len(part) // PAIR.itemsize for part in parts]
        pairs = np.frombuffer(b"".join(parts), PAIR)
        rows, values = pairs["row"].astype(np.intp), pairs["value"]
        bought = None if terms.bought is None else np.frombuffer(terms.bought, np.uint32)
        try:
            place = sum(lengths[: len(terms.pairs)])
            weights = np.array(terms.weights, _FLOAT).repeat(lengths[: len(terms.pairs)])
            np.add.at(sums, rows[:place], values[:place] * weights)
            done = len(terms.pairs)
            for pool in terms.pools:
                pool_lengths = lengths[done : done + len(pool.rows)]
                stop = place + sum(pool_lengths)
                heard, said = rows[place:stop], values[place:stop]
                added = np.array(pool.added, _FLOAT).repeat(pool_lengths)
                # A weight of 0 adds nothing, not even what a damaged value made of it.
                np.add.at(sums, heard[added != 0.0], (said * added)[added != 0.0])
                _add_peaks(sums, heard, said * np.array(pool.weights, _FLOAT).repeat(pool_lengths))
                place, done = stop, done + len(pool.rows)
            if bought is not None:
                sums[bought] = -np.inf
            scores = sums.take(rows)
        except IndexError:
            self._sums = None
            raise
        sums[rows] = prior.take(rows)
        if bought is not None:
            sums[bought] = prior.take(bought)
        return Candidates(rows, scores, lengths[0], len(lengths))


def _add_peaks(sums: Scores, rows: NDArray[np.intp], values: Scores) -> None:
    offers, place = np.unique(rows, return_inverse=True)
    peaks = np.zeros(len(offers), dtype=_FLOAT)
    # Unlike `maximum`, `fmax` passes over what a damaged value made NaN.
    np.fmax.at(peaks, place, values)
    heard = peaks > 0.0
    sums[offers[heard]] += peaks[heard]
