"""The moments of a sample of orders: which context values hold together.

Counts of single values do not tell whether two features say the same thing twice. For that it is
enough to see the contexts of some ten thousand orders side by side; what they held is counted of
all orders.

- `CountPartition` writes `moments.parquet`: `moment_key` UBIGINT, `half` BOOLEAN, `hour_of_week`
  and `ctx_…` of the orders with the smallest keys, which are hashes.
- `MergeCounts` writes `moments.parquet`: `moment_key`, `half`, `context_row` UINTEGER, sorted: of
  the orders with the smallest keys of the whole shop, the values that are kept, and one row without
  a value for the moment itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import literal, quoted
from builder.signals.orders import CONTEXT_PREFIX, write_sorted

MOMENTS_NAME: Final = "moments.parquet"
HALF: Final = """(CASE WHEN customer_hi = 0 AND customer_lo = 0 THEN order_key
    ELSE customer_lo END >> 20) % 2 = 1"""
"""SQL: which half of the customers made an order; a guest order stands for a customer."""

Codes: TypeAlias = NDArray[np.int64]

_KEY: Final = "moment_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Sampled moments, side by side.

    Attributes:
        codes: int64, shape (n_moments, n_features): the place of the feature's value among its
            values, -1 where it has none that is kept.
        halves: int64, shape (n_moments,): 0 or 1, whose half of the customers it is from.
        times: float64, shape (n_moments,): how many orders of the shop each stands for.
    """

    codes: Codes
    halves: Codes
    times: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.halves)

    def distinct(self, features: Sequence[int]) -> Moments:
        """The same with some of the features only, and each combination of values once."""
        columns = np.column_stack([self.halves, self.codes[:, list(features)]])
        different, place = np.unique(columns, axis=0, return_inverse=True)
        times = np.zeros(len(different))
        np.add.at(times, place.ravel(), self.times)
        return Moments(codes=different[:, 1:], halves=different[:, 0], times=times)


def write_moments(
    connection: duckdb.DuckDBPyConnection, columns: Iterable[str], n_moments: int, out_dir: Path
) -> None:
    """Sample the table `orders` of `orders.load_orders`.

    Args:
        connection: that has the table.
        columns: context columns wanted, `ctx_…` and `hour_of_week`.
        n_moments: size of the sample.
        out_dir: where to.
    """
    wanted = ", ".join(quoted(column) for column in columns)
    write_sorted(
        connection,
        f"""SELECT * FROM (
                SELECT hash(customer_hi, customer_lo, order_key) AS {_KEY}, {HALF} AS half, {wanted}
                FROM orders)
            QUALIFY row_number() OVER (ORDER BY {_KEY}) <= {n_moments}""",
        [_KEY],
        out_dir / MOMENTS_NAME,
    )


def merge_moments(
    connection: duckdb.DuckDBPyConnection, count_dirs: Sequence[Path], n_moments: int, out_dir: Path
) -> None:
    """Bring the partitions' samples together as context rows.

    Args:
        connection: with the tables `spelled(feature, raw, value)` and
            `kept(context_row, feature, value)`.
        count_dirs: results of all `CountPartition` tasks.
        n_moments: size of the sample.
        out_dir: where to.
    """
    paths = ", ".join(literal(folder / MOMENTS_NAME) for folder in count_dirs)
    # A partition without orders knows no context columns.
    source = f"read_parquet([{paths}], union_by_name = true)"
    connection.execute(
        f"""CREATE TEMP TABLE chosen AS SELECT * FROM {source}
            WHERE {_KEY} IN (SELECT {_KEY} FROM {source} ORDER BY {_KEY} LIMIT {n_moments})"""
    )
    columns = [row[0] for row in connection.execute("DESCRIBE chosen").fetchall()][2:]
    connection.execute(
        f"""CREATE TEMP TABLE placed AS
            SELECT {_KEY}, half, NULL::UINTEGER AS context_row FROM chosen"""
    )
    for column in columns:
        connection.execute(
            f"""INSERT INTO placed SELECT {_KEY}, half, context_row
                FROM chosen JOIN spelled ON raw = {quoted(column)}::VARCHAR AND feature = ?
                JOIN kept USING (feature, value)""",
            [column.removeprefix(CONTEXT_PREFIX)],
        )
    write_sorted(connection, "FROM placed", [_KEY, "context_row"], out_dir / MOMENTS_NAME)


def load_moments(
    connection: duckdb.DuckDBPyConnection, merged_dir: Path, features: Sequence[Sequence[int]]
) -> Moments:
    """Read what `merge_moments` wrote.

    Args:
        connection: from `builder.duck.connect`.
        merged_dir: result of `merge.MergeCounts`.
        features: the context rows of each feature's values.
    """
    merged = literal(merged_dir / MOMENTS_NAME)
    moments = connection.execute(
        f"""SELECT {_KEY}, half, (SELECT n_orders FROM read_parquet(
                {literal(merged_dir / "totals.parquet")})) AS n_orders
            FROM read_parquet({merged}) WHERE context_row IS NULL ORDER BY {_KEY}"""
    ).fetchnumpy()
    placed = connection.execute(
        f"SELECT {_KEY}, context_row FROM read_parquet({merged}) WHERE context_row IS NOT NULL"
    ).fetchnumpy()
    n_moments = len(moments[_KEY])
    feature = np.full(max((max(rows, default=-1) for rows in features), default=-1) + 2, -1)
    code = np.full_like(feature, -1)
    for place, rows in enumerate(features):
        feature[list(rows)], code[list(rows)] = place, np.arange(len(rows))
    codes = np.full((n_moments, len(features)), -1, dtype=np.int64)
    # Rows beyond the last are of features that are not asked for; the last place stands for none.
    context_row = np.minimum(placed["context_row"].astype(np.int64), len(feature) - 1)
    known = feature[context_row] >= 0
    moment = np.searchsorted(moments[_KEY], placed[_KEY][known])
    codes[moment, feature[context_row[known]]] = code[context_row[known]]
    times = float(moments["n_orders"][0]) / n_moments if n_moments else 0.0
    return Moments(
        codes=codes,
        halves=moments["half"].astype(np.int64),
        times=np.full(n_moments, times),
    )
