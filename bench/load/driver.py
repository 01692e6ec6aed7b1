"""One driver: sends what is due when it is due, whatever has or has not been answered.

It is a single thread over `epoll`, since what it costs itself delays what it measures. Between two
due moments it sleeps until shortly before the next one, then looks again and again: a sleeping
process is woken some tens of microseconds late.

A request that is due finds a free connection or waits for one. Both waits are kept: `taken` is the
moment the driver got to it, `sent` the moment it had a connection. A late `taken` is the driver's
fault; a late `sent` is that of a server that keeps all connections busy.

An answer is done when its last bytes came, not when the driver looked: a caller that was slow to
look, since its own core stood still or it was busy with other answers, is no slow service. Over TCP
the kernel stamps when bytes came; over a Unix socket it does not, and an answer is done when it is
`read`. Hence what is due can go out before answers that lie there are read.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EINPROGRESS
from math import inf
from struct import Struct
from time import monotonic_ns, process_time_ns, time_ns
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.http_answers import LOST, parsed_answer
from bench.load.schedule import Ints
from bench.load.target import Target
from bench.machine import is_real_time

TIMED_OUT: Final = -1
"""In place of a status: no answer came in time."""
REFUSED: Final = -2
"""In place of a status: no connection could be made."""
GARBLED: Final = -3
"""In place of a status: what came was no answer whose end can be told."""
NEVER: Final = -1
"""In place of a moment: it was given up before it found a connection."""
WATCHED_NS: Final = 200_000
WATCHED_IN_REAL_TIME_NS: Final = 20_000
"""Who has priority over all others is woken soon, and has to sleep: else the kernel takes some 50
ms in each second from him for whoever else is to run on that core."""
_PENDING: Final = -9
_ALWAYS: Final = select.EPOLLIN | select.EPOLLRDHUP
_RECEIVED_AT_ONCE: Final = 1 << 16
"""For much more, memory would be mapped and given back each time, which takes long."""
_SO_TIMESTAMPNS: Final = 35
"""Of Linux; Python's `socket` has no name for it."""
_TIMESPEC: Final = Struct("qq")
_STAMP_SPACE: Final = socket.CMSG_SPACE(_TIMESPEC.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one driver is to do.

    Attributes:
        target: whom to ask.
        wire: different requests, as they go over the wire.
        due_ns: int64, rising: when each request is due, nanoseconds since the begin.
        which: int64, which of `wire` each request is.
        connections: how many there are at most.
        stays: they stay; else each request has a connection of its own, and making it counts.
        timeout_ns: a request is given up so long after it was due.
        watched_ns: the last stretch before a due moment, in which the driver does not sleep; by
            default as its priority needs it.
        kept: bool, whose answers are kept; None for nobody's.
    """

    target: Target
    wire: Sequence[bytes]
    due_ns: Ints
    which: Ints
    connections: int
    stays: bool = True
    timeout_ns: int = 5_000_000_000
    watched_ns: int = field(
        default_factory=lambda: WATCHED_IN_REAL_TIME_NS if is_real_time() else WATCHED_NS
    )
    kept: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What became of each request, in the order of `Work.due_ns`; nanoseconds since the begin.

    Attributes:
        taken_ns: int64, the driver got to it.
        idle_ns: int64, how long the driver had slept or watched in vain by then.
        sent_ns: int64, it went out, or began to connect; `NEVER` if it never did.
        done_ns: int64, the last bytes of its answer came, or it was given up.
        read_ns: int64, the driver had read its answer, or given it up.
        statuses: int64, HTTP statuses, or `LOST`, `TIMED_OUT`, `REFUSED`, `GARBLED`.
        connects: connections that were begun.
        cpu_ns: processor time of the driver, watching included.
        busy_ns: time in which it neither slept nor watched in vain.
        wall_ns: from the begin to the last answer.
        answers: bodies of the answers that were to be kept, by request; only of those that came.
    """

    taken_ns: Ints
    idle_ns: Ints
    sent_ns: Ints
    done_ns: Ints
    read_ns: Ints
    statuses: Ints
    connects: int
    cpu_ns: int
    busy_ns: int
    wall_ns: int
    answers: Mapping[int, bytes] = field(default_factory=dict)


def follow(work: Work, begin_ns: int) -> Trace:
    """Do it, and come back when every request was answered or given up.

    Args:
        work: what to do.
        begin_ns: of `time.monotonic_ns`, the moment that due moments count from.
    """
    driver = _Driver(work, begin_ns)
    try:
        return driver.run()
    finally:
        driver.close()


class _Line:
    """A connection, open or not, and the request it has under way."""

    __slots__ = ("connecting", "number", "received", "socket", "unsent")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.number = -1
        self.connecting = False
        self.unsent = b""
        self.received = b""


class _Driver:
    def __init__(self, work: Work, begin_ns: int) -> None:
        n = len(work.due_ns)
        self._work = work
        self._begin_ns = begin_ns
        self._wire = work.wire
        # Items of a memory view are read and written several times faster than those of an array.
        self._due = (work.due_ns + begin_ns).data
        self._which = work.which.copy().data
        # Rows: taken, sent, done, read.
        self._moments: Ints = np.full((4, n), NEVER, dtype=np.int64)
        self._taken, self._sent, self._done, self._read_at = (row.data for row in self._moments)
        self._idle_by: Ints = np.zeros(n, dtype=np.int64)
        self._idle = self._idle_by.data
        self._idle_ns = 0
        self._results: Ints = np.full(n, _PENDING, dtype=np.int64)
        self._statuses = self._results.data
        self._n = n
        self._next = 0
        self._oldest = 0
        self._epoll = select.epoll()
        self._lines = [_Line() for _ in range(work.connections)]
        self._by_fd: dict[int, _Line] = {}
        # In turn, so that all connections, and the workers behind them, get as much to do.
        self._free = deque(self._lines)
        self._waiting: deque[int] = deque()
        self._connects = 0
        self._kept = None if work.kept is None else work.kept.tobytes()
        self._answers: dict[int, bytes] = {}

    def run(self) -> Trace:
        if self._work.stays:
            for line in self._lines:
                self._connect(line)
        cpu_ns, now_ns = process_time_ns(), monotonic_ns()
        began_ns = now_ns
        events: list[tuple[int, int]] = []
        while True:
            worked = bool(events)
            if worked:
                self._handle(events)
                now_ns = monotonic_ns()
            if self._next < self._n and self._due[self._next] <= now_ns:
                self._take_due(now_ns)
                worked = True
            self._give_up(now_ns)
            while self._waiting and self._free:
                self._ask_for(self._waiting.popleft())
            if self._oldest == self._n:
                break
            # A turn in which there was nothing to do is idle from its begin.
            idle_from_ns = monotonic_ns() if worked else now_ns
            slept, events = self._wait(idle_from_ns)
            now_ns = monotonic_ns()
            if slept or not events:
                self._idle_ns += now_ns - idle_from_ns
        ended_ns = monotonic_ns()
        taken, sent, done, read = (
            np.where(row == NEVER, NEVER, row - self._begin_ns) for row in self._moments
        )
        return Trace(
            taken_ns=taken,
            idle_ns=self._idle_by,
            sent_ns=sent,
            done_ns=done,
            read_ns=read,
            statuses=self._results,
            connects=self._connects,
            cpu_ns=process_time_ns() - cpu_ns,
            busy_ns=ended_ns - began_ns - self._idle_ns,
            wall_ns=ended_ns - self._begin_ns,
            answers=self._answers,
        )

    def close(self) -> None:
        for line in self._lines:
            self._hang_up(line)
        self._epoll.close()

    def _handle(self, events: Sequence[tuple[int, int]]) -> None:
        """Handle what came until a request is due.

        What is left comes again with the next look, after that request is sent. Connections that
        were closed are looked at all the same: none of them may be given that request.
        """
        due_ns = self._due[self._next] if self._next < self._n else inf
        for number, (fd, event) in enumerate(events, 1):
            self._on(self._by_fd[fd], event)
            if due_ns <= monotonic_ns():
                for left_fd, left in events[number:]:
                    if left & select.EPOLLRDHUP:
                        self._on(self._by_fd[left_fd], left)
                return

    def _take_due(self, now_ns: int) -> None:
        """Whatever is due gets a free connection, or waits for one behind others."""
        while self._next < self._n and self._due[self._next] <= now_ns:
            number = self._next
            self._next += 1
            self._taken[number] = now_ns
            self._idle[number] = self._idle_ns
            if self._free and not self._waiting:
                self._ask_for(number)
            else:
                self._waiting.append(number)
            now_ns = monotonic_ns()

    def _give_up(self, now_ns: int) -> None:
        """Requests end in any order, but their time runs out in the order they were due."""
        while self._oldest < self._next:
            number = self._oldest
            if self._statuses[number] == _PENDING:
                if now_ns < self._due[number] + self._work.timeout_ns:
                    return
                line = next((line for line in self._lines if line.number == number), None)
                if line is None:
                    self._end(number, TIMED_OUT, now_ns, now_ns)
                else:
                    self._read_or_fail(line, number)
            self._oldest += 1

    def _read_or_fail(self, line: _Line, number: int) -> None:
        """Its time ran out; but an answer may lie there, and the driver has not looked."""
        if not line.connecting:
            self._read(line)
        if self._statuses[number] == _PENDING:
            self._fail(line, TIMED_OUT)

    def _wait(self, now_ns: int) -> tuple[bool, list[tuple[int, int]]]:
        """Until something comes or is due; whether it slept, and what came."""
        until_ns = now_ns + 1_000_000_000
        if self._next < self._n:
            until_ns = self._due[self._next] - self._work.watched_ns
        if self._oldest < self._next:
            until_ns = min(until_ns, self._due[self._oldest] + self._work.timeout_ns)
        slept = until_ns > now_ns and self._sleep_until(until_ns)
        return slept, self._epoll.poll(0)

    def _sleep_until(self, moment_ns: int) -> bool:
        # An epoll's own timeout counts in milliseconds; that of select is as fine as the kernel's.
        left_ns = moment_ns - monotonic_ns()
        if left_ns <= 0:
            return False
        select.select([self._epoll.fileno()], (), (), left_ns / 1e9)
        return True

    def _ask_for(self, number: int) -> None:
        if self._statuses[number] != _PENDING:
            return  # its time ran out while it waited
        line = self._free.popleft()
        line.number = number
        request = self._wire[self._which[number]]
        self._sent[number] = monotonic_ns()
        if line.socket is None:
            line.unsent = request
            self._connect(line)
        elif line.connecting:
            line.unsent = request
        else:
            self._send(line, request)

    def _send(self, line: _Line, request: bytes) -> None:
        assert line.socket is not None
        try:
            n_sent = line.socket.send(request)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            self._fail(line, LOST)
            return
        waited_for_room = bool(line.unsent)
        line.unsent = request[n_sent:]
        if bool(line.unsent) != waited_for_room:
            wanted = _ALWAYS | (select.EPOLLOUT if line.unsent else 0)
            self._epoll.modify(line.socket.fileno(), wanted)

    def _connect(self, line: _Line) -> None:
        self._connects += 1
        target = self._work.target
        try:
            line.socket = socket.socket(target.family, socket.SOCK_STREAM)
            line.socket.setblocking(False)
            if target.family != socket.AF_UNIX:
                line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with suppress(OSError):  # a system without stamps: done is when it was read
                    line.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            failed = line.socket.connect_ex(target.address)
        except OSError:
            self._fail(line, REFUSED)
            return
        # Where a Unix socket's queue is full the kernel says EAGAIN, and would never tell when not.
        if failed not in (0, EINPROGRESS):
            self._fail(line, REFUSED)
            return
        line.connecting = True
        self._by_fd[line.socket.fileno()] = line
        self._epoll.register(line.socket.fileno(), _ALWAYS | select.EPOLLOUT)

    def _on(self, line: _Line, event: int) -> None:
        assert line.socket is not None
        if line.connecting:
            if line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._fail(line, REFUSED)
                return
            line.connecting = False
            if not line.unsent:
                self._epoll.modify(line.socket.fileno(), _ALWAYS)
        if event & select.EPOLLOUT and line.unsent:
            self._send(line, line.unsent)
        elif event & ~select.EPOLLOUT:
            self._read(line)

    def _read(self, line: _Line) -> None:
        assert line.socket is not None
        try:
            data, stamps, _, _ = line.socket.recvmsg(_RECEIVED_AT_ONCE, _STAMP_SPACE)
        except BlockingIOError:
            return
        except OSError:
            data, stamps = b"", []
        now_ns, now_realtime_ns = monotonic_ns(), time_ns()
        if not data or line.number < 0:
            self._fail(line, LOST)
            return
        line.received = line.received + data if line.received else data
        try:
            answer = parsed_answer(line.received)
        except ValueError:
            self._fail(line, GARBLED)
            return
        if answer is None:
            return
        number, received = line.number, line.received
        line.number, line.received = -1, b""
        done_ns = now_ns
        if stamps:
            seconds, rest_ns = _TIMESPEC.unpack(stamps[0][2])
            # Where the clock of the stamps was set meanwhile, it says nothing.
            came_ns = now_ns - now_realtime_ns + seconds * 1_000_000_000 + rest_ns
            done_ns = min(max(came_ns, self._sent[number]), now_ns)
        self._end(number, answer.status, done_ns, now_ns)
        if self._kept is not None and self._kept[number]:
            self._answers[number] = received[len(received) - answer.size :]
        if not (answer.stays and self._work.stays):
            self._hang_up(line)
        self._free.append(line)

    def _fail(self, line: _Line, status: int) -> None:
        """The connection is of no more use, and neither is what it carried."""
        number, line.number = line.number, -1
        self._hang_up(line)
        if number >= 0:
            now_ns = monotonic_ns()
            self._end(number, status, now_ns, now_ns)
            self._free.append(line)

    def _end(self, number: int, status: int, done_ns: int, read_ns: int) -> None:
        self._done[number] = done_ns
        self._read_at[number] = read_ns
        self._statuses[number] = status

    def _hang_up(self, line: _Line) -> None:
        if line.socket is not None:
            self._by_fd.pop(line.socket.fileno(), None)
            line.socket.close()
        line.socket, line.connecting = None, False
        line.unsent = line.received = b""
