"""Where a walk from an offer leads: to a customer who took it, and on to another offer of theirs.

P3 (Cooper, Lee, Radinsky, Siantos 2014, *Random walks in recommender systems*): row i holds the
chance that such a walk of three steps from offer i ends at each other offer. RP3beta (Paudel,
Christoffel, Newell, Bernstein 2017) divides by popularity to some power; that factor is the same
for all rows, so it is left to the weight that the personal model learns for popularity, and here
decides only which ends are kept.

Globals: `walk_*.npy`, see `interactions.write_links`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from builder.signals.interactions import Matrix, strongest, takers

_SCORES_AT_A_TIME: Final = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkSettings:
    """How walks are kept.

    Attributes:
        damping: the power of popularity by which ends are ranked for keeping.
        per_offer: how many ends of a row are kept.
    """

    damping: float = 0.4
    per_offer: int = 128


def learn_walk(interactions: Matrix, settings: WalkSettings) -> Matrix:
    """Chances of all ends kept: CSR float32, shape (n_offers, n_offers), zero diagonal."""
    taken = np.maximum(takers(interactions), 1)
    per_customer = np.maximum(np.diff(interactions.indptr), 1)
    back = (sparse.diags(1.0 / taken) @ interactions.T).tocsr().astype(np.float32)
    forth = (sparse.diags(1.0 / per_customer) @ interactions).tocsr().astype(np.float32)
    damped = taken.astype(np.float32) ** np.float32(settings.damping)
    n_offers = len(taken)
    step = max(_SCORES_AT_A_TIME // max(n_offers, 1), 1)
    parts = [sparse.csr_matrix((0, n_offers), dtype=np.float32)]
    for first in range(0, n_offers, step):
        ends = (back[first : first + step] @ forth).toarray()
        own = np.arange(len(ends))
        ends[own, first + own] = 0.0
        kept = strongest(ends / damped, settings.per_offer) != 0.0
        parts.append(sparse.csr_matrix(np.where(kept, ends, np.float32(0.0))))
    return sparse.vstack(parts).tocsr()
