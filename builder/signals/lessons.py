"""Cases the personal signal learns from: what customers could have taken, and what they did.

In a folder they lie in parts, numbered from 0: for each array of `Lessons` a file that is mapped,
`<part>_<array>.npy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.features import FEATURES, Features
from builder.signals.histories import Ints
from builder.signals.rows import open_array

_ARRAYS: Final = ("features", "taken", "is_own", "starts", "customer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Cases under each other: one customer's candidates each, with at least one taken.

    Attributes:
        features: float32, shape (n, n_features).
        taken: bool, shape (n,): the customer's next order held the candidate.
        is_own: bool, shape (n,): the customer took it before.
        starts: int64, shape (n_cases,), first row of each case, rising from 0.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonFiles:
    """Lessons in folders, part by part.

    Whoever goes through them has one part at a time in memory: it is mapped when its turn comes.

    Attributes:
        folders: each written by `write_lessons`.
        only_new: leave out what the customer took before.
    """

    folders: tuple[Path, ...]
    only_new: bool = False

    def __iter__(self) -> Iterator[Lessons]:
        for part in self._parts():
            yield part.only(~part.is_own) if self.only_new else part

    def _parts(self) -> Iterator[Lessons]:
        for folder in self.folders:
            for number in range(len(list(folder.glob(_file_name("*", "taken"))))):
                yield Lessons(
                    **{
                        name: np.asarray(open_array(folder / _file_name(number, name)))
                        for name in _ARRAYS
                    }
                )


def write_lessons(parts: Iterable[Lessons], folder: Path) -> None:
    """Write lessons as they come; a part without cases is left out."""
    for number, part in enumerate(part for part in parts if len(part)):
        for name in _ARRAYS:
            np.save(folder / _file_name(number, name), getattr(part, name))


def _file_name(number: int | str, array: str) -> str:
    return f"{number}_{array}.npy"


def joined_lessons(parts: Sequence[Lessons]) -> Lessons:
    """Parts under each other."""
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


def best_of_cases(starts: Ints, scores: NDArray[np.floating[Any]], n: int) -> NDArray[np.bool_]:
    """Which rows are among the n best of their case; ties to the first.

    >>> best_of_cases(np.array([0, 3]), np.array([1.0, 2.0, 2.0, 0.0]), 1).tolist()
    [False, True, False, True]
    """
    best = np.ones(len(scores), dtype=np.bool_)
    for first, stop in pairwise([*starts.tolist(), len(scores)]):
        if stop - first > n:
            case = scores[first:stop]
            least = np.partition(case, -n)[-n]
            above = case > least
            above[np.flatnonzero(case == least)[: n - np.count_nonzero(above)]] = True
            best[first:stop] = above
    return best
