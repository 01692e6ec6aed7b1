"""The engine's promises: finished work is never done twice, and never half done."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder import engine as engines
from builder import errors
from builder.engine import DONE, Engine, Task, fingerprint, run_task
from builder.errors import BuildError, DataGate, TaskFailed, WorkDirBusy, WorkerLost
from builder.libraries import learning_versions
from builder.progress import Listener
from tests.builder.engine_tasks import Count, Describe, DieUntil, Raise

MEMORY_BYTES = 512 * 2**20


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(
        tmp_path / "work", workers=2, memory_bytes=2 * MEMORY_BYTES, listener=Listener()
    ) as engine:
        yield engine


def test_results_come_in_task_order_with_their_cost(engine: Engine, marks: Path) -> None:
    folders = engine.run("count", [Count(number=n, marks=marks) for n in (2, 0, 1)])
    assert [int((f / "number").read_text()) // MEMORY_BYTES for f in folders] == [2, 0, 1]
    assert all((folder / DONE).exists() for folder in folders)


def test_finished_tasks_are_skipped_and_new_ones_run(tmp_path: Path, marks: Path) -> None:
    listener = Listener()
    for last in (2, 3):
        with Engine(tmp_path, workers=1, memory_bytes=MEMORY_BYTES, listener=listener) as engine:
            engine.run("count", [Count(number=n, marks=marks) for n in range(last)])
    assert [(cost.n_tasks, cost.n_skipped) for cost in listener.costs] == [(2, 0), (3, 2)]
    assert [path.read_text() for path in sorted(marks.iterdir())] == ["x", "x", "x"]


def test_another_description_is_another_result(marks: Path) -> None:
    one, same = Count(number=1, marks=marks), Count(number=1, marks=marks)
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(Count(number=2, marks=marks))


def test_other_libraries_are_another_result(marks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors and trees that one version learned are not mixed with another one's."""
    task = Count(number=1, marks=marks)
    found = {fingerprint(task)}
    names = {"duckdb", "faiss-cpu", "implicit", "lightgbm", "numpy", "scipy"}
    try:
        for name in names:
            other = learning_versions() | {name: "another"}
            monkeypatch.setattr(engines, "learning_versions", lambda told=other: told)
            engines.code_digest.cache_clear()
            found.add(fingerprint(task))
    finally:
        engines.code_digest.cache_clear()
    assert len(found) == 1 + len(names)


def test_killed_worker_is_replaced_and_its_task_run_again(engine: Engine, marks: Path) -> None:
    tasks: list[Task] = [DieUntil(deaths=2, marks=marks)]
    tasks += [Count(number=n, marks=marks) for n in range(3)]
    folders = engine.run("deadly", tasks)
    assert (marks / "die").read_text() == "xxx"
    assert [folder.exists() for folder in folders] == [True] * 4


def test_worker_that_keeps_dying_ends_the_stage(engine: Engine, marks: Path) -> None:
    with pytest.raises(WorkerLost, match=r"deadly: worker processes died 4 times.*: die") as caught:
        engine.run("deadly", [DieUntil(deaths=99, marks=marks)])
    assert caught.value.exit_code == 75


def test_engine_is_usable_after_a_failure(engine: Engine, marks: Path) -> None:
    with pytest.raises(TaskFailed):
        engine.run("fails", [Raise(error=ValueError("odd"))])
    assert len(engine.run("count", [Count(number=1, marks=marks)])) == 1


def test_task_error_says_stage_and_task_and_leaves_no_result(engine: Engine) -> None:
    with pytest.raises(TaskFailed, match="fails/raise failed: ValueError: odd") as caught:
        engine.run("fails", [Raise(error=ValueError("odd"))])
    assert "raise self.error" in caught.value.trace
    assert list((engine.work_dir / "fails").iterdir()) == []


def test_our_errors_travel_whole(engine: Engine) -> None:
    gate = DataGate("too bad", hint="look", path=Path("a"), report_path=Path("r"))
    with pytest.raises(DataGate, match=r"^too bad$") as caught:
        engine.run("fails", [Raise(error=gate)])
    error = caught.value
    assert (error.hint, error.path, error.report_path) == ("look", Path("a"), Path("r"))
    assert (error.stage, error.task, error.exit_code) == ("fails", "raise", 5)


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, BuildError)],
)
def test_every_error_survives_pickling(kind: type[BuildError]) -> None:
    again = pickle.loads(pickle.dumps(kind("sentence", hint="h", path=Path("p"))))
    assert (type(again), str(again), again.hint, again.path) == (kind, "sentence", "h", Path("p"))


def test_second_engine_in_a_work_folder_is_refused(engine: Engine) -> None:
    with pytest.raises(WorkDirBusy, match="another build") as caught:
        Engine(engine.work_dir, workers=1, memory_bytes=MEMORY_BYTES, listener=Listener())
    assert caught.value.exit_code == 6


def test_closed_engine_frees_its_work_folder(tmp_path: Path) -> None:
    for _ in range(2):
        Engine(tmp_path, workers=1, memory_bytes=MEMORY_BYTES, listener=Listener()).close()


def test_workers_have_one_thread_and_download_nothing(engine: Engine) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    (folder,) = engine.run("describe", [Describe()])
    assert (folder / "seen").read_text() == "1 (1, 'UTC', False)"
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_any_executor_will_do(tmp_path: Path, marks: Path) -> None:
    with Engine(
        tmp_path / "work",
        workers=2,
        memory_bytes=2 * MEMORY_BYTES,
        listener=Listener(),
        executor=lambda: ThreadPoolExecutor(2),
    ) as engine:
        folders = engine.run("count", [Count(number=n, marks=marks) for n in range(4)])
    assert [folder.name[:8] for folder in folders] == [f"count-{n:02d}" for n in range(4)]


def test_task_run_twice_keeps_the_first_result(tmp_path: Path, marks: Path) -> None:
    task, result_dir = Count(number=1, marks=marks), tmp_path / "count" / "result"
    for _ in range(2):
        run_task("count", task, result_dir, 1)
    assert [path.name for path in result_dir.parent.iterdir()] == ["result"]


BUILD = """
import sys, time
from pathlib import Path
from builder.engine import Engine
from builder.progress import Listener
from tests.builder.engine_tasks import Slow

if __name__ == "__main__":
    work, slow = Path(sys.argv[1]), sys.argv[2] == "slow"
    (work / "marks").mkdir(parents=True, exist_ok=True)
    with Engine(work, workers=2, memory_bytes=2**30, listener=Listener()) as engine:
        tasks = [Slow(number=n, marks=work / "marks", go=work / "go") for n in range(6)]
        print([(path / "number").read_text() for path in engine.run("slow", tasks)])
"""


def test_killed_build_resumes_after_its_last_finished_task(tmp_path: Path) -> None:
    script, work = tmp_path / "night.py", tmp_path / "work"
    script.write_text(BUILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(work), "slow"]
    build = subprocess.Popen(command, env=environment)
    wait_until(lambda: len(list(work.glob(f"slow/slow-*/{DONE}"))) == 2)
    wait_until(lambda: (work / "marks" / "slow-2").exists() and (work / "marks/slow-3").exists())
    build.kill()
    build.wait()
    (work / "go").touch()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == str([str(n) for n in range(6)])
    runs = {n: (work / "marks" / f"slow-{n}").stat().st_size for n in range(6)}
    assert runs == {0: 1, 1: 1, 2: 2, 3: 2, 4: 1, 5: 1}
    assert not list(work.glob("slow/.unfinished-*"))


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script, work = tmp_path / "night.py", tmp_path / "work"
    script.write_text(BUILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    build = subprocess.Popen([sys.executable, str(script), str(work), "slow"], env=environment)
    wait_until(lambda: len(list(work.glob("marks/*.pid"))) == 2)
    pids = {int(path.read_text()) for path in work.glob("marks/*.pid")}
    build.kill()
    build.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids))


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a corpse nobody collected."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(holds: object, deadline_s: float = 60.0) -> None:
    """Poll until a condition holds."""
    assert callable(holds)
    end_s = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end_s, "the condition never held"
        time.sleep(0.02)
