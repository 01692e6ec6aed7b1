"""Questions with known answers: real orders as requests, to learn weights from and to measure by.

Two questions are asked. *Next order*: nothing but the customer and the moment is known. *Post
purchase*: the order's first lines are in the cart and the rest is to be foretold. Where views are
foretold an order is a session, and what is asked after some of its steps is the next one, be it an
item that was looked at before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from builder.duck import connect, literal, quoted
from builder.metrics import Bools, Ints
from builder.signals.orders import (
    CONTEXT_PREFIX,
    VIEW,
    Partition,
    Vocabulary,
    item_offers,
    load_orders,
)
from builder.split import HELD_OUT_UNITS, Cut
from index.request import CartLine, Request

NEXT_ORDER: Final = "next_order"
POST_PURCHASE: Final = "post_purchase"
MAX_CART: Final = 4
STRANGER_ORDERS: Final = 16

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order after a cut.

    Attributes:
        key: the customer's table key, None for a guest.
        order_key: the order's own key.
        bucket: which of the `HELD_OUT_UNITS` the customer (for a guest: the order) falls into.
        at: when, UTC.
        hour_of_week: in the brand's time zone, 0 = Monday 00h.
        context: what is known of the moment, by feature.
        item_ids: distinct items in the order of their lines.
        item_rows: their rows.
        own_offers: for each item, the offers that are or contain it.
        steps: every line of a session, as its place among the items; a place may come again.
        sizes: how many items the offers contain that contain several.
    """

    key: bytes | None
    order_key: int
    bucket: int
    at: datetime
    hour_of_week: int
    context: Mapping[str, str]
    item_ids: tuple[str, ...]
    item_rows: tuple[int, ...]
    own_offers: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...] = ()
    sizes: Mapping[int, int] = field(default_factory=dict)

    def is_held_out(self, cut: Cut) -> bool:
        """Whether tables of this cut know nothing of the customer."""
        return self.bucket < cut.n_held_out

    def n_cart(self) -> int:
        """How many first lines a post-purchase question gives: 1 to 4, by the order's key."""
        return min(1 + self.order_key % MAX_CART, len(self.item_ids) - 1)

    def n_viewed(self) -> int:
        """How many first steps a question about the next one gives: any, by the order's key."""
        return 1 + self.order_key % (len(self.steps) - 1) if len(self.steps) > 1 else 0

    def given(self, n_cart: int) -> list[int]:
        """Offers, rising, that hold nothing but what is in the cart: its first items."""
        held = Counter(offer for own in self.own_offers[:n_cart] for offer in own)
        return sorted(offer for offer, n in held.items() if n >= self.sizes.get(offer, 1))

    def wanted(self, n_cart: int) -> list[int]:
        """Offers, rising, of the items after the first, that these don't hold already."""
        later = {offer for own in self.own_offers[n_cart:] for offer in own}
        return sorted(later.difference(self.given(n_cart)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with its answer.

    Attributes:
        question: `next_order` or `post_purchase`.
        order: where it comes from.
        key: the customer key asked with; None for a guest.
        request: the question.
        truth: int64, offer rows to be found; not empty.
        cart_rows: int64, different item rows of what is given, in the cart or viewed.
        banned: int64, offers that no answer may hold: those with nothing but what is in the cart.
    """

    question: str
    order: Order
    key: bytes | None
    request: Request
    truth: Ints
    cart_rows: Ints
    banned: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def make_case(order: Order, question: str, *, k: int, as_viewed: bool = False) -> Case | None:
    """Ask a question about an order.

    Args:
        order: the order.
        question: `next_order` or `post_purchase`.
        k: how many offers to ask for.
        as_viewed: after a purchase means after some steps of a session.

    Returns:
        None when the order cannot answer it: nothing would be left to find.
    """
    if as_viewed and question == POST_PURCHASE:
        return _next_step(order, k)
    n_cart = 0 if question == NEXT_ORDER else order.n_cart()
    if question == POST_PURCHASE and n_cart < 1:
        return None
    given_ids = order.item_ids[:n_cart]
    if not (wanted := order.wanted(n_cart)):
        return None
    return Case(
        question=question,
        order=order,
        key=order.key,
        request=Request(
            placement=question,
            k=k,
            at=order.at,
            context=dict(order.context),
            cart=[CartLine(item_id=item_id) for item_id in given_ids],
        ),
        truth=np.array(wanted, dtype=np.int64),
        cart_rows=np.array(order.item_rows[:n_cart], dtype=np.int64),
        banned=np.array(order.given(n_cart), dtype=np.int64),
    )


def _next_step(order: Order, k: int) -> Case | None:
    n_viewed = order.n_viewed()
    if not n_viewed or not (wanted := order.own_offers[order.steps[n_viewed]]):
        return None
    given = order.steps[:n_viewed]
    return Case(
        question=POST_PURCHASE,
        order=order,
        key=order.key,
        request=Request(
            placement=POST_PURCHASE,
            k=k,
            at=order.at,
            context=dict(order.context),
            viewed=[order.item_ids[place] for place in given],
        ),
        truth=np.array(wanted, dtype=np.int64),
        # By the last time each was looked at, the newest last.
        cart_rows=np.array(
            [order.item_rows[place] for place in reversed(dict.fromkeys(reversed(given)))],
            dtype=np.int64,
        ),
    )


def load_cases(
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    until_us: int,
    *,
    without: Cut | None,
    target_kind: int,
    max_customers: int,
    k: int,
    only: Bools | None = None,
    memory_bytes: int,
    temp_dir: Path,
) -> list[Case]:
    """Both questions about each sampled order in [cut, until).

    Args:
        partitions: all customer partitions.
        vocabulary: rows of items and offers.
        cut: start of the slice.
        until_us: end of the slice, exclusive.
        without: customers held out of this cut are left out: those that nothing may be learned
            from. Others, of whom only `cut` knows nothing, are strangers to learn from.
        target_kind: kind of event that makes an order.
        max_customers: see `load_sample`.
        k: how many offers to ask for.
        only: see `load_sample`.
        memory_bytes: for DuckDB.
        temp_dir: where it may spill.
    """
    orders = load_sample(
        partitions,
        vocabulary,
        cut,
        until_us,
        target_kind=target_kind,
        max_customers=max_customers,
        only=only,
        memory_bytes=memory_bytes,
        temp_dir=temp_dir,
    )
    asked = (
        make_case(order, question, k=k, as_viewed=target_kind == VIEW)
        for order in orders
        if without is None or not order.is_held_out(without)
        for question in (NEXT_ORDER, POST_PURCHASE)
    )
    return [case for case in asked if case is not None]


def load_sample(
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    until_us: int,
    *,
    target_kind: int,
    max_customers: int,
    only: Bools | None = None,
    memory_bytes: int,
    temp_dir: Path,
) -> list[Order]:
    """Each sampled customer's first order in [cut, until), and the first few of held-out customers.

    These stay strangers however often they order, so each order asks anew.

    Args:
        partitions: all customer partitions.
        vocabulary: rows of items and offers.
        cut: start of the slice; its held-out customers are in.
        until_us: end of the slice, exclusive.
        target_kind: kind of event that makes an order.
        max_customers: at most this many over all partitions, those with the smallest low key half.
        only: bool, shape (n_offers,): orders that hold none of these offers are passed over; None
            to pass over none.
        memory_bytes: for DuckDB.
        temp_dir: where it may spill.

    Returns:
        Orders by customer key, then order key.
    """
    per_partition = -(-max_customers // max(len(partitions), 1))
    everyone = Cut(until_us=cut.until_us, holdout_share=0.0)
    orders: list[Order] = []
    for partition in partitions:
        with connect(memory_bytes, temp_dir) as connection:
            columns = load_orders(
                connection,
                partition,
                vocabulary,
                everyone,
                target_kind=target_kind,
                slice_until_us=until_us,
            )
            if only is not None:
                _leave_out(connection, only)
            orders += _sampled_orders(connection, vocabulary, columns, per_partition, cut)
    return orders


def _leave_out(connection: duckdb.DuckDBPyConnection, only: Bools) -> None:
    """Take the orders away that hold no offer that is asked for."""
    connection.register("wanted", {"offer_row": np.flatnonzero(only)})
    connection.execute(
        """DELETE FROM orders WHERE order_row NOT IN (
            SELECT order_row FROM basket_offers JOIN wanted USING (offer_row))"""
    )


def _sampled_orders(
    connection: duckdb.DuckDBPyConnection,
    vocabulary: Vocabulary,
    columns: list[str],
    limit: int,
    cut: Cut,
) -> Iterator[Order]:
    connection.execute(
        f"""
        CREATE TEMP TABLE chosen AS
        SELECT * FROM (
            SELECT *, CASE WHEN customer_hi = 0 AND customer_lo = 0 THEN order_key
                           ELSE customer_lo END AS owner
            FROM orders)
        QUALIFY dense_rank() OVER (ORDER BY owner, customer_hi) <= {limit}
            AND row_number() OVER (PARTITION BY customer_hi, owner ORDER BY ts_us, order_key)
                <= if(owner % {HELD_OUT_UNITS} < {cut.n_held_out}, {STRANGER_ORDERS}, 1)
        """
    )
    lines = connection.execute(
        f"""
        SELECT order_row, list(item_id ORDER BY line, item_row) AS item_ids,
               list(item_row ORDER BY line, item_row) AS item_rows,
               list(offers ORDER BY line, item_row) AS offers, any_value(steps) AS steps
        FROM (SELECT order_row, item_row, item_id, min(line) AS line,
                     coalesce(list(offer_row ORDER BY offer_row)
                              FILTER (offer_row IS NOT NULL), []) AS offers
              FROM basket_items SEMI JOIN chosen USING (order_row)
              JOIN read_parquet({literal(vocabulary.items_path)}) USING (item_row)
              LEFT JOIN {item_offers(vocabulary, cut.until_us)} USING (item_row)
              GROUP BY order_row, item_row, item_id)
        JOIN (SELECT order_row, list(item_row ORDER BY line, item_row) AS steps
              FROM steps SEMI JOIN chosen USING (order_row) GROUP BY order_row) USING (order_row)
        GROUP BY order_row
        """
    ).fetchall()
    baskets = {row[0]: row[1:] for row in lines}
    selected = ", ".join(quoted(column) for column in columns)
    sizes = dict(
        connection.execute(
            f"""SELECT offer_row, count(*) FROM {item_offers(vocabulary, cut.until_us)}
                GROUP BY offer_row HAVING count(*) > 1"""
        ).fetchall()
    )
    heads = connection.execute(
        f"""SELECT order_row, customer_hi, customer_lo, order_key, ts_us, hour_of_week, owner
            {", " + selected if selected else ""} FROM chosen
            ORDER BY customer_hi, customer_lo, order_key"""
    ).fetchall()
    for row, *head in heads:
        if row in baskets:
            yield order_of(head, columns, baskets[row], sizes)


def order_of(
    head: Sequence[Any],
    columns: Sequence[str],
    basket: Sequence[Any],
    sizes: Mapping[int, int] | None = None,
) -> Order:
    """An order from rows of a query.

    Args:
        head: customer_hi, customer_lo, order_key, ts_us, hour_of_week, owner, context values.
        columns: the context columns, `ctx_…`.
        basket: lists of item ids, item rows and offers, alike in length; and the item row of every
            line.
        sizes: see `Order`.
    """
    high, low, order_key, ts_us, hour, owner, *context = head
    item_ids, item_rows, offers, steps = basket
    place = {item_row: place for place, item_row in enumerate(item_rows)}
    return Order(
        key=None if high == low == 0 else high.to_bytes(8, "big") + low.to_bytes(8, "big"),
        order_key=order_key,
        bucket=owner % HELD_OUT_UNITS,
        at=_EPOCH + timedelta(microseconds=ts_us),
        hour_of_week=hour,
        context={
            column.removeprefix(CONTEXT_PREFIX): value
            for column, value in zip(columns, context, strict=True)
            if value is not None
        },
        item_ids=tuple(item_ids),
        item_rows=tuple(item_rows),
        own_offers=tuple(tuple(own) for own in offers),
        steps=tuple(place[item_row] for item_row in steps),
        sizes=sizes or {},
    )
