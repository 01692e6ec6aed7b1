"""Runs a build as stages of coarse, idempotent tasks over any concurrent.futures executor.

A task writes into a temporary folder beside its final one; when it is done the files are synced
and the folder is renamed to `work/<stage>/<task>-<fingerprint>`. The fingerprint covers the task's
own description and the code that would run it, and a task's description names its inputs, which
are such folders themselves: a finished task is skipped exactly when nothing it depends on changed.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import secrets
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Protocol, Self

from builder.errors import (
    BuildError,
    NotWritable,
    TaskFailed,
    WorkDirBusy,
    WorkerLost,
    out_of_space,
)
from builder.leash import end_with_parent
from builder.libraries import learning_versions
from builder.progress import Listener, TaskCost, peak_rss_bytes, reset_peak_rss

DONE = "done.json"
LOCK_NAME = ".lock"
_UNFINISHED = ".unfinished-"
_CODE = frozenset({".py", ".pyx", ".pxi"})
# A task is one thread; the processes are the parallelism.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Task(Protocol):
    """A unit of work: a frozen, picklable dataclass whose repr is deterministic and complete."""

    @property
    def name(self) -> str:
        """Unique in its stage and safe as a file name, for instance `import-0003`."""
        ...

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        """Do the work, writing only inside `out_dir`, within `memory_bytes` for this process."""
        ...


class Engine:
    """Runs stages in a work folder that it locks for itself.

    Args:
        work_dir: where the results of tasks live; made if missing. A cluster needs a shared one.
        workers: processes at a time.
        memory_bytes: for all of them together; a task gets an equal share.
        listener: is told of stages and tasks.
        executor: makes the executor; by default a pool of spawned processes. It is called again
            when the executor broke.
        retries: how often in one stage a broken executor is replaced.

    Raises:
        NotWritable: the folder cannot be made or written.
        WorkDirBusy: another build is using the folder.
    """

    def __init__(
        self,
        work_dir: Path,
        *,
        workers: int,
        memory_bytes: int,
        listener: Listener,
        executor: Callable[[], Executor] | None = None,
        retries: int = 3,
    ) -> None:
        self.work_dir = work_dir
        self._workers = workers
        self._task_memory_bytes = memory_bytes // workers
        self.listener = listener
        self._make_executor = executor if executor is not None else self._make_pool
        self._retries = retries
        self._executor: Executor | None = None
        self._leash: Connection | None = None
        self._lock = _lock(work_dir)
        for leftover in work_dir.glob(f"*/{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers at once and release the work folder."""
        self._drop_executor()
        self._lock.close()

    def run(self, stage: str, tasks: Sequence[Task]) -> list[Path]:
        """Run the tasks that are not finished yet.

        Args:
            stage: a name, safe as a file name; the same in every run.
            tasks: in any number; the order only decides the order of the result.

        Returns:
            The tasks' folders, in the order of the tasks. Each holds what the task wrote and
            `done.json` with what it cost.

        Raises:
            BuildError: what a task raised, with its stage and task.
            TaskFailed: a task raised something else.
            WorkerLost: workers kept dying.
        """
        results = [self._result_dir(stage, task) for task in tasks]
        assert len(set(results)) == len(results), f"two tasks of {stage} are the same"
        todo = {i for i, result in enumerate(results) if not (result / DONE).exists()}
        self.listener.stage_started(stage, len(tasks), len(tasks) - len(todo))
        try:
            self._finish(stage, tasks, results, todo)
        except BaseException:
            self._drop_executor()
            self.listener.stage_failed(stage)
            raise
        self.listener.stage_finished(stage)
        return results

    def _finish(
        self, stage: str, tasks: Sequence[Task], results: list[Path], todo: set[int]
    ) -> None:
        """Run what is still to do, again and again while the executor breaks."""
        losses = 0
        while todo:
            try:
                for i, cost in self._attempt(stage, {i: tasks[i] for i in sorted(todo)}, results):
                    todo.discard(i)
                    self.listener.task_finished(stage, cost)
            except BrokenExecutor as error:
                self._drop_executor()
                losses += 1
                if losses > self._retries:
                    raise _lost(stage, losses, [tasks[i].name for i in sorted(todo)]) from error
                self.listener.say(f"{stage}: a worker died; trying again ({len(todo)} to do)")

    def _attempt(
        self, stage: str, tasks: dict[int, Task], results: list[Path]
    ) -> Iterator[tuple[int, TaskCost]]:
        """Submit every task once and yield each as it finishes; the first failure is raised."""
        if self._executor is None:
            self._executor = self._make_executor()
        futures: dict[Future[TaskCost], int] = {}
        with _one_thread_each():
            for i, task in tasks.items():
                submitted = self._executor.submit(
                    run_task, stage, task, results[i], self._task_memory_bytes
                )
                futures[submitted] = i
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _result_dir(self, stage: str, task: Task) -> Path:
        return self.work_dir / stage / f"{task.name}-{fingerprint(task)}"

    def _make_pool(self) -> Executor:
        context = multiprocessing.get_context("spawn")
        held_by_worker, self._leash = context.Pipe(duplex=False)
        return ProcessPoolExecutor(
            self._workers,
            mp_context=context,
            initializer=end_with_parent,
            initargs=(held_by_worker,),
        )

    def _drop_executor(self) -> None:
        if self._leash is not None:
            self._leash.close()
            self._leash = None
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def fingerprint(task: Task) -> str:
    """Twelve hex digits that change with the task's description or with the code that runs it."""
    described = f"{type(task).__module__}.{type(task).__qualname__}\n{task!r}\n{code_digest()}"
    return blake2b(described.encode(), digest_size=6).hexdigest()


def run_task(stage: str, task: Task, result_dir: Path, memory_bytes: int) -> TaskCost:
    """Run one task to its end; this is what travels to a worker. Safe to run twice.

    Raises:
        BuildError: the task's own, with stage and task filled in.
        TaskFailed: anything else the task raised, as text, since not every exception can travel.
    """
    unique = f"{_UNFINISHED}{result_dir.name}-{os.getpid()}-{secrets.token_hex(4)}"
    out_dir = result_dir.with_name(unique)
    try:
        out_dir.mkdir(parents=True)
        cost = _measure(task, out_dir, memory_bytes)
        (out_dir / DONE).write_text(json.dumps(asdict(cost)))
        _settle(out_dir, result_dir)
    except Exception as error:  # noqa: BLE001 - whatever it was, its place must be said
        raise _named(error, stage, task) from None
    finally:
        shutil.rmtree(out_dir, ignore_errors=True)
    return cost


def _measure(task: Task, out_dir: Path, memory_bytes: int) -> TaskCost:
    reset_peak_rss()
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    task.run(out_dir, memory_bytes)
    return TaskCost(
        seconds=time.perf_counter() - started_s,
        cpu_seconds=time.process_time() - started_cpu_s,
        peak_rss_bytes=peak_rss_bytes(),
    )


def _settle(out_dir: Path, result_dir: Path) -> None:
    """Make a folder durable under its final name, or leave the one that got there first."""
    shutil.rmtree(out_dir / "spill", ignore_errors=True)
    for path in sorted(out_dir.rglob("*"), reverse=True):
        _sync(path)
    _sync(out_dir)
    try:
        out_dir.rename(result_dir)
    except OSError:
        if not (result_dir / DONE).exists():
            raise
    _sync(result_dir.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(error: Exception, stage: str, task: Task) -> BuildError:
    """The error as one of ours that says where it happened."""
    named: BuildError
    if isinstance(error, BuildError):
        named = error
    elif full := out_of_space(error, f"{stage}/{task.name}"):
        named = full
    else:
        kind = type(error).__name__
        short_of_memory = isinstance(error, MemoryError) or kind == "OutOfMemoryException"
        named = TaskFailed(
            f"{stage}/{task.name} failed: {kind}: {error}",
            trace=traceback.format_exc(),
            hint="give the build more with --memory, or fewer workers" if short_of_memory else None,
        )
    named.stage, named.task = stage, task.name
    return named


def _lost(stage: str, losses: int, unfinished: list[str]) -> WorkerLost:
    shown = ", ".join(unfinished[:5]) + (", …" if len(unfinished) > 5 else "")
    error = WorkerLost(
        f"{stage}: worker processes died {losses} times; not finished: {shown}",
        hint="usually a machine ran out of memory: lower --memory or the number of workers, or give"
        " those of a cluster a higher --memory-limit, and run again; finished tasks are kept",
    )
    error.stage = stage
    return error


def _lock(work_dir: Path) -> IO[str]:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        lock = (work_dir / LOCK_NAME).open("w")
    except OSError as problem:
        if full := out_of_space(problem, str(work_dir)):
            raise full from problem
        raise NotWritable(
            f"{work_dir}: no work folder can be made there ({problem.strerror})",
            hint="give another --work; by default it is beside --out",
            path=work_dir,
        ) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise WorkDirBusy(
            f"{work_dir}: another build is using this work folder",
            hint="wait for it to end, or give this one another work folder",
            path=work_dir,
        ) from None
    return lock


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside inherit one thread for their numeric libraries."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@cache
def code_digest() -> str:
    """A digest of the code and library versions whose change could change a result."""
    root = Path(__file__).parent.parent
    digest = blake2b(digest_size=16)
    files = chain.from_iterable((root / floor).rglob("*.p*") for floor in ("builder", "index"))
    for path in sorted(path for path in files if path.suffix in _CODE):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    digest.update(repr(learning_versions()).encode())
    return digest.hexdigest()
