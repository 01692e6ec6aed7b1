"""The driver: callers in a process of their own who ask, wait for the answer, and ask again.

This is a closed loop. A slow answer delays the next question, so the time a request would have had
to wait for its turn is nowhere in these figures; they compare costs, and say nothing about a peak.
How long requests wait at a given rate is what the open loop of `bench.load` measures, which the
same process follows.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import nan
from time import monotonic_ns, perf_counter_ns, process_time_ns
from typing import Final, Self, cast

import numpy as np
from numpy.typing import NDArray
from uvicorn.loops.uvloop import uvloop_loop_factory

from bench.http_answers import LOST, parsed_answer
from bench.load.driver import Trace, Work, follow
from bench.load.target import target_of

_LAP_LIMIT_S: Final = 120.0
# Connections are there before the first request is due.
_AHEAD_NS: Final = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """What one run of requests met.

    Attributes:
        nanoseconds: int64, one per request, from before it is written until its answer is whole.
        statuses: int64, HTTP statuses; `LOST` where there was no answer.
        sizes: int64, bytes of the answers' bodies.
        decided_us: float64, what `Server-Timing` says deciding took; NaN where it says nothing.
        wall_ns: from the first request to the last answer.
        cpu_ns: processor time of the driver itself.
    """

    nanoseconds: NDArray[np.int64]
    statuses: NDArray[np.int64]
    sizes: NDArray[np.int64]
    decided_us: NDArray[np.float64]
    wall_ns: int
    cpu_ns: int

    @property
    def errors(self) -> int:
        """Requests without a good answer."""
        return int(np.count_nonzero(self.statuses != 200))


class Driver:
    """Starts the driver's process and ends it.

    Args:
        wires: by whom they are for, requests as they go over the wire, used in turn.
        cores: where the process may run.
    """

    def __init__(self, wires: Mapping[str, Sequence[bytes]], cores: Collection[int]) -> None:
        self._pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _begin, (dict(wires), set(cores))
        )

    def lap(self, name: str, port: int, *, connections: int, start: int, n: int) -> Lap:
        """Send `n` of someone's requests, from number `start` on, over so many connections."""
        return self._pool.submit(_lap, name, port, connections, start, n).result()

    def follow(
        self, name: str, port: int, *, connections: int, start: int, due_ns: NDArray[np.int64]
    ) -> Trace:
        """Send someone's requests when they are due, from number `start` on."""
        return self._pool.submit(_follow, name, port, connections, start, due_ns).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def drive(wire: Sequence[bytes], port: int, *, connections: int, start: int, n: int) -> Lap:
    """`Driver.lap` in this process."""
    work = _Work(wire, start, n)
    with asyncio.Runner(loop_factory=uvloop_loop_factory()) as runner:
        cpu_ns, began_ns = process_time_ns(), perf_counter_ns()
        runner.run(_callers(work, port, connections))
        wall_ns, cpu_ns = perf_counter_ns() - began_ns, process_time_ns() - cpu_ns
    return Lap(
        nanoseconds=work.nanoseconds,
        statuses=work.statuses,
        sizes=work.sizes,
        decided_us=work.decided_us,
        wall_ns=wall_ns,
        cpu_ns=cpu_ns,
    )


class _Work:
    """The requests of one lap, handed out one by one, and what became of each."""

    def __init__(self, wire: Sequence[bytes], start: int, n: int) -> None:
        self._wire = wire
        self._start = start
        self._n = n
        self._next = 0
        self.nanoseconds = np.zeros(n, dtype=np.int64)
        self.statuses = np.full(n, LOST, dtype=np.int64)
        self.sizes = np.zeros(n, dtype=np.int64)
        self.decided_us = np.full(n, nan)

    @property
    def left(self) -> int:
        return self._n - self._next

    def take(self) -> tuple[int, bytes]:
        number = self._next
        self._next += 1
        return number, self._wire[(self._start + number) % len(self._wire)]


class _Caller(asyncio.Protocol):
    """One connection: one request at a time, no pipelining."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._transport: asyncio.Transport | None = None
        self._number = -1
        self._sent_ns = 0
        self._received = b""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        now_ns = perf_counter_ns()
        assert self._transport is not None
        self._received = self._received + data if self._received else data
        try:
            answer = parsed_answer(self._received)
        except ValueError:
            self._transport.abort()
            return
        if answer is None:
            return
        work, number = self._work, self._number
        work.nanoseconds[number] = now_ns - self._sent_ns
        work.statuses[number] = answer.status
        work.sizes[number] = answer.size
        work.decided_us[number] = answer.decided_us
        self._received = b""
        if answer.stays and work.left:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def _ask(self) -> None:
        assert self._transport is not None
        if not self._work.left:
            self._transport.close()
            return
        self._number, request = self._work.take()
        self._sent_ns = perf_counter_ns()
        self._transport.write(request)


async def _callers(work: _Work, port: int, connections: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAP_LIMIT_S), asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_calls(work, port))


async def _calls(work: _Work, port: int) -> None:
    loop = asyncio.get_running_loop()
    while work.left:
        try:
            _, caller = await loop.create_connection(lambda: _Caller(work), "127.0.0.1", port)
        except OSError:
            if work.left:
                work.take()  # one request is lost for each refusal, so a dead server ends the lap
            continue
        await caller.gone


_wires: dict[str, Sequence[bytes]] = {}


def _begin(wires: dict[str, Sequence[bytes]], cores: set[int]) -> None:
    _wires.update(wires)
    if cores:
        os.sched_setaffinity(0, cores)
    gc.freeze()
    gc.disable()


def _lap(name: str, port: int, connections: int, start: int, n: int) -> Lap:
    lap = drive(_wires[name], port, connections=connections, start=start, n=n)
    gc.collect()
    return lap


def _follow(name: str, port: int, connections: int, start: int, due_ns: NDArray[np.int64]) -> Trace:
    wire = _wires[name]
    work = Work(
        target=target_of(f"http://127.0.0.1:{port}"),
        wire=wire,
        due_ns=due_ns,
        which=(start + np.arange(len(due_ns))) % len(wire),
        connections=connections,
    )
    trace = follow(work, monotonic_ns() + _AHEAD_NS)
    gc.collect()
    return trace
