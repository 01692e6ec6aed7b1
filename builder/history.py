"""The past of a bounded sample of customers, as the arrays that baselines learn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from builder.baselines.data import RECENT_DAYS, UNKNOWN, ContextColumn, History, make_history
from builder.duck import connect, literal, quoted
from builder.metrics import Ints
from builder.signals.orders import (
    CONTEXT_PREFIX,
    DAY_US,
    Partition,
    Vocabulary,
    item_offers,
    load_orders,
)
from builder.split import Cut

_TOP_LEVEL: Final = ">"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A history and who its customers are.

    Attributes:
        history: what baselines learn from.
        customers: dense index of each table key.
    """

    history: History
    customers: Mapping[bytes, int]

    def index_of(self, key: bytes | None) -> int:
        """Dense index of a customer, -1 for one the history does not know."""
        return UNKNOWN if key is None else self.customers.get(key, UNKNOWN)

    def offers_of(self, key: bytes | None) -> Ints:
        """What a customer took, with repetitions: int64 offer rows, empty for an unknown one."""
        index = self.index_of(key)
        if index == UNKNOWN:
            return np.empty(0, dtype=np.int64)
        start, stop = np.searchsorted(self.history.customer, [index, index + 1])
        taken: Ints = self.history.offer_row[start:stop]
        known: Ints = taken[taken != UNKNOWN]
        return known

    def n_orders_of(self, keys: Sequence[bytes | None]) -> Ints:
        """How many orders each of the customers made: int64, shape (n,), 0 for unknown ones."""
        customer = self.history.customer[np.unique(self.history.order, return_index=True)[1]]
        n_orders = np.bincount(customer[customer >= 0], minlength=self.history.n_customers)
        # The unknown index, -1, takes the zero at the end.
        index = np.array([self.index_of(key) for key in keys], dtype=np.int64)
        return np.append(n_orders, 0)[index]


def load_past(
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    *,
    n_items: int,
    n_offers: int,
    target_kind: int,
    asked: Collection[bytes],
    max_others: int,
    memory_bytes: int,
    temp_dir: Path,
) -> Past:
    """Load the past of those who are asked for, of a sample of others, and all popularity.

    Args:
        partitions: all customer partitions.
        vocabulary: rows of items and offers.
        cut: what may be seen.
        n_items: items of the vocabulary.
        n_offers: offers of the vocabulary.
        target_kind: kind of event that makes an order.
        asked: keys of customers whose past must be in: a method that knows less of them than the
            tables do would lose for that alone.
        max_others: at most about this many, those with the smallest low key halves.
        memory_bytes: for DuckDB.
        temp_dir: where it may spill.
    """
    limit = -(-max_others // max(len(partitions), 1))
    keys = _key_table(asked)
    loaded = _Loaded()
    popularity = np.zeros(n_offers, dtype=np.int64)
    recent = np.zeros(n_offers, dtype=np.int64)
    for partition in partitions:
        with connect(memory_bytes, temp_dir) as connection:
            columns = load_orders(connection, partition, vocabulary, cut, target_kind=target_kind)
            since_us = cut.until_us - RECENT_DAYS * DAY_US
            counts = connection.execute(
                f"""SELECT offer_row, count(*) AS n, count(*) FILTER (ts_us >= {since_us}) AS late
                    FROM basket_offers JOIN orders USING (order_row) GROUP BY offer_row"""
            ).fetchnumpy()
            rows = np.asarray(counts["offer_row"], dtype=np.int64)
            popularity[rows] += np.asarray(counts["n"], dtype=np.int64)
            recent[rows] += np.asarray(counts["late"], dtype=np.int64)
            connection.register("asked", keys)
            own = item_offers(vocabulary, cut.until_us)
            connection.execute(_chosen(columns, limit))
            orders = connection.execute("FROM chosen ORDER BY order_row").fetchnumpy()
            loaded.add(orders, connection.execute(_lines(own)).fetchnumpy(), columns)
    with connect(memory_bytes, temp_dir) as connection:
        categories = connection.execute(
            f"""SELECT item_row, trim(split_part(coalesce(category, ''), '{_TOP_LEVEL}', 1))
                FROM read_parquet({literal(vocabulary.items_path)}) ORDER BY item_row"""
        ).fetchall()
    tops = [""] * n_items
    for item_row, top in categories:
        tops[item_row] = top
    history = loaded.history(_codes(tops), n_offers)
    return Past(
        history=replace(history, popularity=popularity, recent_popularity=recent),
        customers=loaded.customers,
    )


class _Loaded:
    """Lines of partitions as they come; customers and values are numbered as they appear."""

    def __init__(self) -> None:
        self.customers: dict[bytes, int] = {}
        self._parts: list[dict[str, Ints]] = []
        self._values: dict[str, dict[str, int]] = {}
        self._n_orders = 0

    def add(self, orders: dict[str, Any], lines: dict[str, Any], columns: Sequence[str]) -> None:
        """Take in orders, and lines that name them; an order's facts are told once."""
        # Only some of the partition's orders are here, rising: a line's order has a place in them.
        order_row = np.asarray(orders["order_row"], dtype=np.int64)
        order = np.searchsorted(order_row, np.asarray(lines["order_row"], dtype=np.int64))
        part = {
            "customer": self._customers(orders["customer_hi"], orders["customer_lo"])[order],
            "order": order + self._n_orders,
        }
        for name in ("ts_us", "hour_of_week"):
            part[name] = np.asarray(orders[name], dtype=np.int64)[order]
        for name in ("item_row", "offer_row"):
            part[name] = np.asarray(lines[name], dtype=np.int64)
        for column in columns:
            part[column] = self._coded(column, orders[column])[order]
        self._n_orders += order_row.size
        self._parts.append(part)

    def history(self, item_category: Ints, n_offers: int) -> History:
        def whole(name: str) -> Ints:
            missing = [
                part.get(name, np.full(part["order"].size, UNKNOWN, dtype=np.int64))
                for part in self._parts
            ]
            return np.concatenate(missing) if missing else np.empty(0, dtype=np.int64)

        context = {
            column.removeprefix(CONTEXT_PREFIX): ContextColumn(
                values=tuple(values), codes=whole(column)
            )
            for column, values in sorted(self._values.items())
        }
        return make_history(
            customer=whole("customer"),
            order=whole("order"),
            ts_us=whole("ts_us"),
            offer_row=whole("offer_row"),
            item_row=whole("item_row"),
            hour_of_week=whole("hour_of_week"),
            context=context,
            item_category=item_category,
            n_customers=len(self.customers),
            n_offers=n_offers,
        )

    def _customers(self, high: Any, low: Any) -> Ints:
        codes = np.full(len(high), UNKNOWN, dtype=np.int64)
        for place, (hi, lo) in enumerate(zip(high.tolist(), low.tolist(), strict=True)):
            if hi or lo:
                key = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
                codes[place] = self.customers.setdefault(key, len(self.customers))
        return codes

    def _coded(self, column: str, texts: Any) -> Ints:
        known = self._values.setdefault(column, {})
        cells = np.ma.asarray(texts, dtype=object).tolist()  # NULL comes masked, and out as None
        return np.array(
            [UNKNOWN if text is None else known.setdefault(text, len(known)) for text in cells],
            dtype=np.int64,
        )


def _chosen(columns: Sequence[str], limit: int) -> str:
    """Orders of the first customers, and of those that are asked for."""
    extra = "".join(f", {quoted(column)}" for column in columns)
    return f"""
        CREATE TEMP TABLE chosen AS
        WITH owned AS (
            SELECT *, CASE WHEN customer_hi = 0 AND customer_lo = 0 THEN order_key
                           ELSE customer_lo END AS owner FROM orders)
        SELECT order_row, customer_hi, customer_lo, ts_us, hour_of_week {extra}
        FROM owned
        WHERE owner IN (SELECT DISTINCT owner FROM owned ORDER BY owner LIMIT {limit})
            OR (customer_hi, customer_lo) IN (SELECT (high, low) FROM asked)"""


def _lines(own: str) -> str:
    """Lines of chosen orders; one whose item is in several offers comes once for each."""
    return f"""
        SELECT b.order_row, b.item_row, coalesce(i.offer_row::BIGINT, {UNKNOWN}) AS offer_row
        FROM basket_items b SEMI JOIN chosen USING (order_row)
        LEFT JOIN {own} i USING (item_row)
        ORDER BY b.order_row, b.line, b.item_row, i.offer_row"""


def _key_table(keys: Collection[bytes]) -> dict[str, Any]:
    halves = np.frombuffer(b"".join(sorted(keys)), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return {"high": halves[:, 0].copy(), "low": halves[:, 1].copy()}


def _codes(texts: Sequence[str]) -> Ints:
    """Texts numbered in sorted order, -1 for the empty one."""
    known = {text: code for code, text in enumerate(sorted(set(texts) - {""}))}
    return np.array([known.get(text, UNKNOWN) for text in texts], dtype=np.int64)
