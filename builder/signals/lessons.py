"""Cases the personal signal learns from: what customers could have taken, and what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import connect
from builder.signals.features import FEATURES, Features
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
        is_own: bool, shape (n,): the customer took it before.
        starts: int64, shape (n_cases,), first row of each case.
        customer: uint64, shape (n_cases,), low key half of whose case it is.
    """

    features: Features
    taken: NDArray[np.bool_]
    is_own: NDArray[np.bool_]
    starts: Ints
    customer: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def case(self) -> Ints:
        """Case of each row."""
        return case_of(self.starts, len(self.taken))

    def only(self, rows: NDArray[np.bool_]) -> Lessons:
        """Some of the rows; cases of which none is taken any more are left out."""
        if not len(self):
            return self
        teaches = np.add.reduceat(self.taken & rows, self.starts, dtype=np.int64) > 0
        rows = rows & teaches[self.case]
        sizes = np.add.reduceat(rows, self.starts, dtype=np.int64)[teaches]
        return Lessons(
            features=self.features[rows],
            taken=self.taken[rows],
            is_own=self.is_own[rows],
            starts=np.cumsum(sizes) - sizes,
            customer=self.customer[teaches],
        )


def case_of(starts: Ints, n_rows: int) -> Ints:
    """Which case each of the rows is of.

    >>> case_of(np.array([0, 3]), 4).tolist()
    [0, 0, 0, 1]
    """
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=n_rows))


def best_of_cases(starts: Ints, scores: NDArray[np.floating[Any]], n: int) -> NDArray[np.bool_]:
    """Which rows are among the n best of their case; ties to the first.

    >>> best_of_cases(np.array([0, 3]), np.array([1.0, 2.0, 2.0, 0.0]), 1).tolist()
    [False, True, False, True]
    """
    case = case_of(starts, len(scores))
    order = np.lexsort((-scores, case))
    rank = np.arange(len(order)) - starts[case[order]]
    best = np.zeros(len(order), dtype=np.bool_)
    best[order[rank < n]] = True
    return best


def load_lessons(
    scorer: Scorer,
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    slice_until_us: int,
    *,
    holdout_share: float,
    target_kind: int,
    customers: int,
    steps: int,
    last_orders: int | None = None,
    memory_bytes: int,
    temp_dir: Path,
) -> Lessons:
    """Candidates and features at moments of a slice; taken is what the first order after it holds.

    Only histories are told anew at each moment: what is known of the shop stays that of the cut, as
    in tables that grow old.

    Args:
        scorer: opened on the globals of the cut.
        partitions: all customer partitions.
        vocabulary: rows of items and offers.
        cut: begin of the slice.
        slice_until_us: its end, exclusive.
        holdout_share: customers that nothing may be learned from. Others may teach though the
            globals do not know them: lessons ask only for their own past.
        target_kind: the kind of event that makes an order.
        customers: at each moment, those with an order on both sides; of more than this number those
            with the smallest low key halves, the same number in each partition.
        steps: how many moments, evenly spread over the first half of the slice: later ones would
            see only those who order again within days.
        last_orders: see `histories.load_histories`: lessons as if no more was known of customers.
        memory_bytes: for this process.
        temp_dir: where DuckDB may spill.
    """
    limit = -(-customers // max(len(partitions), 1))
    length_us = slice_until_us - cut.until_us
    moments = sorted({cut.until_us + length_us * step // (2 * steps) for step in range(steps)})
    seen = Cut(until_us=slice_until_us, holdout_share=holdout_share)
    parts: list[Lessons] = []
    for partition in partitions if len(scorer.popular) else ():
        with connect(memory_bytes, temp_dir) as connection:
            load_orders(
                connection,
                partition,
                vocabulary,
                seen,
                target_kind=target_kind,
                offers_at_us=cut.until_us,
            )
            for moment_us in moments:
                _choose_next(connection, moment_us, limit)
                histories = load_histories(connection, moment_us, "chosen", last_orders=last_orders)
                next_orders = connection.execute(
                    """SELECT customer_hi, customer_lo, offer_row
                       FROM basket_offers JOIN chosen USING (order_row)
                       ORDER BY customer_hi, customer_lo, offer_row"""
                ).fetchnumpy()
                parts += _lessons(scorer, histories, next_orders)
    return _joined(parts)


def _choose_next(connection: duckdb.DuckDBPyConnection, moment_us: int, limit: int) -> None:
    """Make `chosen(customer_hi, customer_lo, order_row)`: next orders of known customers."""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE chosen AS
        SELECT customer_hi, customer_lo,
               arg_min(order_row, (ts_us, order_key)) FILTER (ts_us >= {moment_us}) AS order_row
        FROM orders WHERE customer_hi != 0 OR customer_lo != 0
        GROUP BY customer_hi, customer_lo
        HAVING min(ts_us) < {moment_us} AND max(ts_us) >= {moment_us}
        ORDER BY customer_lo, customer_hi LIMIT {limit}
        """
    )


def _lessons(
    scorer: Scorer, histories: Histories, next_orders: dict[str, NDArray[np.uint64]]
) -> list[Lessons]:
    """Lessons of one partition and moment, a batch of customers at a time."""
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
        batch = scorer.batch(histories.part(first, min(first + _BATCH_CUSTOMERS, len(histories))))
        candidates = batch.candidates
        keys = (candidates.customer + first) * scorer.n_offers + candidates.offer
        every = Lessons(
            features=batch.features,
            taken=np.isin(keys, wanted),
            is_own=candidates.entry >= 0,
            starts=candidates.starts[:-1],
            customer=batch.histories.key_lo,
        )
        parts.append(every.only(np.ones(len(keys), dtype=np.bool_)))
    return parts


def _joined(parts: list[Lessons]) -> Lessons:
    sizes = [len(part.taken) for part in parts]
    offsets = np.cumsum([0, *sizes])[:-1]
    nothing = Lessons(
        features=np.empty((0, len(FEATURES)), dtype=np.float32),
        taken=np.empty(0, dtype=np.bool_),
        is_own=np.empty(0, dtype=np.bool_),
        starts=np.empty(0, dtype=np.int64),
        customer=np.empty(0, dtype=np.uint64),
    )
    shifted = [part.starts + offset for part, offset in zip(parts, offsets, strict=True)]
    return Lessons(
        features=np.concatenate([nothing.features, *(part.features for part in parts)]),
        taken=np.concatenate([nothing.taken, *(part.taken for part in parts)]),
        is_own=np.concatenate([nothing.is_own, *(part.is_own for part in parts)]),
        starts=np.concatenate([nothing.starts, *shifted]),
        customer=np.concatenate([nothing.customer, *(part.customer for part in parts)]),
    )
