"""Everything learned under one cut: counts, then arrays that every later task maps into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.engine import Engine
from builder.signals.collaborative import METHODS, CollaborativeSettings, LearnCollaborative
from builder.signals.counts import CountPartition, CountSettings
from builder.signals.learn import PARTS, GatherGlobals, LearnSignals, SignalSettings
from builder.signals.merge import MergeCounts
from builder.signals.orders import Partition, Vocabulary
from builder.signals.pairs import LearnAffinity, item_ranges
from builder.split import Cut

_ITEMS_PER_RANGE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Where the counts of one cut lie.

    Attributes:
        label: which cut.
        count_dirs: of each partition.
        merged_dir: of the whole shop.
    """

    label: str
    count_dirs: tuple[Path, ...]
    merged_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Where the results of one cut lie.

    Attributes:
        globals_dir: prior, context, affinity, vectors and the neighbour sample.
        merged_dir: counts of the whole shop.
    """

    globals_dir: Path
    merged_dir: Path


def count_cut(
    engine: Engine,
    label: str,
    partitions: tuple[Partition, ...],
    vocabulary: Vocabulary,
    cut: Cut,
    *,
    settings: CountSettings,
) -> Counted:
    """Run the counting stages of one cut.

    Args:
        engine: runs the tasks and skips finished ones.
        label: tells the cuts of one build apart: `weights`, `measured` or `shipped`.
        partitions: the canonical events.
        vocabulary: rows of items and offers.
        cut: what may be seen.
        settings: what is counted.
    """
    count_dirs = tuple(
        engine.run(
            f"count-{label}",
            [
                CountPartition(partition=part, vocabulary=vocabulary, cut=cut, settings=settings)
                for part in partitions
            ],
        )
    )
    (merged_dir,) = engine.run(
        f"merge-{label}",
        [MergeCounts(label=label, count_dirs=count_dirs, vocabulary=vocabulary, counts=settings)],
    )
    return Counted(label=label, count_dirs=count_dirs, merged_dir=merged_dir)


def learn_cut(
    engine: Engine,
    counted: Counted,
    vocabulary: Vocabulary,
    *,
    n_items: int,
    signals: SignalSettings,
    collaborative: CollaborativeSettings,
) -> Learned:
    """Run the learning stages of one cut.

    Args:
        engine: runs the tasks and skips finished ones.
        counted: its counts.
        vocabulary: rows of items and offers.
        n_items: items of the vocabulary.
        signals: how counts become signals.
        collaborative: how customers alike are learned from.
    """
    label, count_dirs, merged_dir = counted.label, counted.count_dirs, counted.merged_dir
    affinity_dirs = tuple(
        engine.run(
            f"affinity-{label}",
            [
                LearnAffinity(
                    label=label,
                    first_item=first,
                    stop_item=stop,
                    count_dirs=count_dirs,
                    merged_dir=merged_dir,
                )
                for first, stop in ranges_of(n_items)
            ],
        )
    )
    methods = [
        LearnCollaborative(
            label=label, method=method, merged_dir=merged_dir, settings=collaborative
        )
        for method in METHODS
    ]
    parts = [
        LearnSignals(
            label=label,
            part=part,
            merged_dir=merged_dir,
            affinity_dirs=affinity_dirs,
            vocabulary=vocabulary,
            settings=signals,
        )
        for part in PARTS
    ]
    learned_dirs = tuple(engine.run(f"signals-{label}", [*parts, *methods]))
    (globals_dir,) = engine.run(
        f"globals-{label}", [GatherGlobals(label=label, learned_dirs=learned_dirs)]
    )
    return Learned(globals_dir=globals_dir, merged_dir=merged_dir)


def ranges_of(n_items: int) -> list[tuple[int, int]]:
    """The ranges (first, stop) of item rows that tasks take on."""
    return item_ranges(n_items, -(-max(n_items, 1) // _ITEMS_PER_RANGE))
