"""The soak's callers: a process of its own that asks on a schedule and weighs every answer.

Requests leave at a fixed rate over connections that stay, and their time counts from the moment
they were due, so that a pause delays what follows in the figures as it would in a shop.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter_ns
from types import TracebackType
from typing import Final, Self, cast

import numpy as np
import orjson
from numpy.typing import NDArray
from uvicorn.loops.uvloop import uvloop_loop_factory

from bench.http_answers import LOST, parsed_answer

Expected = Mapping[str, Sequence[bytes]]
"""By snapshot id: the one right answer to each question, byte for byte."""

_KEPT_FAILURES: Final = 5
_BACK_OFF_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the callers were answered, in the order in which it came.

    Attributes:
        due_ns: int64, when each request was due, by `perf_counter_ns`.
        nanoseconds: int64, from then until its answer was whole, or the connection broke.
        statuses: int64, HTTP statuses; `LOST` where there was no answer.
        snapshots: int64, places in `names`; -1 where the answer names none that is known.
        torn: bool, whether the answer is another than its snapshot gives.
        names: ids of the snapshots.
        failures: the first few answers or exceptions that went wrong, as text.
    """

    due_ns: NDArray[np.int64]
    nanoseconds: NDArray[np.int64]
    statuses: NDArray[np.int64]
    snapshots: NDArray[np.int64]
    torn: NDArray[np.bool_]
    names: tuple[str, ...]
    failures: tuple[str, ...]


class Callers:
    """The callers while they ask.

    Args:
        port: where the node answers.
        wire: questions as they go over the wire, asked in turn.
        expected: the right answers.
        rate: requests per second, all connections together.
        connections: how many.
    """

    def __init__(
        self, port: int, wire: Sequence[bytes], expected: Expected, *, rate: int, connections: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_call,
            args=(theirs, port, list(wire), dict(expected), rate, connections),
            daemon=True,
        )
        self.heard: Heard | None = None

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._pipe.send(None)
            self.heard = self._pipe.recv()
        else:
            self._process.kill()
        self._process.join()
        self._pipe.close()


class _Log:
    """What became of each request, and whether it was right."""

    def __init__(self, expected: Expected) -> None:
        self._names = tuple(expected)
        self._places = {name: place for place, name in enumerate(self._names)}
        self._expected = [list(expected[name]) for name in self._names]
        self._rows: list[tuple[int, int, int, int, bool]] = []
        self._failures: list[str] = []

    def add(self, due_ns: int, status: int, question: int, received: bytes) -> None:
        took_ns = perf_counter_ns() - due_ns
        body = received.partition(b"\r\n\r\n")[2]
        place, torn = -1, False
        if status == 200:
            place = self._places.get(orjson.loads(body)["snapshot_id"], -1)
            header = b"\r\nx-snapshot-id: %b\r\n" % self._names[place].encode()
            right = place >= 0 and body == self._expected[place][question] and header in received
            torn = not right
        if (status != 200 or torn) and len(self._failures) < _KEPT_FAILURES:
            self._failures.append(f"{status} to question {question}: {received[-2000:]!r}")
        self._rows.append((due_ns, took_ns, status, place, torn))

    def heard(self) -> Heard:
        columns = np.array(self._rows, dtype=np.int64).reshape(-1, 5).T
        due_ns, nanoseconds, statuses, snapshots, torn = columns
        return Heard(
            due_ns=due_ns,
            nanoseconds=nanoseconds,
            statuses=statuses,
            snapshots=snapshots,
            torn=torn.astype(np.bool_),
            names=self._names,
            failures=tuple(self._failures),
        )


class _Caller(asyncio.Protocol):
    """One connection: a request whenever one is due and the one before is answered."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            answer = parsed_answer(self._received)
        except ValueError:
            self._end(LOST)
            return
        if answer is not None:
            self.is_open = self.is_open and answer.stays
            self._end(answer.status)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        self._end(LOST)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and all bytes of the answer."""
        assert self._transport is not None
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _end(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, self._received))


def _call(  # noqa: PLR0917  # what a process is given, in its order
    pipe: Connection,
    port: int,
    wire: list[bytes],
    expected: Expected,
    rate: int,
    connections: int,
) -> None:
    gc.freeze()
    gc.disable()
    log = _Log(expected)
    with asyncio.Runner(loop_factory=uvloop_loop_factory()) as runner:
        runner.run(_all_calls(pipe, port, wire, log, connections / rate, connections))
    pipe.send(log.heard())


async def _all_calls(  # noqa: PLR0917  # as above
    pipe: Connection, port: int, wire: list[bytes], log: _Log, every_s: float, connections: int
) -> None:
    # A loop that watched the pipe itself would make it non-blocking, and cut what is sent later.
    over = asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    async with asyncio.TaskGroup() as group:
        for place in range(connections):
            first_ns = perf_counter_ns() + int(every_s * 1e9 * place / connections)
            group.create_task(_calls(port, wire, log, first_ns, int(every_s * 1e9), over))


async def _calls(  # noqa: PLR0917  # as above
    port: int, wire: list[bytes], log: _Log, due_ns: int, every_ns: int, over: asyncio.Future[None]
) -> None:
    loop = asyncio.get_running_loop()
    caller, question = _Caller(), due_ns % len(wire)
    while not over.done():
        if (early_ns := due_ns - perf_counter_ns()) > 0:
            await asyncio.sleep(early_ns / 1e9)
        if not caller.is_open:
            try:
                _, caller = await loop.create_connection(_Caller, "127.0.0.1", port)
            except OSError as problem:
                log.add(due_ns, LOST, question, repr(problem).encode())
                due_ns += every_ns
                await asyncio.sleep(_BACK_OFF_S)
                continue
        status, received = await caller.ask(wire[question])
        log.add(due_ns, status, question, received)
        due_ns += every_ns
        question = (question + 1) % len(wire)
    with suppress(OSError):
        caller.close()
