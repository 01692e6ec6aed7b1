"""Redemptions as questions with known answers: of the offers that could be had, which were taken?

An order says what somebody buys, and the offers that hold it follow; a redemption says which offer
somebody chose. Where a shop knows of redemptions, weights are learned from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from builder.cases import STRANGER_ORDERS, Case, order_of
from builder.duck import connect, literal, quoted
from builder.events import REDEEM
from builder.signals.orders import CONTEXT_PREFIX, Partition, Vocabulary
from builder.split import Cut
from index.request import Request

REDEMPTION: Final = "redemption"


def load_redemptions(
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    until_us: int,
    *,
    without: Cut,
    max_customers: int,
    k: int,
    memory_bytes: int,
    temp_dir: Path,
) -> list[Case]:
    """A question about what was taken together in [cut, until), without a cart.

    Together is what one order (or a customer on one day) and the same context have. Where a taken
    offer is restricted to placements the request comes from one of them, since it was there.

    Args:
        partitions: all customer partitions.
        vocabulary: rows of items and offers; redemptions of other offers are left out.
        cut: start of the slice.
        until_us: end of the slice, exclusive.
        without: customers held out of this cut are left out.
        max_customers: at most this many over all partitions, those with the smallest low key half.
        k: how many offers to ask for.
        memory_bytes: for DuckDB.
        temp_dir: where it may spill.

    Returns:
        By customer key, then time; at most the first 16 of a customer.
    """
    per_partition = -(-max_customers // max(len(partitions), 1))
    cases: list[Case] = []
    for partition in partitions:
        with connect(memory_bytes, temp_dir) as connection:
            cases += _redeemed(connection, partition, vocabulary, cut, until_us, per_partition, k)
    return [case for case in cases if not case.order.is_held_out(without)]


def _redeemed(  # noqa: PLR0917  # what the query says, in its order
    connection: duckdb.DuckDBPyConnection,
    partition: Partition,
    vocabulary: Vocabulary,
    cut: Cut,
    until_us: int,
    limit: int,
    k: int,
) -> Iterator[Case]:
    events = f"read_parquet([{', '.join(map(literal, partition.event_paths))}])"
    described = connection.execute(f"DESCRIBE FROM {events}").fetchall()
    columns = [row[0] for row in described if row[0].startswith(CONTEXT_PREFIX)]
    contexts = "".join(f", {quoted(column)}" for column in columns)
    found = connection.execute(
        f"""
        SELECT customer_hi, customer_lo, order_key, min(ts_us) AS at_us,
            arg_min(hour_of_week, ts_us), CASE WHEN customer_hi = 0 AND customer_lo = 0
                THEN order_key ELSE customer_lo END AS owner {contexts},
            list(DISTINCT offer_row ORDER BY offer_row), min(placements[1])
        FROM {events} JOIN read_parquet({literal(vocabulary.offers_path)}) USING (offer_id)
        WHERE kind = {REDEEM} AND ts_us >= {cut.until_us} AND ts_us < {until_us}
        GROUP BY customer_hi, customer_lo, order_key {contexts}
        QUALIFY dense_rank() OVER (ORDER BY owner, customer_hi) <= {limit}
            AND row_number() OVER (PARTITION BY customer_hi, owner ORDER BY at_us, order_key
                {contexts}) <= {STRANGER_ORDERS}
        ORDER BY customer_hi, customer_lo, at_us, order_key {contexts}
        """
    ).fetchall()
    for *head, taken, placement in found:
        yield _case(head, columns, taken, placement or REDEMPTION, k)


def _case(
    head: Sequence[Any], columns: Sequence[str], taken: Sequence[int], placement: str, k: int
) -> Case:
    order = order_of(head, columns, ((), (), (), ()))
    request = Request(placement=placement, k=k, at=order.at, context=dict(order.context))
    return Case(
        question=REDEMPTION,
        order=order,
        key=order.key,
        request=request,
        truth=np.array(taken, dtype=np.int64),
        cart_rows=np.empty(0, dtype=np.int64),
    )
