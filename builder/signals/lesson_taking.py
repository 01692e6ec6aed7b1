"""The task that takes lessons: candidates and features at moments of a slice of the events.

What is taken is what a customer's first order after the moment holds. Only histories are told anew
at each moment: what is known of the shop stays that of the cut, as in tables that grow old.

Customers with very few orders have lessons of their own. A regular customer of whom only the last
orders were told would not do for one: what is new to a regular is what hardly anybody takes, and
what is new to a newcomer is what everybody has. So those teach that were new themselves: in the
slice, or long before it if what came after is in no table.
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
from builder.signals.histories import KNOWN, Histories, Ints, load_histories
from builder.signals.lessons import Lessons, write_lessons
from builder.signals.orders import Partition, Vocabulary, kept, load_orders
from builder.signals.personal_model import PersonalSettings
from builder.signals.scorer import Scorer, open_scorer
from builder.split import Cut
from index.layout import THIN_BELOW_ORDERS

USUAL: Final = "usual"
THIN: Final = "thin"
_BATCH_CUSTOMERS: Final = 512
_EARLY_MOMENTS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLessons:
    """The task of one partition.

    It writes `lessons` of two kinds, in a folder each. The usual ones are from moments spread over
    the first half of the slice: later ones would see only those who order again within days. Thin
    ones are of customers with very few orders: at the same moments, and of strangers to the globals
    at moments before the slice.

    Attributes:
        partition: whose events.
        vocabulary: rows of items and offers.
        since_us: the first event of the shop.
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
    since_us: int
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
                moments = self._moments()
                usual = [self._question(connection, moment_us) for moment_us in moments]
                asked = [(moment_us, KNOWN) for moment_us in moments]
                asked += [(moment_us, self._strangers) for moment_us in self._early()]
                thin = [
                    self._question(connection, moment_us, who, below_orders=THIN_BELOW_ORDERS)
                    for moment_us, who in asked
                ]
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

    @property
    def _strangers(self) -> str:
        """SQL: whom the globals do not know."""
        return f"{KNOWN} AND NOT {kept(self.cut)}"

    def _early(self) -> list[int]:
        """Moments spread over what the globals saw."""
        length_us, n = self.cut.until_us - self.since_us, _EARLY_MOMENTS + 1
        return [self.since_us + length_us * step // n for step in range(1, n)]

    def _question(
        self,
        connection: duckdb.DuckDBPyConnection,
        moment_us: int,
        who: str = KNOWN,
        *,
        below_orders: int | None = None,
    ) -> _Question:
        """What `who` (SQL over keys) of fewer than so many orders knew at a moment."""
        n_before = f"count_if(ts_us < {moment_us})"
        fewer = "" if below_orders is None else f"AND {n_before} < {below_orders}"
        _choose_next(connection, moment_us, self.customers, who, fewer)
        return _Question(
            histories=load_histories(connection, moment_us, "chosen"),
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


def _choose_next(
    connection: duckdb.DuckDBPyConnection, moment_us: int, limit: int, who: str, fewer: str
) -> None:
    """Make `chosen(customer_hi, customer_lo, order_row)`: next orders of known customers."""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE chosen AS
        SELECT customer_hi, customer_lo,
               arg_min(order_row, (ts_us, order_key)) FILTER (ts_us >= {moment_us}) AS order_row
        FROM orders WHERE {who}
        GROUP BY customer_hi, customer_lo
        HAVING min(ts_us) < {moment_us} AND max(ts_us) >= {moment_us} {fewer}
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
