"""Measuring as tasks: one question each, so that they run side by side, bounded like others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from builder.cases import NEXT_ORDER, POST_PURCHASE
from builder.comparison import DEFAULT
from builder.engine import Engine
from builder.evaluate import Measured, measure, together
from builder.history import Past
from builder.known_rows import orders_of_offers
from builder.slices import Slices, read_slice
from index.generation import Generation
from index.manifest import Manifest
from index.snapshot import open_snapshot

_RESULT: Final = "measured.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureQuestion:
    """The task that measures a snapshot by one question.

    Attributes:
        question: `next_order` or `post_purchase`.
        snapshot_dir: the assembled snapshot, which may have no name yet.
        model_id: of the snapshot, so that a later one at the same path is measured anew.
        tuning_dir: see `slices.Slices`.
        measured_dir: see there.
        knows_past: whether the events hold what the tables learned from; otherwise only `default`
            is run beside ours, with the snapshot's own counts.
        ablate: examples of each slice that are also answered without each signal.
        seed: of the bootstrap.
    """

    question: str
    snapshot_dir: Path
    model_id: str
    tuning_dir: Path
    measured_dir: Path
    knows_past: bool
    ablate: int
    seed: int

    @property
    def name(self) -> str:
        return f"measure-{self.question}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:  # noqa: ARG002 - as every task
        tuning, asked = read_slice(self.tuning_dir), read_slice(self.measured_dir)
        with open_snapshot(self.snapshot_dir) as generation:
            measured = measure(
                generation,
                self.question,
                asked.cases,
                self._known(generation, asked.past),
                tuning_cases=tuning.cases,
                tuning_past=self._known(generation, tuning.past),
                only=asked.only,
                methods=None if self.knows_past else (DEFAULT,),
                ablate=self.ablate,
                seed=self.seed,
            )
        (out_dir / _RESULT).write_bytes(msgspec.json.encode(measured))

    def _known(self, generation: Generation, past: Past) -> Past:
        if self.knows_past:
            return past
        history = replace(past.history, popularity=orders_of_offers(generation))
        return replace(past, history=history)


def measure_snapshot(
    engine: Engine,
    snapshot_dir: Path,
    manifest: Manifest,
    slices: Slices,
    *,
    knows_past: bool,
    ablate: int,
    seed: int,
) -> Measured:
    """Measure a snapshot by both questions.

    Args:
        engine: runs the tasks.
        snapshot_dir: the assembled snapshot, which may have no name yet.
        manifest: its manifest.
        slices: what is asked, and what baselines are tuned by.
        knows_past: see `MeasureQuestion`, as the rest.
        ablate: see there.
        seed: see there.
    """
    tasks = [
        MeasureQuestion(
            question=question,
            snapshot_dir=snapshot_dir.absolute(),
            model_id=manifest.model_id,
            tuning_dir=slices.tuning_dir,
            measured_dir=slices.measured_dir,
            knows_past=knows_past,
            ablate=ablate,
            seed=seed,
        )
        for question in (NEXT_ORDER, POST_PURCHASE)
    ]
    return together(
        [
            msgspec.json.decode((result / _RESULT).read_bytes(), type=Measured)
            for result in engine.run("measure", tasks)
        ]
    )
