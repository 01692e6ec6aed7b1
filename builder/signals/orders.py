"""Orders as learners see them: events of one kind before a cut, joined with item and offer rows.

An *order* is one (customer, order_key); a guest order is a customer of its own. All learners read
events through `load_orders`, so a cut, the held-out customers and the vocabulary mean the same to
all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from builder.duck import literal, quoted
from builder.split import Cut

DAY_US: Final = 86_400_000_000
PURCHASE: Final = 0
VIEW: Final = 1
CONTEXT_PREFIX: Final = "ctx_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The files that give items and offers their rows; one vocabulary serves all cuts."""

    items_path: Path
    offers_path: Path
    item_offers_path: Path

    @classmethod
    def in_dir(cls, vocabulary_dir: Path) -> Vocabulary:
        """The three files under their usual names in one folder."""
        return cls(
            items_path=vocabulary_dir / "items.parquet",
            offers_path=vocabulary_dir / "offers.parquet",
            item_offers_path=vocabulary_dir / "item_offers.parquet",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One customer partition of the canonical events.

    Attributes:
        number: which one; partitions in this order hold customers in key order.
        event_paths: every import task's part of it. May be empty.
    """

    number: int
    event_paths: tuple[Path, ...]


def partitions_of(events: Iterable[Path]) -> tuple[Partition, ...]:
    """The partitions of files that hold one each, in customer order."""
    return tuple(
        Partition(number=number, event_paths=(path,)) for number, path in enumerate(events)
    )


def load_orders(
    connection: duckdb.DuckDBPyConnection,
    partition: Partition,
    vocabulary: Vocabulary,
    cut: Cut,
    *,
    target_kind: int,
    slice_until_us: int | None = None,
    offers_at_us: int | None = None,
) -> list[str]:
    """Make the tables `orders`, `steps`, `basket_items` and `basket_offers` in the connection.

    `orders(order_row, customer_hi, customer_lo, order_key, ts_us, hour_of_week, ctx_…)` has one row
    per order, numbered from 0 by (customer, order_key); what differs between its lines is taken
    from the first. `steps(order_row, item_row, line)` has every line; an item that was looked at
    again is there again. `basket_items(order_row, item_row, line)` and `basket_offers(order_row,
    offer_row, line)` hold distinct rows with the first line they stand on.

    Args:
        connection: from `builder.duck.connect`.
        partition: the events to read.
        vocabulary: rows of items and offers; events of unknown items are left out.
        cut: only customers that are not held out.
        target_kind: the kind of event that makes an order.
        slice_until_us: None for the events before the cut; a time for the slice from the cut up to
            then (exclusive).
        offers_at_us: offers that expired before are left out; None for the cut's moment.

    Returns:
        The context columns, `ctx_…`, in the order of the files.
    """
    if not partition.event_paths:
        context_columns: list[str] = []
        events = _NO_EVENTS
    else:
        events = f"read_parquet([{', '.join(literal(p) for p in partition.event_paths)}])"
        described = connection.execute(f"DESCRIBE FROM {events}").fetchall()
        context_columns = [row[0] for row in described if row[0].startswith(CONTEXT_PREFIX)]
    extra = "".join(f", {quoted(column)}" for column in context_columns)
    connection.execute(
        f"""
        CREATE TEMP TABLE lines AS
        SELECT customer_hi, customer_lo, order_key, ts_us, hour_of_week, item_row,
            row_number() OVER (ORDER BY ts_us, line) AS line {extra}
        FROM {events} JOIN read_parquet({literal(vocabulary.items_path)}) AS items USING (item_id)
        WHERE kind = {target_kind} AND {_in_time(cut, slice_until_us)} AND {kept(cut)}
        """
    )
    _number_orders(connection, context_columns)
    connection.execute(
        f"""
        CREATE TEMP TABLE basket_offers AS
        SELECT order_row, offer_row, min(line) AS line FROM basket_items
        JOIN {item_offers(vocabulary, cut.until_us if offers_at_us is None else offers_at_us)}
            AS own USING (item_row)
        GROUP BY ALL
        """
    )
    return context_columns


def item_offers(vocabulary: Vocabulary, at_us: int) -> str:
    """SQL of `item_row`, `offer_row`: which offers hold an item, without those that expired.

    Nothing is learned of an offer that can't be shown any more: it would take a place in rows from
    one that can.
    """
    return f"""(
        SELECT item_row, offer_row FROM read_parquet({literal(vocabulary.item_offers_path)})
        ANTI JOIN {expired_offers(vocabulary, at_us)} AS expired USING (offer_row))"""


def expired_offers(vocabulary: Vocabulary, at_us: int) -> str:
    """SQL of `offer_row`: offers that are not valid at a moment (UTC microseconds) or later."""
    offers = f"read_parquet({literal(vocabulary.offers_path)})"
    return f"(SELECT offer_row FROM {offers} WHERE expires_us <= {at_us})"


def _number_orders(connection: duckdb.DuckDBPyConnection, context_columns: list[str]) -> None:
    first = "".join(f", arg_min({quoted(c)}, line) AS {quoted(c)}" for c in context_columns)
    connection.execute(
        f"""
        CREATE TEMP TABLE orders AS
        SELECT (row_number() OVER (ORDER BY customer_hi, customer_lo, order_key) - 1)::UINTEGER
            AS order_row, *
        FROM (SELECT customer_hi, customer_lo, order_key, min(ts_us) AS ts_us,
                     arg_min(hour_of_week, line) AS hour_of_week {first}
              FROM lines GROUP BY customer_hi, customer_lo, order_key)
        """
    )
    connection.execute(
        """
        CREATE TEMP TABLE steps AS SELECT order_row, item_row, line
        FROM lines JOIN orders USING (customer_hi, customer_lo, order_key)
        """
    )
    connection.execute(
        """
        CREATE TEMP TABLE basket_items AS
        SELECT order_row, item_row, min(line) AS line FROM steps GROUP BY order_row, item_row
        """
    )
    connection.execute("DROP TABLE lines")


def _in_time(cut: Cut, slice_until_us: int | None) -> str:
    if slice_until_us is None:
        return f"ts_us < {cut.until_us}"
    return f"ts_us >= {cut.until_us} AND ts_us < {slice_until_us}"


def kept(cut: Cut) -> str:
    """Customers that are not held out; a guest order stands for a customer."""
    held_out = round(cut.holdout_share * 10_000)
    return (
        "(CASE WHEN customer_hi = 0 AND customer_lo = 0 THEN order_key ELSE customer_lo END)"
        f" % 10000 >= {held_out}"
    )


def write_sorted(
    connection: duckdb.DuckDBPyConnection, query: str, order_by: Iterable[str], path: Path
) -> None:
    """Write a query's rows as Parquet in a stated order, so that equal rows make equal files."""
    connection.execute(
        f"COPY ({query} ORDER BY {', '.join(order_by)}) TO {literal(path)} (FORMAT parquet)"
    )


_NO_EVENTS: Final = """(
    SELECT 0::UBIGINT AS customer_hi, 0::UBIGINT AS customer_lo, 0::UBIGINT AS order_key,
           0::BIGINT AS ts_us, 0::UTINYINT AS hour_of_week, 0::UTINYINT AS kind, '' AS item_id,
           0::UBIGINT AS line WHERE false)"""
