"""What was counted of context features, as arrays: who ordered how often in which context.

Only offers in *reach* are looked at: those that stand high in the list of at least one context
value, or of everyone. What stands far down in all of them will hardly ever be shown for a context's
sake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.duck import literal
from builder.signals.aspects import Aspect, aspects_of
from builder.signals.lifts import Evidence, Shares, shares_of
from builder.signals.moments import Codes, Moments


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureCounts:
    """One feature.

    Attributes:
        name: of the feature.
        values: as requests are read, rising.
        context_rows: their numbers in `contexts.parquet`.
        n_orders: int64, shape (2, n_values): by half of the customers.
        held: for each half a sparse float64 matrix, shape (n_values, n_offers): orders that hold
            each offer in reach.
    """

    name: str
    values: Sequence[str]
    context_rows: Sequence[int]
    n_orders: Codes
    held: tuple[Any, Any]

    def aspects(self) -> list[Aspect]:
        """All ways to look at its values."""
        return aspects_of(self.name, self.values, self.n_orders.sum(axis=0).tolist())

    def evidence(self, aspect: Aspect, codes: Codes, offers: slice) -> Evidence:
        """Counts of an aspect.

        Args:
            aspect: one of `aspects`.
            codes: int64, shape (n_moments,): place of each moment's value, -1 for none.
            offers: which of the offers in reach.
        """
        n_groups, n_values = aspect.n_groups, len(self.values)
        ones = np.ones(n_values)
        sums = sparse.csr_matrix((ones, (aspect.groups, np.arange(n_values))), (n_groups, n_values))
        return Evidence(
            aspect=aspect,
            codes=np.append(aspect.groups, n_groups)[codes],
            n_orders=np.stack([sums @ part for part in self.n_orders]).astype(np.float64),
            held=np.stack([(sums @ part[:, offers]).toarray() for part in self.held]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContextCounts:
    """All features that requests name, and the hour of the week.

    Attributes:
        offers: int64, shape (n,): offers in reach, those that stand highest somewhere first.
        shares: see `lifts.Shares`.
        features: by name, rising.
    """

    offers: NDArray[np.int64]
    shares: Shares
    features: Sequence[FeatureCounts]

    def only(self, names: Collection[str] | None) -> ContextCounts:
        """The same with the named features only; None for all."""
        if names is None:
            return self
        return replace(self, features=[one for one in self.features if one.name in names])

    def looks(self, moments: Moments, offers: slice) -> Iterator[Evidence]:
        """Every aspect of every feature, counted for some of the offers."""
        for place, feature in enumerate(self.features):
            for aspect in feature.aspects():
                yield feature.evidence(aspect, moments.codes[:, place], offers)


def load_context_counts(
    connection: duckdb.DuckDBPyConnection, merged_dir: Path, *, reach: int, shrinkage: float
) -> ContextCounts:
    """Read what `merge.MergeCounts` wrote.

    Args:
        connection: from `builder.duck.connect`.
        merged_dir: its result.
        reach: how many offers.
        shrinkage: expected orders that a value's list of offers is drawn to everyone's with.
    """
    contexts, seen, totals, sold = (
        f"read_parquet({literal(merged_dir / f'{name}.parquet')})"
        for name in ("contexts", "context_offers", "totals", "offers")
    )
    connection.execute(
        f"""
        CREATE TEMP TABLE reached AS
        WITH shares AS (
            SELECT offer_row, n_orders - n_half AS n_first, n_half AS n_second,
                   (n_orders + 0.5) / (SELECT n_orders + 1 FROM {totals}) AS share
            FROM {sold}),
        peaks AS (
            SELECT offer_row, max(share * (held.n_orders + {shrinkage})
                                  / (share * had.n_orders + {shrinkage})) AS peak
            FROM {seen} AS held JOIN {contexts} AS had USING (context_row)
            JOIN shares USING (offer_row) GROUP BY offer_row)
        SELECT offer_row, share, n_first, n_second, row_number() OVER by_peak - 1 AS place
        FROM shares LEFT JOIN peaks USING (offer_row)
        WINDOW by_peak AS (ORDER BY greatest(share, peak) DESC, offer_row)
        QUALIFY row_number() OVER by_peak <= {reach}
        """
    )
    reached = connection.execute("FROM reached ORDER BY place").fetchnumpy()
    values: dict[str, list[tuple[int, str, int, int]]] = {}
    for row, name, *value in connection.execute(
        f"""SELECT context_row, feature, value, n_orders, n_half FROM {contexts}
            WHERE n_half IS NOT NULL ORDER BY context_row"""
    ).fetchall():
        values.setdefault(name, []).append((row, *value))
    held = connection.execute(
        f"""SELECT context_row, place, n_orders - n_half AS n_first, n_half AS n_second
            FROM {seen} JOIN reached USING (offer_row) ORDER BY context_row, place"""
    ).fetchnumpy()
    n_offers = len(reached["offer_row"])
    [(n_orders, n_second)] = connection.execute(f"SELECT n_orders, n_half FROM {totals}").fetchall()
    return ContextCounts(
        offers=reached["offer_row"].astype(np.int64),
        shares=shares_of(
            reached["share"].astype(np.float64),
            np.stack([reached["n_first"], reached["n_second"]]),
            (n_orders - n_second, n_second),
        ),
        features=[_feature(name, values[name], held, n_offers) for name in sorted(values)],
    )


def _feature(
    name: str,
    values: Sequence[tuple[int, str, int, int]],
    held: dict[str, NDArray[Any]],
    n_offers: int,
) -> FeatureCounts:
    """The part of the counts that is of one feature; its context rows follow each other."""
    rows = [row for row, *_ in values]
    part = slice(*np.searchsorted(held["context_row"], [rows[0], rows[-1] + 1]))
    places = (held["context_row"][part].astype(np.int64) - rows[0], held["place"][part])
    matrices = [
        sparse.csc_matrix((held[half][part].astype(np.float64), places), (len(rows), n_offers))
        for half in ("n_first", "n_second")
    ]
    n_orders = np.array([(n - n_half, n_half) for *_, n, n_half in values], dtype=np.int64)
    return FeatureCounts(
        name=name,
        values=[value for _, value, *_ in values],
        context_rows=rows,
        n_orders=n_orders.T,
        held=(matrices[0], matrices[1]),
    )
