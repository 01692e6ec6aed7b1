"""Each offer told from a customer's others by linear regression, all at once.

EASE (Steck 2019, *Embarrassingly shallow autoencoders for sparse data*): with the Gram matrix
G = XᵀX + λI of who took what and P = G⁻¹, the weights are B = I − P · diag(1 / diag P). Unlike
counts of pairs they know what other offers explain already. The inverse is dense, hence only the
offers that most customers took have weights, and of each row only the largest are kept.

Globals: `regression_*.npy` (see `interactions.write_links`): row i holds what having taken the
i-th offer in reach says of others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from builder.signals.interactions import Matrix, most_taken, strongest


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionSettings:
    """How weights are learned.

    Attributes:
        offers: how many of the offers have weights; time grows with its cube, memory (8 bytes) with
            its square.
        ridge: λ, in customers.
        per_offer: how many weights of a row are kept.
    """

    offers: int = 3000
    ridge: float = 500.0
    per_offer: int = 128


def learn_regression(interactions: Matrix, settings: RegressionSettings) -> Matrix:
    """Weights of all offers: CSR float32, shape (n_offers, n_offers), zero diagonal."""
    n_offers = interactions.shape[1]
    chosen = most_taken(interactions, settings.offers)
    if not len(chosen):
        return sparse.csr_matrix((n_offers, n_offers), dtype=np.float32)
    taken = interactions[:, chosen]
    gram = (taken.T @ taken).toarray().astype(np.float32)
    gram[np.diag_indices_from(gram)] += np.float32(settings.ridge)
    weights = _inverse(gram)
    weights /= -np.diag(weights)
    weights[np.diag_indices_from(weights)] = 0.0
    kept = sparse.coo_matrix(strongest(weights, settings.per_offer))
    shape = (n_offers, n_offers)
    return sparse.csr_matrix((kept.data, (chosen[kept.row], chosen[kept.col])), shape=shape)


def _inverse(gram: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of a positive definite matrix, by Cholesky: half the work of a general one."""
    root, failed = lapack.spotrf(gram, lower=True, overwrite_a=True)
    assert not failed, "a Gram matrix with a ridge is positive definite"
    lower, failed = lapack.spotri(root, lower=True, overwrite_c=True)
    assert not failed
    inverse: NDArray[np.float32] = np.tril(lower) + np.tril(lower, -1).T
    return inverse
