"""Adding up: the sparse rows of all signals become one score per candidate offer."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from index.arrays import Scores
from index.context import ContextLookup
from index.gather import Gathered
from index.generation import Reader
from index.model import Model
from index.records import PAIR

_FLOAT: Final = np.dtype(np.float32)


class SparseRow(Protocol):
    """A row of offers and values as `records.PAIR` bytes: a record's, or one made here."""

    @property
    def n(self) -> int: ...
    @property
    def pairs(self) -> bytes | memoryview: ...


CandidateRows = NDArray[np.intp]


class Candidates(NamedTuple):
    """Offers that some row of the request names, with their scores; copies.

    Attributes:
        rows: offer rows, shape (n,); an offer stands once for every row that names it.
        scores: score of the offer at the same place, the same wherever the offer stands, shape
            (n,); -inf for those that must not be shown because they were bought.
        n_lead: the first places, up to this, name different offers.
        n_rows: how often an offer may stand here at most.
    """

    rows: CandidateRows
    scores: Scores
    n_lead: int
    n_rows: int


def add_up(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, placement: str
) -> Candidates:
    """Candidate offers and their scores under the weights of the request's tier."""
    weight_of = model.tiers[found.tier_name].weights.get
    parts: list[SparseRow] = [reader.top(placement)]
    weights = [1.0]
    if found.customer is not None:
        # In front stands the row most likely to name the best offers: choosing starts from it.
        parts.insert(0, found.customer)
        weights.insert(0, weight_of("personal", 0.0))
    for row in found.context_rows:
        weight = weight_of(lookup.signals[row], 0.0)
        if weight and (record := reader.context(row)) is not None:
            parts.append(record)
            weights.append(weight)
    if found.n_cart:
        damping = found.n_cart**-model.cart_power
        parts += found.cart
        weights += [weight_of("cart", 0.0) * damping] * len(found.cart)
        for row, times in found.cart_context_rows.items():
            weight = weight_of(lookup.signals[row], 0.0) * damping * times
            if weight and (record := reader.context(row)) is not None:
                parts.append(record)
                weights.append(weight)
    if found.n_viewed:
        damping = found.n_viewed**-model.cart_power
        parts += found.viewed
        weights += [weight_of("viewed", 0.0) * damping] * len(found.viewed)
    if found.similar is not None:
        parts.append(found.similar)
        weights.append(weight_of("similar", 0.0))
    return _sum_by_offer(parts, weights, reader.sums, model.prior, found.bought)


def _sum_by_offer(
    parts: list[SparseRow],
    weights: list[float],
    sums: Scores,
    prior: Scores,
    bought: CandidateRows | None,
) -> Candidates:
    """Add rows up in a dense array that starts, and is left, as the prior.

    The rows' bytes are joined and made an array once: an array for each would cost more than all
    the arithmetic.
    """
    pairs = np.frombuffer(b"".join([part.pairs for part in parts]), PAIR)
    rows = pairs["row"].astype(np.intp)
    lengths = np.array([part.n for part in parts])
    np.add.at(sums, rows, pairs["value"] * np.array(weights, _FLOAT).repeat(lengths))
    if bought is not None:
        sums[bought] = -np.inf
    scores = sums.take(rows)
    sums[rows] = prior.take(rows)
    if bought is not None:
        sums[bought] = prior.take(bought)
    return Candidates(rows, scores, parts[0].n, len(parts))
