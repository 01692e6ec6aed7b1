"""The task that takes lessons: candidates and features at moments of a slice of the events.

What is taken is what a customer's first order after the moment holds. Only histories are told anew
at each moment: what is known of the shop stays that of the cut, as in tables that grow old.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import connect
from builder.signals.candidates import find
from builder.signals.histories import Histories, Ints, load_histories
from builder.signals.lessons import Lessons, write_lessons
from builder.signals.orders import Partition, Vocabulary, load_orders
from builder.signals.personal_model import PersonalSettings
from builder.signals.scorer import Scorer, open_scorer
from builder.split import Cut
from index.layout import THIN_BELOW_ORDERS

USUAL: Final = "usual"
THIN: Final = "thin"
_BATCH_CUSTOMERS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLessons:
    """The task of one partition.

    It writes `lessons` of two kinds, in a folder each. The usual ones are from moments spread over
    the first half of the slice: later ones would see only those who order again within days. Thin
    ones are for customers with very few orders: from the first moment, as if of each customer no
    more than the last few orders were known.

    Attributes:
        partition: whose events.
        vocabulary: rows of items and offers.
        cut: begin of the slice.
        slice_until_us: its end, exclusive.
        globals_dir: result of `learn.GatherGlobals` for the same cut.
        holdout_share: customers that nothing may be learned from. Others may teach though the
            globals do not know them: lessons ask only for their own past.
        customers: at each moment, those with an order on both sides; of more than this number those
            with the smallest low key halves.
        settings: see there.
    """

    partition: Partition
    vocabulary: Vocabulary
    cut: Cut
    slice_until_us: int
    globals_dir: Path
    holdout_share: float
    customers: int
    settings: PersonalSettings

    @property
    def name(self) -> str:
        return f"lessons-{self.partition.number:04d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        usual: list[_Question] = []
        thin: list[_Question] = []
        with connect(memory_bytes, out_dir) as connection:
            scorer = open_scorer(
                connection, self.globals_dir, self.settings, self.vocabulary, self.cut
            )
            if len(scorer.popular):
                self._load(connection)
                usual = [self._question(connection, moment_us) for moment_us in self._moments()]
                few = THIN_BELOW_ORDERS - 1
                thin = [self._question(connection, self.cut.until_us, last_orders=few)]
        for folder, questions in ((out_dir / USUAL, usual), (out_dir / THIN, thin)):
            folder.mkdir()
            lessons = (part for question in questions for part in _lessons(scorer, question))
            write_lessons(lessons, folder)

    def _load(self, connection: duckdb.DuckDBPyConnection) -> None:
        load_orders(
            connection,
            self.partition,
            self.vocabulary,
            Cut(until_us=self.slice_until_us, holdout_share=self.holdout_share),
            target_kind=self.settings.target_kind,
            offers_at_us=self.cut.until_us,
        )

    def _moments(self) -> list[int]:
        n, length_us = self.settings.fit_moments, self.slice_until_us - self.cut.until_us
        return sorted({self.cut.until_us + length_us * step // (2 * n) for step in range(n)})

    def _question(
        self,
        connection: duckdb.DuckDBPyConnection,
        moment_us: int,
        *,
        last_orders: int | None = None,
    ) -> _Question:
        _choose_next(connection, moment_us, self.customers)
        return _Question(
            histories=load_histories(connection, moment_us, "chosen", last_orders=last_orders),
            next_offers=connection.execute(
                """SELECT customer_hi, customer_lo, offer_row
                   FROM basket_offers JOIN chosen USING (order_row)
                   ORDER BY customer_hi, customer_lo, offer_row"""
            ).fetchnumpy(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """Customers' histories at one moment, and the offers of their next orders."""

    histories: Histories
    next_offers: dict[str, NDArray[np.uint64]]

    def wanted(self, n_offers: int) -> Ints:
        """The customer's place times all offers, plus the offer: rising."""
        keys = zip(self.histories.key_hi.tolist(), self.histories.key_lo.tolist(), strict=True)
        place = {key: customer for customer, key in enumerate(keys)}
        halves = (self.next_offers[name].tolist() for name in ("customer_hi", "customer_lo"))
        owner = np.array([place[key] for key in zip(*halves, strict=True)], dtype=np.int64)
        return owner * n_offers + self.next_offers["offer_row"].astype(np.int64)


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


def _lessons(scorer: Scorer, question: _Question) -> Iterator[Lessons]:
    """A batch of customers at a time."""
    histories, wanted = question.histories, question.wanted(scorer.n_offers)
    for first in range(0, len(histories), _BATCH_CUSTOMERS):
        batch = scorer.batch(histories.part(first, min(first + _BATCH_CUSTOMERS, len(histories))))
        candidates = batch.candidates
        keys = (candidates.customer + first) * scorer.n_offers + candidates.offer
        every = Lessons(
            features=batch.features,
            taken=find(wanted, keys) >= 0,
            is_own=candidates.entry >= 0,
            starts=candidates.starts[:-1],
            customer=batch.histories.key_lo,
        )
        yield every.only(np.ones(len(keys), dtype=np.bool_))
