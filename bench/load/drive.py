"""Drivers in processes of their own, all from the same moment on, each with its share."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import ceil
from multiprocessing.connection import Connection
from time import monotonic_ns, perf_counter
from typing import Final

from bench.http_processes import machine_busy_s
from bench.load.driver import Trace, Work, follow
from builder.leash import end_with_parent
from edge.open_files import allow_many_connections

# Long enough for all processes to hear of it.
_AHEAD_NS: Final = 100_000_000
_FILES_BESIDE: Final = 64
"""What a driver has open besides its connections."""


class TooManyConnections(Exception):
    """A driver would need more files than it may open, and take that for failures of a service."""

    exit_code = 2
    hint = "ask for fewer by --connections, or raise the limit: ulimit -Hn"


class NoSuchCore(Exception):
    """No driver may run where it should."""

    exit_code = 2

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine while it was measured.

    Attributes:
        busy_share: of all cores together, whoever kept them busy.
        stolen_share: of all cores, that the host gave to other machines.
    """

    busy_share: float
    stolen_share: float


def drive(
    work: Work,
    *,
    processes: int = 1,
    cores: Collection[int] = (),
    on_begin: Callable[[int], None] | None = None,
) -> tuple[list[Trace], Host]:
    """Let drivers do some work together; where this is left early, they end at once.

    Args:
        work: all of it; requests are dealt out in turn, connections evenly, at least one each.
        processes: how many drivers there are; no more than requests.
        cores: where they may run; anywhere by default.
        on_begin: is told the moment that all count from, of `time.monotonic_ns`, just before it.

    Returns:
        A trace of each driver, the first with the requests 0, processes, 2·processes, …

    Raises:
        NoSuchCore: the system does not let processes run on one of the cores.
        TooManyConnections: the system does not grant so many files.
    """
    _require_cores(cores)
    processes = min(processes, len(work.due_ns))
    most = allow_many_connections()
    if ceil(work.connections / processes) > most - _FILES_BESIDE:
        raise TooManyConnections(
            f"{work.connections:,} connections at once are more than the {most:,} files that a"
            " process may open here"
        )
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        held_by_driver, leash = context.Pipe(duplex=False)
        stack.enter_context(held_by_driver)
        pools = [
            stack.enter_context(
                ProcessPoolExecutor(
                    1,
                    context,
                    _begin,
                    (share_of(work, number, processes), set(cores), held_by_driver),
                )
            )
            for number in range(processes)
        ]
        # Is let go before the pools are left, which wait for their drivers.
        stack.enter_context(leash)
        for ready in [pool.submit(_is_ready) for pool in pools]:
            ready.result()
        before, began_s = machine_busy_s(), perf_counter()
        begin_ns = monotonic_ns() + _AHEAD_NS
        following = [pool.submit(_run, begin_ns) for pool in pools]
        if on_begin is not None:
            on_begin(begin_ns)
        traces = [trace.result() for trace in following]
        after, seconds = machine_busy_s(), perf_counter() - began_s
    of_all = seconds * (os.cpu_count() or 1)
    return traces, Host(
        busy_share=(after[0] - before[0]) / of_all, stolen_share=(after[1] - before[1]) / of_all
    )


def share_of(work: Work, number: int, processes: int) -> Work:
    """What one of several drivers does."""
    connections = len(range(number, work.connections, processes))
    return replace(
        work,
        due_ns=work.due_ns[number::processes],
        which=work.which[number::processes],
        connections=max(connections, 1),
        kept=None if work.kept is None else work.kept[number::processes],
    )


def _require_cores(cores: Collection[int]) -> None:
    ours = os.sched_getaffinity(0)
    for core in cores:
        try:
            os.sched_setaffinity(0, {core})
        except (OSError, ValueError, OverflowError) as problem:
            here = ", ".join(map(str, sorted(ours)))
            raise NoSuchCore(
                f"--core {core}: no process may run there", hint=f"give --core one of {here}"
            ) from problem
        finally:
            os.sched_setaffinity(0, ours)


_work: list[Work] = []


def _begin(work: Work, cores: set[int], leash: Connection) -> None:
    end_with_parent(leash)
    _work.append(work)
    if cores:
        os.sched_setaffinity(0, cores)
    # A collection in the middle of a run would be measured as if the service had stalled.
    gc.freeze()
    gc.disable()


def _is_ready() -> bool:
    return True


def _run(begin_ns: int) -> Trace:
    return follow(_work[0], begin_ns)
