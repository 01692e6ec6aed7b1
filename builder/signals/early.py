"""Early orders as questions: what settings of collaborative methods are judged by.

Settings are chosen on orders that are older than the ones weights are learned on, so that nothing
is judged twice by the same orders. The sampled customers' orders (`counts`: `sample.parquet`) are
cut once more, where the last part of them begins: what lies before it teaches, and a customer's
first order after it asks which offers new to them it holds. Where hardly any customer has orders on
both sides, each customer's last order asks instead.

Files written by `SplitEarly` (Parquet): `sample.parquet` as in `counts`, what teaches; and
`wanted.parquet`: `customer_hi`, `customer_lo`, `offer_row`, by low key half.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from builder.duck import connect, literal
from builder.signals.counts import SAMPLE_ORDER
from builder.signals.orders import write_sorted

WANTED_NAME: Final = "wanted.parquet"
LEAST_CASES: Final = 50
"""With fewer cases in time customers' last orders ask, and with fewer of these nothing is asked."""

_TEACHING_SHARE: Final = 0.85
_WANTED_ORDER: Final = ("customer_lo", "customer_hi", "offer_row")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEarly:
    """The task that makes questions of early orders.

    Attributes:
        merged_dir: result of `merge.MergeCounts`.
        cases: at most this many customers are asked about, those with the smallest low key halves.
    """

    merged_dir: Path
    cases: int

    @property
    def name(self) -> str:
        return "early"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            connection.execute(
                f"""CREATE TEMP TABLE uses AS
                    FROM read_parquet({literal(self.merged_dir / "sample.parquet")})"""
            )
            connection.execute(
                """CREATE TEMP TABLE orders AS
                   SELECT DISTINCT customer_hi, customer_lo, order_key, ts_us FROM uses"""
            )
            if _choose_in_time(connection) < LEAST_CASES:
                _choose_last(connection)
            write_sorted(
                connection,
                f"""SELECT customer_hi, customer_lo, offer_row FROM wanted SEMI JOIN (
                        SELECT DISTINCT customer_hi, customer_lo FROM wanted
                        ORDER BY customer_lo, customer_hi LIMIT {self.cases})
                    USING (customer_hi, customer_lo)""",
                _WANTED_ORDER,
                out_dir / WANTED_NAME,
            )
            write_sorted(
                connection,
                """SELECT uses.* FROM uses
                   SEMI JOIN teaching USING (customer_hi, customer_lo, order_key)""",
                SAMPLE_ORDER,
                out_dir / "sample.parquet",
            )


def _choose_in_time(connection: duckdb.DuckDBPyConnection) -> int:
    """Cut at a moment; how many customers are asked about."""
    [(moment_us,)] = connection.execute(
        f"SELECT coalesce(quantile_disc(ts_us, {_TEACHING_SHARE}), 0) FROM orders"
    ).fetchall()
    return _choose(
        connection,
        teaching=f"FROM orders WHERE ts_us < {moment_us}",
        asking=f"""FROM orders WHERE ts_us >= {moment_us}
            QUALIFY row_number() OVER (PARTITION BY customer_hi, customer_lo
                ORDER BY ts_us, order_key) = 1""",
    )


def _choose_last(connection: duckdb.DuckDBPyConnection) -> int:
    """Let each customer's last order ask; how many customers are asked about."""
    place = """row_number() OVER (PARTITION BY customer_hi, customer_lo
        ORDER BY ts_us DESC, order_key DESC)"""
    return _choose(
        connection,
        teaching=f"FROM orders QUALIFY {place} > 1",
        asking=f"FROM orders QUALIFY {place} = 1",
    )


def _choose(connection: duckdb.DuckDBPyConnection, *, teaching: str, asking: str) -> int:
    """Make `teaching` (orders) and `wanted(customer_hi, customer_lo, offer_row)`."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE teaching AS {teaching}")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE wanted AS
            WITH taken AS (SELECT DISTINCT customer_hi, customer_lo, offer_row FROM uses
                           SEMI JOIN teaching USING (customer_hi, customer_lo, order_key))
            SELECT DISTINCT customer_hi, customer_lo, offer_row
            FROM uses SEMI JOIN ({asking}) USING (customer_hi, customer_lo, order_key)
            SEMI JOIN taken USING (customer_hi, customer_lo)
            ANTI JOIN taken USING (customer_hi, customer_lo, offer_row)"""
    )
    [(n_cases,)] = connection.execute(
        "SELECT count(DISTINCT (customer_hi, customer_lo)) FROM wanted"
    ).fetchall()
    return int(n_cases)
