"""What one partition of customers contributes: integer counts of items, offers, contexts and pairs.

Files written by `CountPartition` (Parquet, sorted by their leading columns):

- `totals.parquet`: one row: `n_orders`, `n_customers`, `n_units`, `decayed_<d>`…,
  `before_<d>`…, `n_later`, `n_half` (BIGINT).
- `items.parquet`: `item_row` UINTEGER, `n_orders`, `n_units` BIGINT: what contains the item.
- `offers.parquet`: `offer_row` UINTEGER, `n_orders`, `n_customers`, `n_units`,
  `decayed_<d>`…, `before_<d>`…, `n_later`, `n_half`.
- `contexts.parquet`: `feature`, `value` VARCHAR, `n_orders`, `n_half` BIGINT: orders with that
  value.
- `context_offers.parquet`: `feature`, `value`, `offer_row`, `n_orders`, `n_half`.
- `moments.parquet`: see `moments`.
- `pairs.parquet`: `item_row`, `offer_row`, `n_milli` BIGINT, `is_own` BOOLEAN: units that hold both
  the item and another item's offer, in thousandths; `is_own` where the offer is also the item's,
  which only sessions count.
- `sample.parquet`: `customer_hi`, `customer_lo`, `order_key`, `ts_us`, `offer_row`: the orders of
  the customers with the smallest low key halves, from which all is learned that looks at customers
  rather than counts.

`n_half` is how many of the orders are from one half of the customers, by a bit of their key.

A *unit* is what things must be in together to be a pair: an order, or where orders are of one item
(`CountSettings.pair_unit`) all that a customer ever took. In a session the order of items tells
much (`CountSettings.in_sequence`, see `sequences`).

`decayed_<d>` is the sum over orders of 2^(-age / d days) in units of 2^-20, age in whole days: an
integer, hence the same in whatever order it is added. `before_<d>` is the same as it was some days
(`CountSettings.foretold_days`) before the cut, and `n_later` the orders since then: what tells how
fast a shop forgets (`prior`). `merge` adds partitions up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import connect, quoted
from builder.signals.moments import HALF, write_moments
from builder.signals.orders import (
    CONTEXT_PREFIX,
    DAY_US,
    PURCHASE,
    Partition,
    Vocabulary,
    item_offers,
    load_orders,
    write_sorted,
)
from builder.signals.sequences import write_sequence_pairs
from builder.split import Cut

DECAY_UNIT: Final = 2**20
SAMPLE_ORDER: Final = ("customer_lo", "customer_hi", "ts_us", "order_key", "offer_row")
HOUR_OF_WEEK: Final = "hour_of_week"
CATEGORY: Final = "category"
PRICE_BAND: Final = "price_band"
PairUnit = Literal["order", "customer"]
DERIVED_FEATURES: Final = (HOUR_OF_WEEK, CATEGORY, PRICE_BAND)
"""Made from the moment and the cart; a context column of such a name does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSettings:
    """What is counted.

    Attributes:
        target_kind: the kind of event that makes an order (0 purchase, 1 view, …).
        half_lives_days: the grid of decayed counts.
        foretold_days: the last days before the cut, that what lies before them may foretell.
        pair_unit: what two things must be in to be a pair.
        in_sequence: pairs count by who comes first, and how soon.
        basket_items: at most this many items of a unit enter pairs, by a hash of unit and item; of
            a session, so many steps, the newest. Pairs grow with its square.
        sample_customers: how many customers are sampled for methods that learn from customers.
        sample_uses: and how many (order, offer) they may have together.
        context_values: of a context feature with more values than this only the most frequent are
            counted, and among equals everywhere the same: no row comes of a column of ids.
        sample_moments: how many orders are sampled to see which contexts hold together.
    """

    target_kind: int = PURCHASE
    half_lives_days: tuple[int, ...] = (2, 7, 28, 91, 364)
    foretold_days: int = 28
    pair_unit: PairUnit = "order"
    in_sequence: bool = False
    basket_items: int = 50
    sample_customers: int = 100_000
    sample_uses: int = 8_000_000
    context_values: int = 20_000
    sample_moments: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPartition:
    """The task that counts one partition's orders before a cut."""

    partition: Partition
    vocabulary: Vocabulary
    cut: Cut
    settings: CountSettings = field(default_factory=CountSettings)

    @property
    def name(self) -> str:
        return f"count-{self.partition.number:04d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            columns = load_orders(
                connection,
                self.partition,
                self.vocabulary,
                self.cut,
                target_kind=self.settings.target_kind,
            )
            _add_decay(connection, self.cut, self.settings)
            _add_units(connection, self.settings.pair_unit)
            _write_singles(connection, out_dir, self.settings.half_lives_days)
            features = _features(columns)
            _write_contexts(connection, out_dir, features, self.settings.context_values)
            write_moments(connection, features.values(), self.settings.sample_moments, out_dir)
            _write_sample(connection, out_dir, self.settings)
            own = item_offers(self.vocabulary, self.cut.until_us)
            if self.settings.in_sequence:
                write_sequence_pairs(connection, out_dir, own, self.settings.basket_items)
            else:
                _write_pairs(connection, out_dir, own, self.settings.basket_items)


def decayed_name(half_life_days: int) -> str:
    """Column that holds the counts decayed with this half-life."""
    return f"decayed_{half_life_days}"


def before_name(half_life_days: int) -> str:
    """Column that holds such counts as they were before the foretold days."""
    return f"before_{half_life_days}"


def foretold_days(span_days: int) -> int:
    """How many of a history's days shall be foretold from the others: a tenth, at most 28.

    >>> foretold_days(365), foretold_days(60), foretold_days(1)
    (28, 6, 1)
    """
    return min(max(span_days // 10, 1), 28)


def decay_table(max_age_days: int, half_life_days: int) -> NDArray[np.int64]:
    """Weight of an order by its age, in units of 1 / `DECAY_UNIT`; row i is age i days."""
    ages = np.arange(max_age_days + 1, dtype=np.float64)
    weights: NDArray[np.int64] = np.rint(DECAY_UNIT * np.exp2(-ages / half_life_days)).astype(
        np.int64
    )
    return weights


def _add_decay(connection: duckdb.DuckDBPyConnection, cut: Cut, settings: CountSettings) -> None:
    """Make `weighted_orders(order_row, decayed_…, before_…, n_later)`."""
    half_lives_days, later = settings.half_lives_days, settings.foretold_days
    age = f"(({cut.until_us} - 1 - ts_us) // {DAY_US})"
    [(oldest,)] = connection.execute(f"SELECT coalesce(max({age}), 0) FROM orders").fetchall()
    # Beyond this age every weight on the grid is zero, and the table need not grow.
    useless = 21 * max(half_lives_days, default=1)
    max_age = min(int(oldest), useless)
    ages = np.arange(max_age + 1)
    table = {"age_days": ages, "n_later": (ages < later).astype(np.int64)}
    for d in half_lives_days:
        weights = decay_table(max_age, d)
        table[decayed_name(d)] = weights
        table[before_name(d)] = np.where(ages < later, 0, weights[np.maximum(ages - later, 0)])
    connection.register("decay", table)
    connection.execute(
        f"""
        CREATE TEMP TABLE weighted_orders AS
        SELECT order_row, decay.* EXCLUDE (age_days)
        FROM orders JOIN decay ON age_days = least({age}, {max_age})
        """
    )
    connection.unregister("decay")


def _add_units(connection: duckdb.DuckDBPyConnection, unit: PairUnit) -> None:
    """Make `units(order_row, unit_key)`; a guest's order is a unit of its own."""
    order = "hash(customer_hi, customer_lo, order_key)"
    owner = f"""CASE WHEN customer_hi = 0 AND customer_lo = 0 THEN {order}
        ELSE hash(customer_hi, customer_lo) END"""
    connection.execute(
        f"""CREATE TEMP TABLE units AS
            SELECT order_row, {owner if unit == "customer" else order} AS unit_key FROM orders"""
    )


def _write_singles(
    connection: duckdb.DuckDBPyConnection, out_dir: Path, half_lives_days: tuple[int, ...]
) -> None:
    names = [*map(decayed_name, half_lives_days), *map(before_name, half_lives_days), "n_later"]
    sums = "".join(f", coalesce(sum({n}), 0)::BIGINT AS {n}" for n in names)
    sums += f", count(*) FILTER ({HALF}) AS n_half"
    # A guest order is a customer of its own.
    customers = """count(DISTINCT CASE WHEN customer_hi = 0 AND customer_lo = 0
        THEN (order_key, 0::UBIGINT, true) ELSE (customer_hi, customer_lo, false) END)"""
    write_sorted(
        connection,
        f"SELECT count(*) AS n_orders, {customers} AS n_customers,"
        f" count(DISTINCT unit_key) AS n_units {sums}"
        " FROM orders JOIN weighted_orders USING (order_row) JOIN units USING (order_row)",
        ["n_orders"],
        out_dir / "totals.parquet",
    )
    write_sorted(
        connection,
        """SELECT item_row, count(*) AS n_orders, count(DISTINCT unit_key) AS n_units
           FROM basket_items JOIN units USING (order_row) GROUP BY item_row""",
        ["item_row"],
        out_dir / "items.parquet",
    )
    write_sorted(
        connection,
        f"""SELECT offer_row, count(*) AS n_orders, {customers} AS n_customers,
                   count(DISTINCT unit_key) AS n_units {sums}
            FROM basket_offers JOIN orders USING (order_row)
            JOIN weighted_orders USING (order_row) JOIN units USING (order_row)
            GROUP BY offer_row""",
        ["offer_row"],
        out_dir / "offers.parquet",
    )


def _features(context_columns: list[str]) -> dict[str, str]:
    """Column of each context feature of an order."""
    features = {c.removeprefix(CONTEXT_PREFIX): c for c in context_columns}
    features = {name: c for name, c in features.items() if name not in DERIVED_FEATURES}
    return features | {HOUR_OF_WEEK: HOUR_OF_WEEK}


def _write_contexts(
    connection: duckdb.DuckDBPyConnection,
    out_dir: Path,
    features: dict[str, str],
    values_per_feature: int,
) -> None:
    connection.execute(
        "CREATE TEMP TABLE order_context"
        " (order_row UINTEGER, feature VARCHAR, value VARCHAR, half BOOLEAN)"
    )
    for feature, column in features.items():
        connection.execute(
            f"""INSERT INTO order_context
                SELECT order_row, ?, value, half FROM (
                    SELECT order_row, {quoted(column)}::VARCHAR AS value, {HALF} AS half
                    FROM orders WHERE {quoted(column)} IS NOT NULL)
                SEMI JOIN (
                    SELECT {quoted(column)}::VARCHAR AS value FROM orders GROUP BY value
                    QUALIFY row_number() OVER (ORDER BY count(*) DESC, hash(value), value)
                        <= {values_per_feature}) USING (value)""",
            [feature],
        )
    keys = ["feature", "value"]
    sums = "count(*) AS n_orders, count_if(half) AS n_half"
    write_sorted(
        connection,
        f"SELECT feature, value, {sums} FROM order_context GROUP BY feature, value",
        keys,
        out_dir / "contexts.parquet",
    )
    write_sorted(
        connection,
        f"""SELECT feature, value, offer_row, {sums}
           FROM order_context JOIN basket_offers USING (order_row) GROUP BY ALL""",
        [*keys, "offer_row"],
        out_dir / "context_offers.parquet",
    )


def _write_sample(
    connection: duckdb.DuckDBPyConnection, out_dir: Path, settings: CountSettings
) -> None:
    connection.execute(
        """
        CREATE TEMP VIEW uses AS SELECT customer_hi, customer_lo, order_key, ts_us, offer_row
        FROM orders JOIN basket_offers USING (order_row) WHERE customer_hi != 0 OR customer_lo != 0
        """
    )
    write_sorted(
        connection,
        sampled("uses", settings.sample_customers, settings.sample_uses),
        SAMPLE_ORDER,
        out_dir / "sample.parquet",
    )


def sampled(uses: str, customers: int, n_uses: int) -> str:
    """SQL for the uses of the customers with the smallest low key halves, within both limits.

    Of the parts of a shop together it takes the same customers as of the whole.
    """
    return f"""
        SELECT uses.* FROM {uses} AS uses SEMI JOIN (
            SELECT customer_hi, customer_lo
            FROM (SELECT customer_hi, customer_lo, count(*) AS n FROM {uses} GROUP BY ALL)
            WINDOW by_key AS (ORDER BY customer_lo, customer_hi)
            QUALIFY row_number() OVER by_key <= {customers}
                AND (sum(n) OVER by_key <= {n_uses} OR row_number() OVER by_key = 1)
        ) AS chosen USING (customer_hi, customer_lo)"""


def _write_pairs(
    connection: duckdb.DuckDBPyConnection, out_dir: Path, own: str, basket_items: int
) -> None:
    connection.execute(
        f"""
        CREATE TEMP TABLE capped AS
        SELECT DISTINCT unit_key, item_row FROM basket_items JOIN units USING (order_row)
        QUALIFY dense_rank() OVER (PARTITION BY unit_key
            ORDER BY hash(unit_key, item_row), item_row) <= {basket_items}
        """
    )
    connection.execute(
        f"""CREATE TEMP TABLE capped_offers AS
            SELECT DISTINCT unit_key, offer_row FROM capped JOIN {own} USING (item_row)"""
    )
    write_sorted(
        connection,
        f"""SELECT item_row, offer_row, 1000 * count(*) AS n_milli, false AS is_own
            FROM capped JOIN capped_offers USING (unit_key)
            ANTI JOIN {own} AS own USING (item_row, offer_row)
            GROUP BY item_row, offer_row""",
        ["item_row", "offer_row"],
        out_dir / "pairs.parquet",
    )
