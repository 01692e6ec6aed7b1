"""Adds up pair counts, one range of items at a time, and keeps what affinity and groups need.

Files written by `LearnAffinity` (Parquet, sorted by their leading columns):

- `affinity.parquet`: `item_row`, `offer_row` UINTEGER, `value` DOUBLE, `n_units` BIGINT: the top
  offers of each item (see `affinity` for the value).
- `links.parquet`: `item_row`, `offer_row`, `n_units`: the pairs that are the least likely to be
  chance, from which vectors are made.
- `group_offers.parquet`: `context_row`, `offer_row`, `n_units`: the range's pairs added up over
  the items of each group (`merge`: `item_groups.parquet`), for the shop's most frequent offers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import duckdb

from builder.duck import connect, literal
from builder.signals.affinity import AffinitySettings
from builder.signals.orders import write_sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnAffinity:
    """The task that learns the affinity rows of a range of items.

    Attributes:
        label: tells the cuts of one build apart in the task's name.
        first_item: first item row of the range.
        stop_item: first item row after it.
        count_dirs: results of all `CountPartition` tasks of one cut.
        merged_dir: result of their `MergeCounts`.
        settings: how a count becomes a value, and how many are kept.
    """

    label: str
    first_item: int
    stop_item: int
    count_dirs: tuple[Path, ...]
    merged_dir: Path
    settings: AffinitySettings = field(default_factory=AffinitySettings)

    @property
    def name(self) -> str:
        return f"affinity-{self.label}-{self.first_item:09d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            self._add_up(connection)
            self._write_rows(connection, out_dir)
            write_sorted(
                connection,
                f"""SELECT context_row, offer_row, ceil(sum(n_units))::BIGINT AS n_units
                    FROM pairs JOIN {self._merged("item_groups")} USING (item_row)
                    WHERE NOT is_own AND offer_row IN (
                        SELECT offer_row FROM {self._merged("offers")}
                        ORDER BY n_units DESC, offer_row LIMIT {self.settings.group_offers})
                    GROUP BY context_row, offer_row""",
                ["context_row", "offer_row"],
                out_dir / "group_offers.parquet",
            )

    def _add_up(self, connection: duckdb.DuckDBPyConnection) -> None:
        paths = ", ".join(literal(path / "pairs.parquet") for path in self.count_dirs)
        connection.execute(
            f"""
            CREATE TEMP TABLE pairs AS
            SELECT item_row, offer_row, is_own, sum(n_milli) / 1000.0 AS n_units
            FROM read_parquet([{paths}])
            WHERE item_row >= {self.first_item} AND item_row < {self.stop_item}
            GROUP BY item_row, offer_row, is_own
            """
        )

    def _write_rows(self, connection: duckdb.DuckDBPyConnection, out_dir: Path) -> None:
        s = self.settings
        connection.execute(
            f"""
            CREATE TEMP VIEW judged AS
            SELECT item_row, offer_row, is_own, c AS n_units, share,
                   {s.trust} * c / (n + {s.shrinkage_orders}) AS together,
                   c * ln(c / (share * n)) AS surprise
            FROM (SELECT item_row, offer_row, is_own, pairs.n_units AS c, i.n_units AS n,
                         (o.n_units + 0.5) / (t.n_units + 1) AS share
                  FROM pairs JOIN {self._merged("items")} AS i USING (item_row)
                  JOIN {self._merged("offers")} AS o USING (offer_row)
                  CROSS JOIN {self._merged("totals")} AS t)
            WHERE c > 1 OR n < {s.single_below_orders}
            """
        )
        rank = "row_number() OVER (PARTITION BY item_row ORDER BY"
        keys = ["item_row", "offer_row"]
        write_sorted(
            connection,
            f"""SELECT item_row, offer_row, ln(1 + together / share) AS value,
                       ceil(n_units)::BIGINT AS n_units FROM judged
                QUALIFY {rank} share + together DESC, offer_row) <= {s.offers_per_item}""",
            keys,
            out_dir / "affinity.parquet",
        )
        write_sorted(
            connection,
            f"""SELECT item_row, offer_row, ceil(n_units)::BIGINT AS n_units
                FROM judged WHERE surprise > 0 AND NOT is_own
                QUALIFY {rank} surprise DESC, offer_row) <= {s.links_per_item}""",
            keys,
            out_dir / "links.parquet",
        )

    def _merged(self, table: str) -> str:
        return f"read_parquet({literal(self.merged_dir / f'{table}.parquet')})"


def item_ranges(n_items: int, n_ranges: int) -> list[tuple[int, int]]:
    """Split item rows into 1 to `n_ranges` ranges (first, stop) of similar length.

    >>> item_ranges(5, 2)
    [(0, 2), (2, 5)]
    """
    bounds = [n_items * i // n_ranges for i in range(n_ranges + 1)]
    return [(first, stop) for first, stop in pairwise(bounds) if first < stop] or [(0, 0)]
