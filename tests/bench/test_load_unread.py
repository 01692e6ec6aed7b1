"""A driver that is held while answers come: over TCP it is not told as the service's wait."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from time import monotonic_ns

import numpy as np
import pytest

from bench.load.driver import Trace, Work, follow
from bench.load.figures import driver_figures
from bench.load.target import target_of

MS = 1_000_000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
# The last is due while the driver is held, the others once all connections are made.
BEGIN_NS, DUE_NS, HELD_UNTIL_NS = 50 * MS, 800 * MS, 850 * MS


@pytest.fixture(scope="module")
def driver() -> Iterator[ProcessPoolExecutor]:
    """A process of its own, that can be held."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(pid_of_it).result(60)
        yield pool


def pid_of_it() -> int:
    return os.getpid()


@contextmanager
def held(pid: int) -> Iterator[None]:
    """A process that sleeps goes on when this ends."""
    wait_for_state(pid, "S")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for_state(pid, "T")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_for_state(pid: int, state: str) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        time.sleep(0.001)


def run_with_a_pause(
    driver: ProcessPoolExecutor, unix: Path | None, *, n: int, closes: bool
) -> tuple[Trace, int]:
    """All but the last request are answered while the driver is held, in which the last is due.

    It is held until the others' time has run out.

    Args:
        driver: a process.
        unix: the socket to listen on; TCP by default.
        n: requests, each with a connection to be had.
        closes: while it is held, the connection that nobody uses is closed as well.

    Returns:
        What the driver tells, and when it went on, in nanoseconds since the begin.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX if unix else socket.AF_INET))
        listener.settimeout(10)
        listener.bind(str(unix) if unix else ("127.0.0.1", 0))
        listener.listen()
        port = 80 if unix else listener.getsockname()[1]
        target = target_of(f"http://127.0.0.1:{port}", unix)
        due_ns = np.array([0] * (n - 1) + [DUE_NS])
        work = Work(
            target=target,
            wire=[target.request(b"{}", stays=True)],
            due_ns=due_ns,
            which=np.zeros(n, dtype=np.int64),
            connections=n,
            timeout_ns=700 * MS,
        )
        begin_ns = monotonic_ns() + BEGIN_NS
        pid = driver.submit(pid_of_it).result(60)
        following = driver.submit(follow, work, begin_ns)
        callers = [stack.enter_context(listener.accept()[0]) for _ in range(n)]
        for caller in callers[:-1]:
            assert caller.recv(1 << 16)
        with held(pid):
            for caller in callers[:-1]:
                caller.sendall(ANSWER)
            if closes:
                callers[-1].close()
            time.sleep((begin_ns + HELD_UNTIL_NS - monotonic_ns()) / 1e9)
            resumed_ns = monotonic_ns()
        if closes:
            callers[-1] = stack.enter_context(listener.accept()[0])
        assert callers[-1].recv(1 << 16)
        callers[-1].sendall(ANSWER)
        return following.result(60), resumed_ns - begin_ns


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_answers_count_from_when_they_came_where_the_kernel_tells_it(
    over: str, driver: ProcessPoolExecutor, tmp_path: Path
) -> None:
    unix = tmp_path / "s" if over == "unix" else None

    trace, resumed_ns = run_with_a_pause(driver, unix, n=3, closes=False)

    assert trace.statuses.tolist() == [200] * 3
    assert (trace.sent_ns[:2] < resumed_ns).all()
    assert (trace.read_ns[:2] >= resumed_ns).all()
    assert (trace.sent_ns <= trace.done_ns).all()
    assert (trace.done_ns <= trace.read_ns).all()
    unread = driver_figures(trace)["unread"]
    if over == "tcp":
        assert (trace.done_ns[:2] < resumed_ns).all()
        longest_ns = int((trace.read_ns - trace.done_ns).max())
        assert unread["max_us"] == round(longest_ns / 1000, 2)
    else:
        assert trace.done_ns.tolist() == trace.read_ns.tolist()
        assert unread["max_us"] is None
    # What was due meanwhile was sent before the second answer was read.
    assert trace.read_ns[:2].min() < trace.sent_ns[2] < trace.read_ns[:2].max()


def test_what_is_due_is_not_sent_over_a_connection_that_was_closed_meanwhile(
    driver: ProcessPoolExecutor,
) -> None:
    trace, _ = run_with_a_pause(driver, None, n=2, closes=True)

    assert trace.statuses.tolist() == [200, 200]
    assert trace.connects == 3
