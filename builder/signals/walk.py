"""Where a walk from an offer leads: to a customer who took it, and on to another offer of theirs.

P3 (Cooper, Lee, Radinsky, Siantos 2014, *Random walks in recommender systems*): row i holds the
chance that such a walk of three steps from offer i ends at each other offer. RP3beta (Paudel,
Christoffel, Newell, Bernstein 2017) divides by popularity to some power; that factor is the same
for all rows, so it is left to the weight that the personal model learns for popularity, and here
decides only which ends are kept.

A customer's walk need not begin at each of their offers alike. What hardly anybody else took leads
to hardly any customer, by whom the walk would be told alone; so offers begin walks by how many
customers took them to some power. With a half this is the linear part of GF-CF (Shen et al. 2021,
*How powerful is graph convolution for recommendation?*), with 0 it is P3. Which is best differs
from shop to shop; the usual power lies between.

Globals: `walk_*.npy`, see `interactions.write_links`: rows are chances times how often the offer
begins a walk; and `walk_begins.npy`, see `learn_begins`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.signals.interactions import Matrix, strongest_links, takers

_ROWS_AT_A_TIME: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkSettings:
    """How walks are made and kept.

    Attributes:
        begin_power: the power of how many customers took an offer by which it begins walks.
        damping: the power of popularity by which ends are ranked for keeping.
        per_offer: how many ends of a row are kept.
    """

    begin_power: float = 0.25
    damping: float = 0.4
    per_offer: int = 128


def learn_begins(interactions: Matrix, settings: WalkSettings) -> NDArray[np.float32]:
    """How often each offer begins a walk, 1 in the mean of all takings: shape (n_offers,)."""
    taken = takers(interactions)
    begins = np.maximum(taken, 1) ** settings.begin_power
    begins /= max(float(begins @ taken), 1.0) / max(int(taken.sum()), 1)
    return begins.astype(np.float32)


def learn_walk(interactions: Matrix, settings: WalkSettings) -> Matrix:
    """Chances of all ends kept times how often walks begin at the offer.

    Returns:
        CSR float32, shape (n_offers, n_offers), zero diagonal.
    """
    taken = np.maximum(takers(interactions), 1)
    per_customer = np.maximum(np.diff(interactions.indptr), 1)
    begins = learn_begins(interactions, settings)
    back = (sparse.diags(begins / taken) @ interactions.T).tocsr().astype(np.float32)
    forth = (sparse.diags(1.0 / per_customer) @ interactions).tocsr().astype(np.float32)
    damped = taken.astype(np.float32) ** np.float32(settings.damping)
    n_offers = len(taken)
    parts = [sparse.csr_matrix((0, n_offers), dtype=np.float32)]
    for first in range(0, n_offers, _ROWS_AT_A_TIME):
        ends = back[first : first + _ROWS_AT_A_TIME] @ forth
        own = first + np.repeat(np.arange(ends.shape[0]), np.diff(ends.indptr))
        ends.data[ends.indices == own] = 0.0
        ends.eliminate_zeros()
        parts.append(strongest_links(ends, ends.data / damped[ends.indices], settings.per_offer))
    walk = sparse.vstack(parts).tocsr()
    walk.sort_indices()
    return walk
