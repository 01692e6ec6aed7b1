"""Adding up: the sparse rows of all signals become one score per candidate offer."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from index.arrays import Rows, Scores
from index.context import ContextLookup
from index.gather import Gathered
from index.generation import Reader
from index.model import ANY_PLACEMENT, Model

_MERGED_CONTEXTS: Final = 1024
_ORDER: Final = np.arange(1 << 14)
REFUSED: Final = -np.inf

CandidateRows = NDArray[np.intp]
CandidateScores = NDArray[np.float64]


def add_up(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, placement: str
) -> tuple[CandidateRows, CandidateScores]:
    """Candidate offers and their scores under the weights of the request's tier.

    Returns:
        Rows (intp, shape (n,)) and scores (float64, shape (n,)), both copies. An offer that several
        signals name stands several times: once with its whole sum, otherwise with `REFUSED`.
    """
    weights = model.tiers[found.tier].weights
    sum_ = _Sum(_merged_context(model, lookup, reader, found, placement))
    if found.customer is not None:
        sum_.add(found.customer.rows, found.customer.values, weights.get("personal", 0.0))
    if found.n_cart:
        damping = found.n_cart**-model.cart_power
        weight = weights.get("cart", 0.0) * damping
        for item in found.cart:
            sum_.add(item.rows, item.values, weight)
        for row in found.cart_context_rows:
            if (record := reader.context(row)) is not None:
                sum_.add(
                    record.rows, record.values, weights.get(lookup.signals[row], 0.0) * damping
                )
    if found.n_viewed:
        weight = weights.get("viewed", 0.0) * found.n_viewed**-model.cart_power
        for item in found.viewed:
            sum_.add(item.rows, item.values, weight)
    if found.similar is not None:
        sum_.add(*found.similar, weights.get("similar", 0.0))
    return sum_.by_offer(reader.slots, model.prior, weights.get("prior", 1.0))


def refuse(reader: Reader, rows: CandidateRows, scores: CandidateScores, banned: Rows) -> None:
    """Take offers out of the running, in place; right after `add_up` with the same reader.

    Args:
        reader: whose `slots` still say where each candidate's sum stands.
        rows: from `add_up`.
        scores: from `add_up`; changed.
        banned: offer rows that must not be shown.
    """
    # Slots of offers that are no candidates are stale; comparing rows tells them apart.
    slots = np.minimum(reader.slots[banned], len(rows) - 1)
    scores[slots[rows[slots] == banned]] = REFUSED


class _Sum:
    """Rows and values waiting to be summed; neighbours with the same weight are scaled together."""

    __slots__ = ("_rows", "_spans", "_stop", "_values")

    def __init__(self, base: tuple[CandidateRows, Scores]) -> None:
        self._rows: list[NDArray[np.integer]] = [base[0]]
        self._values: list[Scores] = [base[1]]
        self._stop = len(base[0])
        self._spans: list[tuple[int, int, float]] = []

    def add(self, rows: Rows, values: Scores, weight: float) -> None:
        start = self._stop
        self._stop = stop = start + len(rows)
        self._rows.append(rows)
        self._values.append(values)
        if self._spans and self._spans[-1][1:] == (start, weight):
            start = self._spans.pop()[0]
        self._spans.append((start, stop, weight))

    def by_offer(
        self, slots: NDArray[np.intp], prior: Scores, prior_weight: float
    ) -> tuple[CandidateRows, CandidateScores]:
        rows = np.concatenate(self._rows, dtype=np.intp, casting="same_kind")
        values = np.concatenate(self._values)
        for start, stop, weight in self._spans:
            values[start:stop] *= weight
        order = _ORDER[: len(rows)] if len(rows) <= len(_ORDER) else np.arange(len(rows))
        # Every offer's rows meet in the slot that the last of them wrote.
        slots[rows] = order
        slot = slots[rows]
        scores: CandidateScores = np.bincount(slot, values, len(rows)).astype(
            np.float64, copy=False
        )
        scores += prior.take(rows) * prior_weight
        np.copyto(scores, REFUSED, where=slot != order)
        return rows, scores


def _merged_context(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, placement: str
) -> tuple[CandidateRows, Scores]:
    """Rows of the context and of the prior's top, weighted and summed once per combination.

    At any moment nearly all requests share a few combinations of hour, device and referrer.
    """
    top = model.prior_top.get(placement)
    cache_key = (found.tier, placement if top is not None else None, found.context_rows)
    merged = reader.merged.get(cache_key)
    if merged is None:
        merged = _merge(
            model, lookup, reader, found, model.prior_top[ANY_PLACEMENT] if top is None else top
        )
        if len(reader.merged) >= _MERGED_CONTEXTS:
            del reader.merged[next(iter(reader.merged))]
        reader.merged[cache_key] = merged
    return merged


def _merge(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, top: Rows
) -> tuple[CandidateRows, Scores]:
    weights = model.tiers[found.tier].weights
    rows = [top]
    values = [np.zeros(len(top), dtype=np.float32)]
    for row in found.context_rows:
        record = reader.context(row)
        weight = weights.get(lookup.signals[row], 0.0)
        if record is not None and weight != 0.0:
            rows.append(record.rows)
            values.append(record.values * np.float32(weight))
    unique, slot = np.unique(np.concatenate(rows).astype(np.intp), return_inverse=True)
    return unique, np.bincount(slot, np.concatenate(values), len(unique)).astype(np.float32)
