"""Measuring as tasks: one question each, so that they run side by side, bounded like others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from builder.answering import K
from builder.cases import Case, load_cases
from builder.comparison import DEFAULT
from builder.evaluate import Measured, measure
from builder.history import Past, load_past
from builder.known_rows import orders_of_offers
from builder.line_counts import offers_with_lines
from builder.metrics import Bools
from builder.signals.orders import Partition, Vocabulary
from builder.split import Cut, Plan
from index.generation import Generation
from index.snapshot import open_snapshot

MAX_CUSTOMERS: Final = 6000
_RESULT: Final = "measured.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureQuestion:
    """The task that measures a snapshot by one question.

    Attributes:
        question: `next_order` or `post_purchase`.
        snapshot_dir: the assembled snapshot, which may have no name yet.
        model_id: of the snapshot, so that a later one at the same path is measured anew.
        partitions: the canonical events.
        vocabulary: rows of items and offers.
        plan: the cuts.
        target_kind: kind of event that makes an order.
        min_orders: offers in fewer order lines before the cut are neither asked for nor ranked.
        knows_past: whether the events hold what the tables learned from; otherwise only `default`
            is run beside ours, with the snapshot's own counts.
        ablate: examples of each slice that are also answered without each signal.
        seed: of the bootstrap.
    """

    question: str
    snapshot_dir: Path
    model_id: str
    partitions: tuple[Partition, ...]
    vocabulary: Vocabulary
    plan: Plan
    target_kind: int
    min_orders: int
    knows_past: bool
    ablate: int
    seed: int

    @property
    def name(self) -> str:
        return f"measure-{self.question}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        plan = self.plan
        with open_snapshot(self.snapshot_dir) as generation:
            only = self._only(generation, memory_bytes, out_dir) if self.min_orders > 1 else None
            cases = self._cases(
                plan.measured, plan.measured_until_us, None, only, memory_bytes, out_dir
            )
            tuning = self._cases(
                plan.weights, plan.weights_until_us, plan.measured, only, memory_bytes, out_dir
            )
            measured = measure(
                generation,
                self.question,
                cases,
                self._past(generation, plan.measured, cases, memory_bytes, out_dir),
                tuning_cases=tuning,
                tuning_past=self._past(generation, plan.weights, tuning, memory_bytes, out_dir),
                only=only,
                methods=None if self.knows_past else (DEFAULT,),
                ablate=self.ablate,
                seed=self.seed,
            )
        (out_dir / _RESULT).write_bytes(msgspec.json.encode(measured))

    def _cases(  # noqa: PLR0917  # what load_cases takes, in its order
        self,
        cut: Cut,
        until_us: int,
        without: Cut | None,
        only: Bools | None,
        memory_bytes: int,
        temp_dir: Path,
    ) -> list[Case]:
        found = load_cases(
            self.partitions,
            self.vocabulary,
            cut,
            until_us,
            without=without,
            target_kind=self.target_kind,
            max_customers=MAX_CUSTOMERS,
            k=K,
            only=only,
            memory_bytes=memory_bytes,
            temp_dir=temp_dir,
        )
        return [case for case in found if case.question == self.question]

    def _only(self, generation: Generation, memory_bytes: int, temp_dir: Path) -> Bools:
        return offers_with_lines(
            self.partitions,
            self.vocabulary,
            self.plan.measured,
            n_offers=generation.model.n_offers,
            target_kind=self.target_kind,
            min_lines=self.min_orders,
            memory_bytes=memory_bytes,
            temp_dir=temp_dir,
        )

    def _past(
        self,
        generation: Generation,
        cut: Cut,
        asked: list[Case],
        memory_bytes: int,
        temp_dir: Path,
    ) -> Past:
        past = load_past(
            self.partitions,
            self.vocabulary,
            cut,
            n_items=generation.model.n_items,
            n_offers=generation.model.n_offers,
            target_kind=self.target_kind,
            asked={case.key for case in asked if case.key is not None},
            max_others=MAX_CUSTOMERS,
            memory_bytes=memory_bytes,
            temp_dir=temp_dir,
        )
        if self.knows_past:
            return past
        history = replace(past.history, popularity=orders_of_offers(generation))
        return replace(past, history=history)


def read_measured(result_dir: Path) -> Measured:
    """What a finished task found."""
    return msgspec.json.decode((result_dir / _RESULT).read_bytes(), type=Measured)
