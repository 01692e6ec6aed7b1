"""What one value of one context feature says about offers: a row of log-lifts over the prior.

With c orders of the value that hold the offer, and E = orders of the value × the offer's share of
all orders, the value of an entry is ln((c + k) / (E + k)): the mean of a gamma posterior whose
prior has mean 1 and strength k. How strongly to shrink, k, is estimated for each feature from the
data (empirical Bayes): customers are split into two halves, and only what the halves have in common
is taken for real. Few customers with many orders each, or a feature that says nothing, therefore
give a large k, not false lifts. On Complete Journey this finds the best k for `store`, where to
count orders as if they were independent makes matters worse than plain popularity.

A row keeps the offers with the highest smoothed chance p(o | v); absent offers have lift 0.

The groups of items (`category`, `price_band`) have rows too: their orders and pairs are added up
over the group's items, and their k is a setting, since halves of pairs are not counted.

Globals: `context.json`: `[[feature, value, n_orders], …]` sorted by feature and value; and in the
same order the sparse rows `context_*.npy` (see `rows`), where counts are c.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import literal
from builder.signals.orders import Vocabulary
from builder.signals.rows import SparseRows, open_rows, pack_rows, write_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSettings:
    """How context counts become lifts.

    Attributes:
        offers_per_value: length of a row.
        least_strength: k is never below this many expected orders.
        group_strength: k of categories and price bands, and of features that can't be estimated.
        estimate_offers: the most frequent offers, from which k is estimated.
    """

    offers_per_value: int = 256
    least_strength: float = 2.0
    group_strength: float = 20.0
    estimate_offers: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTable:
    """Rows of context values.

    Attributes:
        names: (feature, value) of each row, rising.
        n_orders: orders behind each row.
        rows: the lifts, in the same order.
    """

    names: list[tuple[str, str]]
    n_orders: list[int]
    rows: SparseRows


def learn_context(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    affinity_dirs: Sequence[Path],
    vocabulary: Vocabulary,
    settings: ContextSettings,
) -> ContextTable:
    """Lifts of all context values and item groups.

    Args:
        connection: from `builder.duck.connect`; tables are made in it.
        merged_dir: result of `merge.MergeCounts`.
        affinity_dirs: results of all `pairs.LearnAffinity` tasks.
        vocabulary: rows of items and offers.
        settings: see there.
    """
    _expect(connection, merged_dir, affinity_dirs, vocabulary)
    names = connection.execute(
        "SELECT feature, value, n_orders FROM contexts ORDER BY context_row"
    ).fetchall()
    strengths = {
        feature: _strength(connection, feature, settings)
        for feature in sorted({feature for feature, _, _ in names})
    }
    connection.execute("CREATE TEMP TABLE strengths (feature VARCHAR, k DOUBLE)")
    if strengths:
        connection.executemany("INSERT INTO strengths VALUES (?, ?)", list(strengths.items()))
    kept = connection.execute(
        f"""
        SELECT context_row, offer_row, ln((c + k) / (e + k)) AS value, c FROM expected
        JOIN contexts USING (context_row) JOIN strengths USING (feature)
        QUALIFY row_number() OVER (
            PARTITION BY context_row ORDER BY share * (c + k) / (e + k) DESC, offer_row
        ) <= {settings.offers_per_value}
        """
    ).fetchnumpy()
    return ContextTable(
        names=[(feature, value) for feature, value, _ in names],
        n_orders=[n_orders for _, _, n_orders in names],
        rows=pack_rows(
            len(names), kept["context_row"], kept["offer_row"], kept["value"], kept["c"]
        ),
    )


def write_context(table: ContextTable, out_dir: Path) -> None:
    """Write `context.json` and the sparse rows."""
    listed = [[*name, n] for name, n in zip(table.names, table.n_orders, strict=True)]
    (out_dir / "context.json").write_text(json.dumps(listed, ensure_ascii=False))
    write_rows(table.rows, out_dir, "context")


def open_context(globals_dir: Path) -> ContextTable:
    """Map what `write_context` wrote."""
    listed = json.loads((globals_dir / "context.json").read_text())
    return ContextTable(
        names=[(feature, value) for feature, value, _ in listed],
        n_orders=[n_orders for _, _, n_orders in listed],
        rows=open_rows(globals_dir, "context"),
    )


def _expect(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    affinity_dirs: Sequence[Path],
    vocabulary: Vocabulary,
) -> None:
    """Make `contexts` and `expected(context_row, offer_row, share, c, c_half, e, e_half)`."""

    def merged(table: str) -> str:
        return f"read_parquet({literal(merged_dir / f'{table}.parquet')}) AS {table}"

    groups = ", ".join(literal(path / "group_offers.parquet") for path in affinity_dirs)
    connection.execute(f"CREATE TEMP TABLE contexts AS FROM {merged('contexts')}")
    connection.execute(
        f"""
        CREATE TEMP TABLE expected AS
        SELECT context_row, offer_row, if(contexts.n_half IS NULL, unit_share, order_share)
                   AS share, seen.n_orders AS c, seen.n_half AS c_half,
               share * greatest(contexts.n_orders - coalesce(own, 0), 0) AS e,
               share * contexts.n_half AS e_half
        FROM (FROM {merged("context_offers")}
              UNION ALL
              SELECT context_row, offer_row, sum(n_units)::BIGINT, NULL
              FROM read_parquet([{groups}]) GROUP BY context_row, offer_row) AS seen
        JOIN contexts USING (context_row)
        JOIN (SELECT offer_row, (n_orders + 0.5) / (SELECT n_orders + 1 FROM {merged("totals")})
                     AS order_share,
                     (n_units + 0.5) / (SELECT n_units + 1 FROM {merged("totals")}) AS unit_share
              FROM {merged("offers")}) AS shares USING (offer_row)
        LEFT JOIN (SELECT context_row, offer_row, sum(n_units)::BIGINT AS own
                   FROM {merged("item_groups")} JOIN {merged("items")} USING (item_row)
                   JOIN read_parquet({literal(vocabulary.item_offers_path)}) AS links
                   USING (item_row) GROUP BY context_row, offer_row) AS owned
            USING (context_row, offer_row)
        """
    )


def _strength(
    connection: duckdb.DuckDBPyConnection, feature: str, settings: ContextSettings
) -> float:
    """The prior's strength k of a feature, in expected orders.

    Lifts have variance φ over values and offers. The two halves' deviations from expectation only
    share what is real, so Σ(c₁-e₁)(c₂-e₂) = φ·Σe₁e₂; what of Σ(c-e)² is left is noise, δ times
    what independent orders would give; and k = δ / φ. Offers weigh 1 / share.
    """
    values = connection.execute(
        "SELECT context_row, n_orders, n_half FROM contexts WHERE feature = ? ORDER BY context_row",
        [feature],
    ).fetchnumpy()
    if np.ma.isMaskedArray(values["n_half"]):
        return settings.group_strength
    seen = connection.execute(
        f"""
        SELECT context_row, offer_row, share, c, c_half FROM expected
        JOIN contexts USING (context_row)
        WHERE feature = ? AND offer_row IN (
            SELECT offer_row FROM expected GROUP BY offer_row
            ORDER BY max(share) DESC, offer_row LIMIT {settings.estimate_offers})
        """,
        [feature],
    ).fetchnumpy()
    return _from_halves(values, seen, settings)


def _from_halves(
    values: dict[str, NDArray[Any]], seen: dict[str, NDArray[Any]], settings: ContextSettings
) -> float:
    """See `_strength`. Pairs of value and offer never seen together count with c = 0."""
    offers, first = np.unique(seen["offer_row"], return_index=True)
    share = seen["share"][first]
    rows = np.searchsorted(values["context_row"], seen["context_row"])
    columns = np.searchsorted(offers, seen["offer_row"])
    shared = expected_shared = squares = expected_squares = expected_all = 0.0
    order = np.argsort(rows, kind="stable")
    bounds = np.searchsorted(rows[order], np.arange(len(values["context_row"]) + 1))
    for row, (start, stop) in enumerate(pairwise(bounds)):
        part = order[start:stop]
        c, c_half = np.zeros(len(offers)), np.zeros(len(offers))
        c[columns[part]], c_half[columns[part]] = seen["c"][part], seen["c_half"][part]
        e, e_half = share * values["n_orders"][row], share * values["n_half"][row]
        shared += float(((c_half - e_half) * (c - c_half - e + e_half) / share).sum())
        expected_shared += float((e_half * (e - e_half) / share).sum())
        squares += float(((c - e) ** 2 / share).sum())
        expected_squares += float((e * e / share).sum())
        expected_all += float((e / share).sum())
    if expected_shared <= 0.0:
        return settings.group_strength
    variance = max(shared / expected_shared, 1e-6)
    noise = max((squares - variance * expected_squares) / expected_all, 0.1)
    return max(noise / variance, settings.least_strength)
