"""Adding up: the sparse rows of all signals become one score per candidate offer."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from index.arrays import Scores
from index.context import ContextLookup
from index.gather import Gathered
from index.generation import Reader
from index.model import Model

_WORD: Final = np.dtype("<u4")
_FLOAT: Final = np.dtype("<f4")
_ORDER: Final = np.arange(1 << 14)


class SparseRow(Protocol):
    """A row of offers and values as bytes: a record's, or one made here."""

    @property
    def n(self) -> int: ...
    @property
    def rows_bytes(self) -> bytes | memoryview: ...
    @property
    def values_bytes(self) -> bytes | memoryview: ...


CandidateRows = NDArray[np.intp]


def add_up(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, placement: str
) -> tuple[CandidateRows, Scores]:
    """Candidate offers and their scores under the weights of the request's tier.

    Returns:
        Distinct rows (intp, shape (n,)) and their scores (float32, shape (n,)), both copies.
    """
    weights = model.tiers[found.tier_name].weights
    parts: list[tuple[SparseRow, float]] = []
    parts.append((reader.top(placement), 1.0))
    for row in found.context_rows:
        weight = weights.get(lookup.signals[row], 0.0)
        if weight and (record := reader.context(row)) is not None:
            parts.append((record, weight))
    if found.customer is not None:
        parts.append((found.customer, weights.get("personal", 0.0)))
    if found.n_cart:
        damping = found.n_cart**-model.cart_power
        weight = weights.get("cart", 0.0) * damping
        parts += [(item, weight) for item in found.cart]
        for row, times in found.cart_context_rows.items():
            weight = weights.get(lookup.signals[row], 0.0) * damping * times
            if weight and (record := reader.context(row)) is not None:
                parts.append((record, weight))
    if found.n_viewed:
        weight = weights.get("viewed", 0.0) * found.n_viewed**-model.cart_power
        parts += [(item, weight) for item in found.viewed]
    if found.similar is not None:
        parts.append((found.similar, weights.get("similar", 0.0)))
    return _sum_by_offer(parts, reader, model.prior)


def _sum_by_offer(
    parts: list[tuple[SparseRow, float]], reader: Reader, prior: Scores
) -> tuple[CandidateRows, Scores]:
    """Add rows up in a dense array that starts, and is left, as the prior.

    The rows' bytes are joined and made an array once: an array for each would cost more than all
    the arithmetic.
    """
    rows = np.frombuffer(b"".join([part.rows_bytes for part, _ in parts]), _WORD).astype(np.intp)
    values = np.frombuffer(bytearray().join([part.values_bytes for part, _ in parts]), _FLOAT)
    start = stop = 0
    scale = 1.0
    for part, weight in parts:
        if weight != scale:
            if scale != 1.0:
                values[start:stop] *= scale
            start, scale = stop, weight
        stop += part.n
    if scale != 1.0:
        values[start:stop] *= scale
    sums, slots = reader.sums, reader.slots
    np.add.at(sums, rows, values)
    # Of the places that name an offer, the one its slot remembers stands for it.
    order = _ORDER[:stop] if stop <= len(_ORDER) else np.arange(stop)
    slots[rows] = order
    rows = rows[slots[rows] == order]
    scores = sums.take(rows)
    sums[rows] = prior.take(rows)
    return rows, scores
