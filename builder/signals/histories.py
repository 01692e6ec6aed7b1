"""What customers ordered before a cut, as flat arrays: customers, their orders, their offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.signals.orders import DAY_US

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KNOWN: Final = "(customer_hi != 0 OR customer_lo != 0)"
"""SQL: whose key is not a guest's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """Customers by rising key; guests have none.

    An *entry* is one (customer, offer); entries rise by customer, then offer. A *use* is one order
    of an entry. All `…_starts` have one element more than what they divide.

    Attributes:
        key_hi, key_lo: uint64, shape (n_customers,), big-endian halves of the key.
        last_us: int64, shape (n_customers,), time of the last order.
        order_starts: orders of each customer, most recent first.
        order_age_days: float64, age of each order at the cut, fractional, at least 0.
        entry_starts: entries of each customer.
        entry_offer: offer row of each entry.
        use_starts: uses of each entry, most recent first.
        use_order: index of the order of each use.
    """

    key_hi: NDArray[np.uint64]
    key_lo: NDArray[np.uint64]
    last_us: Ints
    order_starts: Ints
    order_age_days: Floats
    entry_starts: Ints
    entry_offer: Ints
    use_starts: Ints
    use_order: Ints

    def __len__(self) -> int:
        return len(self.key_hi)

    @property
    def n_orders(self) -> Ints:
        """Orders of each customer."""
        return np.diff(self.order_starts)

    @property
    def order_rank(self) -> Ints:
        """How many of its customer's orders came after each order; 0 for the last one."""
        return np.arange(len(self.order_age_days)) - np.repeat(
            self.order_starts[:-1], self.n_orders
        )

    def key(self, customer: int) -> bytes:
        """The 16-byte table key of one customer."""
        hi, lo = int(self.key_hi[customer]), int(self.key_lo[customer])
        return hi.to_bytes(8, "big") + lo.to_bytes(8, "big")

    def part(self, first: int, stop: int) -> Histories:
        """Customers `first` to `stop` (exclusive) alone."""
        orders = slice(int(self.order_starts[first]), int(self.order_starts[stop]))
        entries = slice(int(self.entry_starts[first]), int(self.entry_starts[stop]))
        uses = slice(int(self.use_starts[entries.start]), int(self.use_starts[entries.stop]))
        return Histories(
            key_hi=self.key_hi[first:stop],
            key_lo=self.key_lo[first:stop],
            last_us=self.last_us[first:stop],
            order_starts=self.order_starts[first : stop + 1] - orders.start,
            order_age_days=self.order_age_days[orders],
            entry_starts=self.entry_starts[first : stop + 1] - entries.start,
            entry_offer=self.entry_offer[entries],
            use_starts=self.use_starts[entries.start : entries.stop + 1] - uses.start,
            use_order=self.use_order[uses] - orders.start,
        )


def load_histories(
    connection: duckdb.DuckDBPyConnection, until_us: int, customers: str | None = None
) -> Histories:
    """Arrays from the tables of `orders.load_orders`.

    Args:
        connection: holds `orders` and `basket_offers`.
        until_us: the moment, from which ages are told; later orders are not seen.
        customers: name of a table (customer_hi, customer_lo); None for all.
    """
    only = f"SEMI JOIN {customers} USING (customer_hi, customer_lo)" if customers else ""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE ranked AS
        SELECT order_row, customer_hi, customer_lo, ts_us,
               row_number() OVER (ORDER BY customer_hi, customer_lo, ts_us DESC, order_key) - 1
                   AS place,
               dense_rank() OVER (ORDER BY customer_hi, customer_lo) - 1 AS customer
        FROM (FROM orders {only} WHERE {KNOWN} AND ts_us < {until_us})
        """
    )
    orders = connection.execute(
        "SELECT customer, customer_hi, customer_lo, ts_us FROM ranked ORDER BY place"
    ).fetchnumpy()
    uses = connection.execute(
        """SELECT customer, offer_row, place FROM basket_offers JOIN ranked USING (order_row)
           ORDER BY customer, offer_row, place"""
    ).fetchnumpy()
    return _arrange(orders, uses, until_us)


def _arrange(
    orders: dict[str, NDArray[np.int64]], uses: dict[str, NDArray[np.int64]], until_us: int
) -> Histories:
    order_customer = orders["customer"].astype(np.int64)
    n_customers = int(order_customer[-1]) + 1 if len(order_customer) else 0
    order_starts = np.searchsorted(order_customer, np.arange(n_customers + 1))
    use_customer, use_offer = uses["customer"].astype(np.int64), uses["offer_row"].astype(np.int64)
    is_first = np.ones(len(use_customer), dtype=np.bool_)
    is_first[1:] = (np.diff(use_customer) != 0) | (np.diff(use_offer) != 0)
    entry_first = np.flatnonzero(is_first)
    return Histories(
        key_hi=orders["customer_hi"][order_starts[:-1]].astype(np.uint64),
        key_lo=orders["customer_lo"][order_starts[:-1]].astype(np.uint64),
        last_us=orders["ts_us"][order_starts[:-1]].astype(np.int64),
        order_starts=order_starts,
        order_age_days=np.maximum(until_us - orders["ts_us"], 0) / DAY_US,
        entry_starts=np.searchsorted(use_customer[entry_first], np.arange(n_customers + 1)),
        entry_offer=use_offer[entry_first],
        use_starts=np.append(entry_first, len(use_offer)).astype(np.int64),
        use_order=uses["place"].astype(np.int64),
    )


def range_sums(values: Floats, starts: Ints) -> Floats:
    """Sums of the ranges between starts, each as if it stood alone; 0 for an empty one.

    >>> range_sums(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 2, 3])).tolist()
    [3.0, 0.0, 4.0]
    """
    sums = np.zeros(len(starts) - 1)
    filled = starts[1:] > starts[:-1]
    if filled.any():
        sums[filled] = np.add.reduceat(values, starts[:-1][filled])
    return sums
