"""One trial of a search: a collaborative method with some settings, asked about early orders.

The method learns from what teaches (`early`) exactly as it will from everything, ranks for each
customer asked about the offers that are new to them by its own numbers alone, and is judged by
NDCG@20 against what their next order held. Where walks end is damped by popularity before it is
ranked, by the power that is best for the trial: the weights of the personal signal, which see both,
do the same later, whatever the walk was kept by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder import metrics
from builder.duck import connect, literal
from builder.metrics import Floats, Ints
from builder.signals.candidates import best_columns
from builder.signals.collaborative import CollaborativeSettings
from builder.signals.early import WANTED_NAME
from builder.signals.factors import FoldIn, learn_factors
from builder.signals.interactions import Matrix, load_interactions, takers
from builder.signals.regression import learn_regression
from builder.signals.walk import learn_walk

K: Final = 20
_NDCG_NAME: Final = "ndcg.npy"
_BATCH: Final = 256
_DAMPINGS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)

Scores = Callable[[Matrix], NDArray[np.float32]]
"""From some customers' rows of who took what to scores of all offers in reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryMethod:
    """The task of one trial.

    Attributes:
        method: `walk`, `regression` or `factors`.
        early_dir: result of `early.SplitEarly`.
        settings: those of the method are tried; they also say what is in reach.
    """

    method: str
    early_dir: Path
    settings: CollaborativeSettings

    @property
    def name(self) -> str:
        return f"try-{self.method}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            _, interactions = load_interactions(
                connection,
                self.early_dir,
                reach=self.settings.reach,
                per_customer=self.settings.per_customer,
            )
            customers, wanted = _load_wanted(connection, self.early_dir)
        found = np.empty(0)
        if len(customers):
            score, divisors = _learned(self.method, interactions, self.settings)
            ranked = np.full((len(divisors), len(customers), K), metrics.PADDING, dtype=np.int64)
            for first in range(0, len(customers), _BATCH):
                taken = interactions[customers[first : first + _BATCH]]
                scores = score(taken)
                for place, divisor in enumerate(divisors):
                    best = _best_new(scores / divisor, taken)
                    ranked[place, first : first + _BATCH] = best
            tried = [metrics.ndcg(metrics.judge(lists, wanted), K) for lists in ranked]
            found = max(tried, key=lambda ndcg: float(ndcg.mean()))
        np.save(out_dir / _NDCG_NAME, found)


def read_trial(result_dir: Path) -> Floats:
    """NDCG@20 of each case, in an order that is the same for all trials of one search."""
    ndcg: Floats = np.load(result_dir / _NDCG_NAME, allow_pickle=False)
    return ndcg


def _load_wanted(connection: duckdb.DuckDBPyConnection, early_dir: Path) -> tuple[Ints, list[Ints]]:
    """Rows of `load_interactions` that are asked about, and the columns each wants.

    A wanted offer out of reach is a column that no ranking holds: all trials miss it alike.
    """
    sample = f"read_parquet({literal(early_dir / 'sample.parquet')})"
    found = connection.execute(
        f"""
        SELECT customer, coalesce(place, 1_000_000_000 + offer_row) AS place
        FROM read_parquet({literal(early_dir / WANTED_NAME)})
        JOIN (SELECT customer_lo, customer_hi,
                     dense_rank() OVER (ORDER BY customer_lo, customer_hi) - 1 AS customer
              FROM (SELECT DISTINCT customer_lo, customer_hi
                    FROM {sample} JOIN reached USING (offer_row)))
            USING (customer_lo, customer_hi)
        LEFT JOIN reached USING (offer_row)
        ORDER BY customer, place
        """
    ).fetchnumpy()
    customers, starts = np.unique(found["customer"].astype(np.int64), return_index=True)
    columns = found["place"].astype(np.int64)
    return customers, np.split(columns, starts[1:]) if len(customers) else []


def _learned(
    method: str, interactions: Matrix, settings: CollaborativeSettings
) -> tuple[Scores, list[NDArray[np.float32]]]:
    """What the method says, and by what it may be divided before it is ranked."""
    as_it_is = [np.ones(interactions.shape[1], dtype=np.float32)]
    if method == "walk":
        walk = learn_walk(interactions, settings.walk)
        taken_by = np.maximum(takers(interactions), 1).astype(np.float32)
        damped = [taken_by ** np.float32(power) for power in _DAMPINGS]
        return lambda taken: np.asarray((taken @ walk).toarray(), dtype=np.float32), damped
    if method == "regression":
        weights = learn_regression(interactions, settings.regression)
        return lambda taken: np.asarray((taken @ weights).toarray(), dtype=np.float32), as_it_is
    factors = learn_factors(interactions, settings.factors)
    fold_in = FoldIn(factors, settings.factors)
    return lambda taken: fold_in.customers(taken.indptr, taken.indices) @ factors.T, as_it_is


def _best_new(scores: NDArray[np.float32], taken: Matrix) -> Ints:
    """Columns of the K best scores above 0 that were not taken, best first, padded with -1."""
    scores[taken.nonzero()] = 0.0
    rows, columns = best_columns(scores, K)
    ranked = np.full((len(scores), K), metrics.PADDING, dtype=np.int64)
    ranked[rows, np.arange(len(rows)) - np.searchsorted(rows, rows)] = columns
    return ranked
