"""Tasks on a Dask cluster instead of this machine's own processes.

Scheduling, the death of workers and their replacement are Dask's. Ours is what must hold on each
worker for a result to be the same as here, and it is looked at with every task, since workers come
and go: it runs the same code, has one thread, and sees the same work folder.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distributed import Client, get_worker
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from threadpoolctl import threadpool_limits

from builder.engine import ONE_THREAD, Engine, code_digest
from builder.errors import BuildError, ClusterUnusable, TaskFailed, UsageError
from builder.progress import Listener

_SCHEMES: Final = {"dask": "tcp", "dask+tls": "tls"}
_SHARE: Final = 0.7
"""Of a worker's memory, for a task: Dask pauses a worker at 0.8 of it and kills it at 0.95."""
_LEAST_TASK_BYTES: Final = 256 * 2**20
_SEEN: Final = ".shared"
_ANSWER_S: Final = 10.0
_WAIT_S: Final = 60.0
_SAME_CODE: Final = "install the same Almanac and extras on all machines, and start workers anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster as it was found.

    Attributes:
        url: as it was given.
        address: of the scheduler, in Dask's words.
        n_workers: those that were there.
        task_memory_bytes: for one task: a share of what the smallest worker may take.
        work_dir: absolute; all workers must see it.
    """

    url: str
    address: str
    n_workers: int
    task_memory_bytes: int
    work_dir: Path

    def engine(self, listener: Listener) -> Engine:
        """An engine whose tasks run there, and each have a whole worker for themselves.

        Raises:
            NotWritable, WorkDirBusy: as `Engine` does.
        """
        return Engine(
            self.work_dir,
            workers=self.n_workers,
            memory_bytes=self.n_workers * self.task_memory_bytes,
            listener=listener,
            executor=self.executor,
        )

    def executor(self) -> Executor:
        """A new connection, for the engine."""
        token = secrets.token_hex(16)
        (self.work_dir / _SEEN).write_text(token)
        return _ClusterExecutor(_connected(self.url, self.address), self.work_dir, token)


def find_cluster(url: str, work_dir: Path, *, wait_s: float = _WAIT_S) -> Cluster:
    """Look at the cluster that tasks are to run on.

    Args:
        url: `dask://HOST:PORT`, or `dask+tls://` with certificates from Dask's own configuration.
        work_dir: where results of tasks will lie.
        wait_s: how long to wait for its first worker.

    Raises:
        UsageError: this is no such URL, or its workers are not as they must be.
        ClusterUnusable: nobody answers there, or it has no workers.
    """
    scheme, found, place = url.partition("://")
    if scheme not in _SCHEMES or not found or not place:
        raise UsageError(f"--engine {url!r} is no cluster", hint="say it as dask://HOST:8786")
    address = f"{_SCHEMES[scheme]}://{place}"
    with _connected(url, address) as client:
        with suppress(TimeoutError):
            client.wait_for_workers(1, timeout=wait_s)
        workers = _workers(client)
    if not workers:
        raise ClusterUnusable(
            f"{url}: no worker has come within {wait_s:g} s",
            hint="start some: dask worker --nthreads 1 --memory-limit 4GiB"
            f" {address.removeprefix('tcp://')}",
        )
    for name, worker in workers.items():
        _require_one_thread(name, int(worker["nthreads"]))
    return Cluster(
        url=url,
        address=address,
        n_workers=len(workers),
        task_memory_bytes=min(_task_bytes(name, worker) for name, worker in workers.items()),
        work_dir=work_dir.absolute(),
    )


def run_here(
    run: Callable[..., Any], arguments: tuple[Any, ...], work_dir: Path, token: str, digest: str
) -> Any:
    """Run a function on a worker, if a result of it would be worth the same as at home.

    Raises:
        UsageError: the worker is not as it must be.
    """
    worker = get_worker()
    _require_one_thread(worker.address, worker.state.nthreads)
    if code_digest() != digest:
        raise UsageError(
            f"{worker.address} runs other code or other versions of libraries", hint=_SAME_CODE
        )
    _require_shared(worker.address, work_dir, token)
    # Sums of several threads depend on how many there are. Libraries that come later ask the
    # environment, those that are there already have to be told.
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    with threadpool_limits(1):
        return run(*arguments)


class _ClusterExecutor(Executor):
    """Dask's client as the engine knows executors: what can be tried again is a broken executor."""

    def __init__(self, client: Client, work_dir: Path, token: str) -> None:
        self._client = client
        self._tasks = client.get_executor(pure=False)
        self._checks = (work_dir, token, code_digest())

    def submit(  # type: ignore[override] # what we submit takes no keywords
        self, run: Callable[..., Any], /, *arguments: Any
    ) -> Future[Any]:
        outcome: Future[Any] = Future()

        def ended(theirs: Future[Any]) -> None:
            if outcome.cancelled():
                return
            try:
                result = theirs.result()
            except (KilledWorker, CancelledError, CommClosedError) as problem:
                outcome.set_exception(BrokenExecutor(str(problem)))
            except BuildError as error:
                outcome.set_exception(error)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is the cluster's
                outcome.set_exception(_not_ours(error))
            else:
                outcome.set_result(result)

        submitted = self._tasks.submit(run_here, run, arguments, *self._checks)
        submitted.add_done_callback(ended)
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002
        # What has begun on a worker goes on there, and does no harm: it ends as a finished task,
        # or without its folder when the next engine has cleared up. What has not is forgotten.
        self._client.close()


def _not_ours(error: Exception) -> TaskFailed:
    kind = type(error).__name__
    absent = isinstance(error, ImportError | AttributeError)
    return TaskFailed(
        f"a task could not be run on the cluster: {kind}: {error}",
        hint=_SAME_CODE if absent else None,
    )


def _connected(url: str, address: str) -> Client:
    # What it logs, with tracebacks, it also raises.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, name="almanac", set_as_default=False, timeout=_ANSWER_S)
    except (OSError, TimeoutError, ValueError) as problem:
        raise ClusterUnusable(
            f"{url}: no scheduler answers there ({problem})",
            hint="start one (dask scheduler --port 8786) or look at the address, and run again;"
            " finished tasks are kept",
        ) from problem


def _workers(client: Client) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _require_one_thread(name: str, n_threads: int) -> None:
    if n_threads != 1:
        raise UsageError(
            f"{name} has {n_threads} threads; a task is one thread and has its process alone",
            hint="start workers with --nthreads 1, and as many as there are cores",
        )


def _require_shared(name: str, work_dir: Path, token: str) -> None:
    try:
        if (work_dir / _SEEN).read_text() == token:
            return
        told = "another one has its name there"
    except OSError as problem:
        told = str(problem.strerror)
    raise UsageError(
        f"{name} does not see this machine's work folder {work_dir}: {told}",
        hint="--work must be a folder that all machines share under the same name",
        path=work_dir,
    )


def _task_bytes(name: str, worker: Mapping[str, Any]) -> int:
    limit = int(worker["memory_limit"] or 0)
    share = int(limit * _SHARE)
    if share < _LEAST_TASK_BYTES:
        told = f"may take {limit >> 20} MiB" if limit else "has no limit of memory"
        least = -(-_LEAST_TASK_BYTES // 2**20) / _SHARE
        raise UsageError(
            f"{name} {told}",
            hint=f"start workers with --memory-limit, of at least {least:.0f}MiB",
        )
    return share
