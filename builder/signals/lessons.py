"""Cases the personal signal learns from: what customers could have taken, and what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import connect
from builder.signals.features import FEATURES, make_features
from builder.signals.histories import Histories, Ints, load_histories
from builder.signals.orders import Partition, Vocabulary, load_orders
from builder.signals.scorer import Scorer
from builder.split import Cut

_BATCH_CUSTOMERS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Cases under each other: one customer's candidates each, with at least one taken.

    Attributes:
        features: float32, shape (n, n_features).
        taken: bool, shape (n,): the customer's next order held the candidate.
        starts: int64, shape (n_cases,), first row of each case.
    """

    features: NDArray[np.float32]
    taken: NDArray[np.bool_]
    starts: Ints


def load_lessons(
    scorer: Scorer,
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    slice_until_us: int,
    *,
    target_kind: int,
    customers: int,
    memory_bytes: int,
    temp_dir: Path,
) -> Lessons:
    """Candidates and features at the cut; taken is what the first order after it holds.

    Customers are those with an order on both sides of the cut; of more than `customers` those with
    the smallest low key halves, the same number in each partition.
    """
    limit = -(-customers // max(len(partitions), 1))
    parts: list[Lessons] = []
    for partition in partitions if scorer.n_offers else ():
        with connect(memory_bytes, temp_dir) as connection:
            load_orders(
                connection,
                partition,
                vocabulary,
                cut,
                target_kind=target_kind,
                slice_until_us=slice_until_us,
            )
            _keep_first_orders(connection)
            load_orders(connection, partition, vocabulary, cut, target_kind=target_kind)
            _choose_customers(connection, limit)
            histories = load_histories(connection, cut.until_us, "chosen")
            next_orders = connection.execute(
                """SELECT customer_hi, customer_lo, offer_row
                   FROM next_offers SEMI JOIN chosen USING (customer_hi, customer_lo)
                   ORDER BY customer_hi, customer_lo, offer_row"""
            ).fetchnumpy()
        parts += _lessons(scorer, histories, next_orders)
    return _joined(parts)


def _keep_first_orders(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `next_offers(customer_hi, customer_lo, offer_row)` and clear the slice's tables."""
    connection.execute(
        """
        CREATE TEMP TABLE next_offers AS
        SELECT customer_hi, customer_lo, offer_row FROM basket_offers JOIN (
            SELECT customer_hi, customer_lo, order_row FROM orders
            WHERE customer_hi != 0 OR customer_lo != 0
            QUALIFY row_number() OVER (
                PARTITION BY customer_hi, customer_lo ORDER BY ts_us, order_key) = 1
        ) USING (order_row)
        """
    )
    for table in ("orders", "basket_items", "basket_offers"):
        connection.execute(f"DROP TABLE {table}")


def _choose_customers(connection: duckdb.DuckDBPyConnection, limit: int) -> None:
    connection.execute(
        f"""
        CREATE TEMP TABLE chosen AS
        SELECT DISTINCT customer_hi, customer_lo
        FROM next_offers SEMI JOIN orders USING (customer_hi, customer_lo)
        ORDER BY customer_lo, customer_hi LIMIT {limit}
        """
    )


def _lessons(
    scorer: Scorer, histories: Histories, next_orders: dict[str, NDArray[np.uint64]]
) -> list[Lessons]:
    """Lessons of one partition, a batch of customers at a time."""
    place = {
        (int(hi), int(lo)): customer
        for customer, (hi, lo) in enumerate(zip(histories.key_hi, histories.key_lo, strict=True))
    }
    owner = np.array(
        [
            place[int(hi), int(lo)]
            for hi, lo in zip(next_orders["customer_hi"], next_orders["customer_lo"], strict=True)
        ],
        dtype=np.int64,
    )
    wanted = owner * scorer.n_offers + next_orders["offer_row"].astype(np.int64)
    parts = []
    for first in range(0, len(histories), _BATCH_CUSTOMERS):
        batch = histories.part(first, min(first + _BATCH_CUSTOMERS, len(histories)))
        candidates = scorer.candidates(batch)
        keys = (candidates.customer + first) * scorer.n_offers + candidates.offer
        taken = np.isin(keys, wanted)
        teaches = np.add.reduceat(taken, candidates.starts[:-1], dtype=np.int64) > 0
        rows = np.repeat(teaches, np.diff(candidates.starts))
        sizes = np.diff(candidates.starts)[teaches]
        parts.append(
            Lessons(
                features=make_features(batch, candidates, scorer.facts)[rows],
                taken=taken[rows],
                starts=np.cumsum(sizes) - sizes,
            )
        )
    return parts


def _joined(parts: list[Lessons]) -> Lessons:
    sizes = [len(part.taken) for part in parts]
    offsets = np.cumsum([0, *sizes])[:-1]
    nothing = Lessons(
        features=np.empty((0, len(FEATURES)), dtype=np.float32),
        taken=np.empty(0, dtype=np.bool_),
        starts=np.empty(0, dtype=np.int64),
    )
    return Lessons(
        features=np.concatenate([nothing.features, *(part.features for part in parts)]),
        taken=np.concatenate([nothing.taken, *(part.taken for part in parts)]),
        starts=np.concatenate(
            [nothing.starts, *(p.starts + o for p, o in zip(parts, offsets, strict=True))]
        ),
    )
