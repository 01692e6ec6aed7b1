"""A slice that something is measured on or tuned by: its questions, and what was known before it.

Several tasks ask about the same slice, so it is read from the events once, by a task of its own;
and a rehearsal scores those alone whom it is asked about.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.answering import K
from builder.cases import Case, load_cases
from builder.engine import Engine
from builder.history import Past, load_past
from builder.line_counts import offers_with_lines
from builder.metrics import Bools
from builder.signals.orders import Partition, Vocabulary
from builder.split import Cut, Plan

MAX_CUSTOMERS: Final = 6000
_RESULT: Final = "slice.pickle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What `LoadSlice` found.

    Attributes:
        cases: of both questions.
        past: what baselines may know when they are asked.
        only: bool, shape (n_offers,): the offers that are asked for and may be ranked; None for
            all.
    """

    cases: list[Case]
    past: Past
    only: Bools | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSlice:
    """The task that reads a slice.

    Attributes:
        label: tells the slices of one run apart in the task's name.
        partitions: the canonical events.
        vocabulary: rows of items and offers.
        cut: start of the slice.
        until_us: its end, exclusive.
        without: see `cases.load_cases`.
        judged: the cut of what is measured: offers in fewer order lines before it than `min_orders`
            are neither asked for nor ranked.
        min_orders: how many order lines.
        n_items: items of the vocabulary.
        n_offers: offers of the vocabulary.
        target_kind: kind of event that makes an order.
    """

    label: str
    partitions: tuple[Partition, ...]
    vocabulary: Vocabulary
    cut: Cut
    until_us: int
    without: Cut | None
    judged: Cut
    min_orders: int
    n_items: int
    n_offers: int
    target_kind: int

    @property
    def name(self) -> str:
        return f"slice-{self.label}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        only = self._only(out_dir, memory_bytes) if self.min_orders > 1 else None
        cases = load_cases(
            self.partitions,
            self.vocabulary,
            self.cut,
            self.until_us,
            without=self.without,
            target_kind=self.target_kind,
            max_customers=MAX_CUSTOMERS,
            k=K,
            only=only,
            memory_bytes=memory_bytes,
            temp_dir=out_dir,
        )
        past = load_past(
            self.partitions,
            self.vocabulary,
            self.cut,
            n_items=self.n_items,
            n_offers=self.n_offers,
            target_kind=self.target_kind,
            asked={case.key for case in cases if case.key is not None},
            max_others=MAX_CUSTOMERS,
            memory_bytes=memory_bytes,
            temp_dir=out_dir,
        )
        (out_dir / _RESULT).write_bytes(pickle.dumps(Slice(cases=cases, past=past, only=only)))

    def _only(self, temp_dir: Path, memory_bytes: int) -> Bools:
        return offers_with_lines(
            self.partitions,
            self.vocabulary,
            self.judged,
            n_offers=self.n_offers,
            target_kind=self.target_kind,
            min_lines=self.min_orders,
            memory_bytes=memory_bytes,
            temp_dir=temp_dir,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Results of `LoadSlice` tasks.

    Attributes:
        tuning_dir: of the slice that baselines are tuned by.
        measured_dir: of the slice that is measured on.
    """

    tuning_dir: Path
    measured_dir: Path


def load_slices(
    engine: Engine,
    partitions: tuple[Partition, ...],
    vocabulary: Vocabulary,
    plan: Plan,
    *,
    n_items: int,
    n_offers: int,
    target_kind: int,
    min_orders: int,
) -> Slices:
    """Read both slices of a plan; see `LoadSlice`."""
    tasks = [
        LoadSlice(
            label=label,
            partitions=partitions,
            vocabulary=vocabulary,
            cut=cut,
            until_us=until_us,
            without=without,
            judged=plan.measured,
            min_orders=min_orders,
            n_items=n_items,
            n_offers=n_offers,
            target_kind=target_kind,
        )
        for label, cut, until_us, without in (
            ("tuning", plan.weights, plan.weights_until_us, plan.measured),
            ("measured", plan.measured, plan.measured_until_us, None),
        )
    ]
    tuning_dir, measured_dir = engine.run("slices", tasks)
    return Slices(tuning_dir=tuning_dir, measured_dir=measured_dir)


def read_slice(result_dir: Path) -> Slice:
    """What a finished task found."""
    found = pickle.loads((result_dir / _RESULT).read_bytes())  # noqa: S301 - our own work folder
    assert isinstance(found, Slice)
    return found
