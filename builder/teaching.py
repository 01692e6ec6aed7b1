"""What customers' next orders teach: the personal model of one cut."""

from __future__ import annotations

from pathlib import Path

from builder.engine import Engine
from builder.signals.lesson_taking import THIN, USUAL, TakeLessons
from builder.signals.orders import Partition, Vocabulary
from builder.signals.personal_fit import FitPersonal, read_fitted
from builder.signals.personal_model import PersonalModel, PersonalSettings
from builder.split import Cut


def learn_personal(
    engine: Engine,
    partitions: tuple[Partition, ...],
    vocabulary: Vocabulary,
    cut: Cut,
    slice_until_us: int,
    *,
    since_us: int,
    globals_dir: Path,
    holdout_share: float,
    settings: PersonalSettings,
) -> PersonalModel:
    """Take lessons from customers' orders in [cut, slice_until_us), and fit the model to them.

    Args:
        engine: runs the tasks and skips finished ones.
        partitions: all customer partitions.
        vocabulary: rows of items and offers.
        cut: what features may see.
        slice_until_us: end of the slice, exclusive.
        since_us: the first event of the shop.
        globals_dir: result of `learn.GatherGlobals` for the same cut.
        holdout_share: customers that nothing may be learned from: no more than the cut's.
        settings: see there; of its customers each partition gives the same number.
    """
    lesson_dirs = engine.run(
        "lessons",
        [
            TakeLessons(
                partition=partition,
                vocabulary=vocabulary,
                since_us=since_us,
                cut=cut,
                slice_until_us=slice_until_us,
                globals_dir=globals_dir,
                holdout_share=holdout_share,
                customers=-(-settings.fit_customers // len(partitions)),
                settings=settings,
            )
            for partition in partitions
        ],
    )
    usual_dir, thin_dir = engine.run(
        "personal",
        [
            FitPersonal(kind=kind, lesson_dirs=tuple(lesson_dirs), settings=settings)
            for kind in (USUAL, THIN)
        ],
    )
    return read_fitted(usual_dir, thin_dir)
