"""A few numbers for each customer and offer whose product tells how well they go together.

Weighted matrix factorisation by alternating least squares (Hu, Koren, Volinsky 2008, *Collaborative
filtering for implicit feedback datasets*), from the library `implicit`. A customer's numbers are
solved for from their own history when they are scored, so that everyone has some, whether or not
they were in the sample that offers' numbers were learned from.

Globals: `factors.npy` float32, shape (n, dim): a row for each offer in reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from builder.signals.histories import Ints
from builder.signals.interactions import Matrix

Factors = NDArray[np.float32]

_SEED: Final = 1
_CUSTOMERS_AT_A_TIME: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorSettings:
    """How offers' numbers are learned, and customers' solved for.

    Attributes:
        dim: how many numbers.
        ridge: regularisation.
        confidence: how many times what was taken counts, compared with what was not.
        rounds: alternations.
    """

    dim: int = 64
    ridge: float = 30.0
    confidence: float = 10.0
    rounds: int = 12


def learn_factors(interactions: Matrix, settings: FactorSettings) -> Factors:
    """Offers' numbers: float32, shape (n_offers, dim), the same in every process."""
    if not interactions.nnz:
        return np.zeros((interactions.shape[1], settings.dim), dtype=np.float32)
    from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415 - slow to load
    from tqdm import tqdm  # noqa: PLC0415

    # Else the library's bar, which nobody sees, makes a lock between processes that outlives ours.
    tqdm.set_lock(RLock())

    # The library wants its own threads alone, and sums in another order with more of them.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=settings.dim,
            regularization=settings.ridge,
            alpha=settings.confidence,
            iterations=settings.rounds,
            num_threads=1,
            random_state=_SEED,
        )
        model.fit(interactions, show_progress=False)
    factors: Factors = np.asarray(model.item_factors, dtype=np.float32)
    return factors


class FoldIn:
    """Solves for customers' numbers.

    Args:
        factors: offers' numbers.
        settings: as they were learned with.
    """

    def __init__(self, factors: Factors, settings: FactorSettings) -> None:
        self._factors = factors
        self._settings = settings
        gram = factors.T.astype(np.float64) @ factors
        gram += settings.ridge * np.eye(factors.shape[1])
        self._gram = gram.astype(np.float32)

    def customers(self, starts: Ints, offers: Ints) -> Factors:
        """Numbers of customers: float32, shape (n, dim).

        Args:
            starts: int64, shape (n + 1,): range of each customer's offers.
            offers: int64, offer rows.
        """
        found = np.zeros((len(starts) - 1, self._factors.shape[1]), dtype=np.float32)
        for first in range(0, len(found), _CUSTOMERS_AT_A_TIME):
            part = slice(first, min(first + _CUSTOMERS_AT_A_TIME, len(found)))
            gram = np.repeat(self._gram[None], part.stop - part.start, axis=0)
            total = np.zeros((*gram.shape[:2], 1), dtype=np.float32)
            for place, customer in enumerate(range(part.start, part.stop)):
                own = self._factors[offers[starts[customer] : starts[customer + 1]]]
                gram[place] += (self._settings.confidence - 1.0) * (own.T @ own)
                total[place, :, 0] = self._settings.confidence * own.sum(axis=0)
            found[part] = np.linalg.solve(gram, total)[:, :, 0]
        return found
