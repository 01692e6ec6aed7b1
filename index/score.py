"""Adding up: the sparse rows of all signals become one score per candidate offer."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from index.arrays import Rows, Scores
from index.context import ContextLookup
from index.gather import Gathered
from index.generation import Reader, SummedRow
from index.model import ANY_PLACEMENT, Model

_WORD: Final = np.dtype("<u4")
_FLOAT: Final = np.dtype("<f4")


class SparseRow(Protocol):
    """A row of offers and values as bytes: a record's, or several summed."""

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
        Rows (intp, shape (n,)) and scores (float32, shape (n,)), both copies. An offer that several
        signals name stands several times, each time with its whole sum.
    """
    weights = model.tiers[found.tier_name].weights
    parts: list[tuple[SparseRow, float]] = []
    # What usually wins comes first: `choose` finds its bound among the first candidates.
    if found.customer is not None:
        parts.append((found.customer, weights.get("personal", 0.0)))
    parts.append((_merged_context(model, lookup, reader, found, placement), 1.0))
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
    return _sum_by_offer(parts, reader.sums, model.prior)


def _sum_by_offer(
    parts: list[tuple[SparseRow, float]], sums: Scores, prior: Scores
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
    np.add.at(sums, rows, values)
    scores = sums.take(rows)
    sums[rows] = prior.take(rows)
    return rows, scores


def _merged_context(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, placement: str
) -> SummedRow:
    """Rows of the context and of the prior's top, weighted and summed once per combination.

    At any moment nearly all requests share a few combinations of hour, device and referrer.
    """
    top = model.prior_top.get(placement)
    cache_key = (found.tier_name, placement if top is not None else None, found.context_rows)
    merged = reader.merged.get(cache_key)
    if merged is None:
        merged = _merge(
            model, lookup, reader, found, model.prior_top[ANY_PLACEMENT] if top is None else top
        )
        reader.merged.keep(cache_key, merged)
    return merged


def _merge(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, top: Rows
) -> SummedRow:
    weights = model.tiers[found.tier_name].weights
    rows = [top]
    values = [np.zeros(len(top), dtype=np.float32)]
    for row in found.context_rows:
        record = reader.context(row)
        weight = weights.get(lookup.signals[row], 0.0)
        if record is not None and weight != 0.0:
            rows.append(record.rows)
            values.append(record.values * np.float32(weight))
    unique, slot = np.unique(np.concatenate(rows).astype(np.intp), return_inverse=True)
    sums = np.bincount(slot, np.concatenate(values), len(unique)).astype(np.float32)
    best_first = np.lexsort((unique, -(sums + model.prior[unique])))
    rows_bytes = unique[best_first].astype(_WORD).tobytes()
    return SummedRow(rows_bytes, sums[best_first].tobytes(), len(unique))
