"""Lessons: what they hold, how they lie in files, and that fits do not depend on how."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.engine import DONE, Engine
from builder.progress import Listener
from builder.signals.features import FEATURES
from builder.signals.lesson_taking import USUAL
from builder.signals.lessons import (
    LessonFiles,
    Lessons,
    best_of_cases,
    joined_lessons,
    write_lessons,
)
from builder.signals.orders import DAY_US
from builder.signals.personal_fit import FitPersonal, read_fitted
from builder.signals.personal_model import PersonalModel, PersonalSettings
from builder.split import Cut
from builder.teaching import learn_personal
from tests.builder.signal_shops import MEMORY_BYTES, Line, contents, fit, learn, write_shop

CUT = Cut(until_us=60 * DAY_US, holdout_share=0.0)
UNTIL_US = 100 * DAY_US
LINES = [
    Line(customer=customer, order=customer * 100 + visit, item=item, day=15 * visit + customer % 7)
    for customer in range(1, 61)
    for visit in range(6)
    for item in range(8)
    if (item + visit * customer) % 3 and (item + customer) % 4
]


def lessons(n_cases: int, first: int = 0) -> Lessons:
    """Cases of two rows each, the second taken; every number is another."""
    rows = np.arange(2 * n_cases) + 2 * first
    return Lessons(
        features=np.repeat(rows[:, None], len(FEATURES), axis=1).astype(np.float32),
        taken=rows % 2 == 1,
        is_own=rows % 4 == 0,
        starts=np.arange(n_cases) * 2,
        customer=np.arange(n_cases, dtype=np.uint64) + np.uint64(first),
    )


def test_parts_lie_in_files_in_their_order(tmp_path: Path) -> None:
    """Ten and more of a folder, then those of the next; a part without cases is none."""
    sizes = [1, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3]
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    parts = [lessons(size, first) for size, first in zip(sizes, firsts, strict=True)]
    folders = (tmp_path / "one", tmp_path / "none", tmp_path / "two")
    for folder, own in zip(folders, (parts[:-1], [], parts[-1:]), strict=True):
        folder.mkdir()
        write_lessons(iter(own), folder)
    found = LessonFiles(folders=folders)
    joined, expected = joined_lessons(list(found)), lessons(sum(sizes))

    assert [len(part) for part in found] == [size for size in sizes if size]
    for field in fields(Lessons):
        array = getattr(joined, field.name)
        assert array.dtype == getattr(expected, field.name).dtype
        assert array.tolist() == getattr(expected, field.name).tolist()


@given(
    cases=st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=12), min_size=1, max_size=5),
    n=st.integers(1, 6),
)
def test_the_best_of_a_case_are_as_many_as_asked_for(cases: list[list[int]], n: int) -> None:
    """Whatever ties: those that come first."""
    starts = np.cumsum([0, *map(len, cases[:-1])])
    best = best_of_cases(starts, np.concatenate(cases).astype(np.float32), n)
    expected = []
    for scores in cases:
        order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
        expected += [row in order[:n] for row in range(len(scores))]

    assert best.tolist() == expected


@settings(max_examples=20)
@given(seed=st.integers(0, 1 << 16))
def test_what_is_never_taken_again_teaches_nothing(seed: int) -> None:
    """Old offers in each case, none of it taken, change neither weights nor trees."""
    random = np.random.default_rng(seed)
    n_cases, n_old, n_new = 40, 3, 5
    is_own = np.tile(np.arange(n_old + n_new) < n_old, n_cases)
    features = random.random((len(is_own), len(FEATURES))).astype(np.float32)
    taken = ~is_own & (random.random(len(is_own)) < 0.3)
    starts = np.arange(n_cases) * (n_old + n_new)
    all_told = Lessons(
        features=features,
        taken=taken,
        is_own=is_own,
        starts=starts,
        customer=np.arange(n_cases, dtype=np.uint64),
    )
    models = []
    for lessons in (all_told, all_told.only(~is_own)):
        with TemporaryDirectory() as folder:
            (Path(folder) / USUAL).mkdir()
            write_lessons([lessons], Path(folder) / USUAL)
            task = FitPersonal(kind=USUAL, lesson_dirs=(Path(folder),), settings=PersonalSettings())
            task.run(Path(folder), MEMORY_BYTES)
            models.append(read_fitted(Path(folder), Path(folder)))
    assert models[0] == models[1]
    assert models[0].repeat == "exclude"


def test_partitions_make_no_difference_to_the_fit(tmp_path: Path) -> None:
    """The same lessons in one part, in two and in five: the same weights, but for rounding."""
    models = []
    cut = replace(CUT, holdout_share=0.5)
    for n_partitions in (1, 2, 5):
        folder = tmp_path / str(n_partitions)
        partition_of = [line.customer * n_partitions // 61 for line in LINES]
        shop = write_shop(folder / "shop", LINES, n_items=8, partition_of=partition_of)
        learned = learn(shop, folder / "work", cut)
        models.append(fit(shop, learned, cut, UNTIL_US, folder, holdout_share=0.0))
    whole, *others = models

    assert whole.n_cases == 120
    assert whole.weights != PersonalModel().weights
    assert whole.thin_weights not in (PersonalModel().weights, whole.weights)
    for model in others:
        assert model.n_cases == whole.n_cases
        assert model.repeated == whole.repeated
        assert model.loss == pytest.approx(whole.loss, rel=1e-9)
        assert model.weights == pytest.approx(whole.weights, rel=1e-5, abs=1e-7)
        assert model.thin_weights == pytest.approx(whole.thin_weights, rel=1e-5, abs=1e-7)


def test_workers_find_the_same_and_finished_tasks_are_kept(tmp_path: Path) -> None:
    """This process or two others: every file is the same; a second run does nothing."""
    partition_of = [line.customer % 3 for line in LINES]
    shop = write_shop(tmp_path / "shop", LINES, n_items=8, partition_of=partition_of)
    learned = learn(shop, tmp_path / "work", CUT)
    settings = PersonalSettings(fit_customers=50)
    found, files = [], []
    for name, n_workers, executor in (
        ("here", 1, lambda: ThreadPoolExecutor(1)),
        ("by-others", 2, None),
    ):
        listener = Listener()
        work_dir = tmp_path / name
        with Engine(
            work_dir,
            workers=n_workers,
            memory_bytes=n_workers * MEMORY_BYTES,
            listener=listener,
            executor=executor,
        ) as engine:
            for _ in range(2):
                model = learn_personal(
                    engine,
                    shop.partitions,
                    shop.vocabulary,
                    CUT,
                    UNTIL_US,
                    since_us=0,
                    globals_dir=learned.globals_dir,
                    holdout_share=0.0,
                    settings=settings,
                )
                found.append(model)
        told = [(cost.stage, cost.n_tasks, cost.n_skipped) for cost in listener.costs]
        assert told == [
            ("lessons", 3, 0),
            ("personal", 2, 0),
            ("lessons", 3, 3),
            ("personal", 2, 2),
        ]
        files.append(
            {
                str(path.relative_to(work_dir)).partition("-")[0] + name: held
                for path in sorted(work_dir.glob("*/*-*"))
                for name, held in contents(path).items()
                if name != DONE
            }
        )

    assert found == [found[0]] * 4
    assert files[0] == files[1]
