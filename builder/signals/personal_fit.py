"""The tasks that fit the personal signal to its lessons: weights, and trees on top of them.

Where what was taken before is never offered, it is no candidate in a lesson either: it would be
most of what stands high in each case, none of it taken, and weights would say no more than that.

Lessons are gone through part by part. Only the contenders of each case are kept, and for the
weights these lie in files as well: however many lessons there are, a part of them is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from builder.signals.features import FEATURES
from builder.signals.histories import Floats
from builder.signals.lesson_taking import USUAL
from builder.signals.lessons import (
    LessonFiles,
    Lessons,
    best_of_cases,
    joined_lessons,
    write_lessons,
)
from builder.signals.logit import fit_logit_parts
from builder.signals.personal_model import (
    PersonalModel,
    PersonalSettings,
    read_model,
    repeat_policy,
    write_model,
)
from builder.signals.ranker import Ranker, fit_ranker

_MODEL_NAME: Final = "model.json"
_LEAST_SCALE: Final = 1e-3
_MORE_CONTENDERS: Final = 3
_LEAST_OWN: Final = 16
_USUAL_REPEATS: Final = 0.5
_ROWS_AT_A_TIME: Final = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPersonal:
    """The task that fits the weights of one kind of customer.

    Attributes:
        kind: `lesson_taking.USUAL` or `THIN`; customers with very few orders get no trees.
        lesson_dirs: results of all `lesson_taking.TakeLessons` tasks.
        settings: see there.
    """

    kind: str
    lesson_dirs: tuple[Path, ...]
    settings: PersonalSettings

    @property
    def name(self) -> str:
        return f"fit-{self.kind}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:  # noqa: ARG002 - parts are small
        lessons = LessonFiles(folders=tuple(folder / self.kind for folder in self.lesson_dirs))
        repeated = _repeated(lessons)
        lessons = replace(lessons, only_new=repeat_policy(repeated) == "exclude")
        ridge = self.settings.ridge if self.kind == USUAL else self.settings.thin_ridge
        model = _fitted(lessons, self.settings, ridge, repeated, out_dir / "spill")
        if self.kind == USUAL:
            model = replace(model, ranker=_grown(lessons, model))
        write_model(model, out_dir / _MODEL_NAME)


def read_fitted(usual_dir: Path, thin_dir: Path) -> PersonalModel:
    """The model of two `FitPersonal` tasks; with no order to learn from, documented defaults."""
    usual, thin = (read_model(folder / _MODEL_NAME) for folder in (usual_dir, thin_dir))
    return replace(usual, thin_weights=thin.weights) if usual.n_cases else usual


def _repeated(lessons: LessonFiles) -> float:
    """Share of what was taken that was taken before; without any, all may be."""
    n_taken = sum(np.count_nonzero(part.taken) for part in lessons)
    n_again = sum(np.count_nonzero(part.is_own & part.taken) for part in lessons)
    return n_again / n_taken if n_taken else 1.0


def _fitted(
    lessons: LessonFiles,
    settings: PersonalSettings,
    ridge: float,
    repeated: float,
    spill_dir: Path,
) -> PersonalModel:
    """A model of the usual weights alone."""
    n_cases = sum(len(part) for part in lessons)
    if not n_cases:
        return PersonalModel(settings=settings)
    weights, loss = _fit(lessons, settings.contenders, ridge, spill_dir)
    return PersonalModel(
        settings=_with_row_lengths(settings, repeated),
        weights=tuple(weights.tolist()),
        n_cases=n_cases,
        loss=loss,
        repeated=repeated,
    )


def _fit(
    lessons: LessonFiles, n_contenders: int, ridge: float, spill_dir: Path
) -> tuple[Floats, float]:
    """Weights per feature as they come; the ridge is in units of each feature's spread.

    Fitted on each case's best candidates only, first by the default weights, then by those found:
    what else could be chosen does not matter to a conditional logit, and there are many more of it.
    """
    start = np.array(PersonalModel().weights)
    scale = np.maximum(_spread(lessons), _LEAST_SCALE)
    weights, loss = start, 0.0
    for n in (_MORE_CONTENDERS * n_contenders, n_contenders):
        # The default weights know little: what was taken stays, however far down they put it.
        contenders = _contenders(lessons, weights, n, keeps_taken=weights is start)
        folder = spill_dir / f"best-{n}"
        folder.mkdir(parents=True)
        write_lessons(_scaled(contenders, scale), folder)
        scaled_weights, loss = fit_logit_parts(
            LessonFiles(folders=(folder,)), start=start * scale, ridge=ridge
        )
        weights = scaled_weights / scale
    return weights, loss


def _contenders(
    lessons: Iterable[Lessons], weights: Floats, n: int, *, keeps_taken: bool = False
) -> Iterator[Lessons]:
    """The best candidates of each case."""
    for part in lessons:
        best = best_of_cases(part.starts, part.features @ weights.astype(np.float32), n)
        yield part.only(best | part.taken if keeps_taken else best)


def _scaled(parts: Iterable[Lessons], scale: Floats) -> Iterator[Lessons]:
    for part in parts:
        yield replace(part, features=np.divide(part.features, scale, dtype=np.float32))


def _spread(lessons: Iterable[Lessons]) -> Floats:
    """Standard deviation of each feature over all rows.

    Source: Chan, Golub, LeVeque (1979), *Updating formulae and a pairwise algorithm for computing
    sample variances*.
    """
    n, mean, squares = 0, np.zeros(len(FEATURES)), np.zeros(len(FEATURES))
    for part in lessons:
        for first in range(0, len(part.taken), _ROWS_AT_A_TIME):
            rows = part.features[first : first + _ROWS_AT_A_TIME].astype(np.float64)
            off = rows.mean(axis=0) - mean
            rows -= mean + off
            n += len(rows)
            mean += off * (len(rows) / n)
            squares += np.einsum("ij,ij->j", rows, rows) + off**2 * (
                len(rows) * (1 - len(rows) / n)
            )
    spread: Floats = np.sqrt(squares / n)
    return spread


def _grown(lessons: LessonFiles, model: PersonalModel) -> Ranker | None:
    """Trees on the contenders of the fitted logit."""
    if not model.n_cases or not model.settings.ranker.rounds:
        return None
    weights = np.array(model.weights)
    contenders = joined_lessons(list(_contenders(lessons, weights, model.settings.contenders)))
    return fit_ranker(contenders, contenders.features @ weights, model.settings.ranker)


def _with_row_lengths(settings: PersonalSettings, repeated: float) -> PersonalSettings:
    """Where next orders hold little that was ordered before, rows have more room for new offers."""
    movable = settings.own_offers - _LEAST_OWN
    moved = round(movable * max(1.0 - repeated / _USUAL_REPEATS, 0.0))
    return replace(
        settings,
        own_offers=settings.own_offers - moved,
        new_offers=settings.new_offers + moved,
    )
