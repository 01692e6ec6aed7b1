"""Adds up what the partitions counted, except pairs: the small aggregates of a whole shop.

Files written by `MergeCounts`, with the columns described in `counts`: `totals.parquet`,
`items.parquet`, `offers.parquet`, `contexts.parquet`, `context_offers.parquet`, `moments.parquet`,
`sample.parquet`; and what a cart's items say beyond themselves:

- `item_groups.parquet`: `item_row`, `context_row`: an item stands once per level of its category
  path and once for its price band.
- `price_edges.npy`: int64, rising bounds between price bands in hundredths
  (`index.context.price_edges`).

`contexts.parquet` has these groups too, as features `category` and `price_band`; their `n_orders`
adds up the units (`counts`) of their items and their `n_half` is NULL. It numbers all values as
`context_row`, by feature and value, and `context_offers.parquet` has that number in their place.
All hours of the week are values, also those in which nothing was ordered.
Values are spelled as requests will be read (`index.eligibility.normal_value`), and a feature keeps
only its most frequent values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from builder.duck import connect, literal
from builder.signals.counts import (
    CATEGORY,
    HOUR_OF_WEEK,
    PRICE_BAND,
    SAMPLE_ORDER,
    CountSettings,
    sampled,
)
from builder.signals.moments import merge_moments
from builder.signals.orders import Vocabulary, write_sorted
from index.context import CATEGORY_SEPARATOR, HOURS, price_edges
from index.eligibility import normal_value

_SPELLINGS: Final = 10
"""In how many spellings a value may come and still surely be counted in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeCounts:
    """The task that adds the partitions' counts.

    Attributes:
        label: tells the cuts of one build apart in the task's name.
        count_dirs: results of all `CountPartition` tasks of one cut.
        vocabulary: rows of items and offers.
        counts: what was counted, and how large the sample of customers may be.
        values_per_feature: a context feature keeps this many values, those with most orders.
        value_min_orders: a context value seen in fewer orders is left out.
    """

    label: str
    count_dirs: tuple[Path, ...]
    vocabulary: Vocabulary
    counts: CountSettings = field(default_factory=CountSettings)
    values_per_feature: int = 1000
    value_min_orders: int = 20

    @property
    def name(self) -> str:
        return f"merge-{self.label}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            write_sorted(
                connection,
                f"SELECT sum(COLUMNS(*))::BIGINT FROM {_all(self.count_dirs, 'totals')}",
                ["ALL"],
                out_dir / "totals.parquet",
            )
            for table, key in (("items", "item_row"), ("offers", "offer_row")):
                write_sorted(
                    connection,
                    f"SELECT {key}, sum(COLUMNS(* EXCLUDE ({key})))::BIGINT"
                    f" FROM {_all(self.count_dirs, table)} GROUP BY {key}",
                    [key],
                    out_dir / f"{table}.parquet",
                )
            self._merge_sample(connection, out_dir)
            self._spell_contexts(connection)
            _add_hours(connection)
            self._group_items(connection, out_dir)
            self._write_contexts(connection, out_dir)
            merge_moments(connection, self.count_dirs, self.counts.sample_moments, out_dir)

    def _spell_contexts(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make `spelled(feature, raw, value)` and `seen(feature, value, n_orders, n_half)`."""
        contexts = _all(self.count_dirs, "contexts")
        # Most spellings of a column of ids are of one order; they would only cost time.
        raw = connection.execute(
            f"""SELECT feature, value FROM {contexts} GROUP BY feature, value
                HAVING sum(n_orders) * {_SPELLINGS} >= {self.value_min_orders}"""
        ).fetchall()
        connection.execute(
            "CREATE TEMP TABLE spelled (feature VARCHAR, raw VARCHAR, value VARCHAR)"
        )
        _insert(connection, "spelled", [(name, text, normal_value(text)) for name, text in raw])
        connection.execute(
            f"""
            CREATE TEMP TABLE seen AS
            SELECT c.feature, s.value, sum(n_orders)::BIGINT AS n_orders,
                   sum(n_half)::BIGINT AS n_half
            FROM {contexts} c JOIN spelled s ON c.feature = s.feature AND c.value = s.raw
            GROUP BY c.feature, s.value
            """
        )

    def _group_items(self, connection: duckdb.DuckDBPyConnection, out_dir: Path) -> None:
        """Write `item_groups.parquet` and the price edges; add the groups to `seen`."""
        sold = connection.execute(
            f"""SELECT item_row, category, price_cents
                FROM read_parquet({literal(self.vocabulary.items_path)}) AS items
                SEMI JOIN read_parquet({literal(out_dir / "items.parquet")}) AS sold
                USING (item_row)
                ORDER BY item_row"""
        ).fetchall()
        edges = price_edges([price for _, _, price in sold if price is not None])
        np.save(out_dir / "price_edges.npy", np.array(edges, dtype=np.int64))
        groups = [
            (item_row, feature, value)
            for item_row, category, price_cents in sold
            for feature, value in item_groups(category, price_cents, edges)
        ]
        connection.execute(
            "CREATE TEMP TABLE groups (item_row UINTEGER, feature VARCHAR, value VARCHAR)"
        )
        _insert(connection, "groups", groups)
        connection.execute(
            f"""
            INSERT INTO seen SELECT feature, value, sum(n_units)::BIGINT, NULL
            FROM groups JOIN read_parquet({literal(out_dir / "items.parquet")}) USING (item_row)
            GROUP BY feature, value
            """
        )

    def _write_contexts(self, connection: duckdb.DuckDBPyConnection, out_dir: Path) -> None:
        connection.execute(
            f"""
            CREATE TEMP TABLE kept AS
            SELECT (row_number() OVER (ORDER BY feature, value) - 1)::UINTEGER AS context_row, *
            FROM (FROM seen WHERE n_orders >= {self.value_min_orders}
                  OR feature = '{HOUR_OF_WEEK}'
                  QUALIFY row_number() OVER (PARTITION BY feature ORDER BY n_orders DESC, value)
                      <= {self.values_per_feature})
            """
        )
        write_sorted(
            connection, "SELECT * FROM kept", ["context_row"], out_dir / "contexts.parquet"
        )
        write_sorted(
            connection,
            "SELECT item_row, context_row FROM groups JOIN kept USING (feature, value)",
            ["item_row", "context_row"],
            out_dir / "item_groups.parquet",
        )
        write_sorted(
            connection,
            f"""SELECT context_row, offer_row, sum(c.n_orders)::BIGINT AS n_orders,
                       sum(c.n_half)::BIGINT AS n_half
                FROM {_all(self.count_dirs, "context_offers")} c
                JOIN spelled s ON c.feature = s.feature AND c.value = s.raw
                JOIN kept ON kept.feature = s.feature AND kept.value = s.value
                GROUP BY context_row, offer_row""",
            ["context_row", "offer_row"],
            out_dir / "context_offers.parquet",
        )

    def _merge_sample(self, connection: duckdb.DuckDBPyConnection, out_dir: Path) -> None:
        sample = _all(self.count_dirs, "sample")
        write_sorted(
            connection,
            sampled(sample, self.counts.sample_customers, self.counts.sample_uses),
            SAMPLE_ORDER,
            out_dir / "sample.parquet",
        )


def item_groups(
    category: str | None, price_cents: int | None, edges: Sequence[int]
) -> list[tuple[str, str]]:
    """The (feature, value) groups an item stands in.

    >>> item_groups("Grocery > Bread", 250, (100, 300))
    [('category', 'grocery'), ('category', 'grocery > bread'), ('price_band', '1')]
    """
    levels = normal_value(category).split(CATEGORY_SEPARATOR) if category else []
    depths = range(1, len(levels) + 1)
    groups = [(CATEGORY, CATEGORY_SEPARATOR.join(levels[:depth])) for depth in depths]
    if price_cents is not None and edges:
        groups.append((PRICE_BAND, str(bisect_right(edges, price_cents))))
    return groups


def _add_hours(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the hours in which nothing was ordered to `seen`, where any hour is known.

    Requests come at any hour, and files often know days only: what is learned of a day, or a part
    of it, has to reach all of its hours.
    """
    connection.execute(
        f"""
        INSERT INTO seen SELECT '{HOUR_OF_WEEK}', hour::VARCHAR, 0, 0 FROM range({HOURS}) AS r(hour)
        WHERE EXISTS (FROM seen WHERE feature = '{HOUR_OF_WEEK}')
            AND hour::VARCHAR NOT IN (SELECT value FROM seen WHERE feature = '{HOUR_OF_WEEK}')
        """
    )


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[object, ...]]
) -> None:
    """Append Python rows to a table, by columns: row by row would be slow."""
    if rows:
        columns = {
            f"c{i}": np.array(column, dtype=object)
            for i, column in enumerate(zip(*rows, strict=True))
        }
        connection.register("appended", columns)
        connection.execute(f"INSERT INTO {table} SELECT * FROM appended")
        connection.unregister("appended")


def _all(dirs: Sequence[Path], table: str) -> str:
    """One table of all folders as an SQL source."""
    return f"read_parquet([{', '.join(literal(d / f'{table}.parquet') for d in dirs)}])"
