"""Processes that are measured: started on a core, watched until they answer, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.02


class ServerFailed(Exception):
    """A process that was to be measured ended, or never answered."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A running process with its children.

    Attributes:
        name: what it is called in messages.
        pids: the process and its children.
    """

    name: str
    pids: tuple[int, ...]

    def cpu_ns(self) -> int:
        """Processor time so far, user and system, all threads, in nanoseconds.

        What `utime` and `stime` of /proc/PID/stat say, but not in hundredths of a second.
        """
        try:
            return sum(time.clock_gettime_ns(_cpu_clock(pid)) for pid in self.pids)
        except OSError as problem:
            raise ServerFailed(f"{self.name} ended while it was measured") from problem

    def user_and_system_s(self) -> tuple[float, float]:
        """Processor time so far as /proc/PID/stat has it, in seconds."""
        ticks = [_stat_fields(pid)[11:13] for pid in self.pids]
        hz = os.sysconf("SC_CLK_TCK")
        return sum(int(user) for user, _ in ticks) / hz, sum(int(ours) for _, ours in ticks) / hz


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    answers: Callable[[], bool],
    folder: Path,
    env: Mapping[str, str] | None = None,
    cores: Collection[int] = (),
) -> Iterator[Measured]:
    """A process while it runs; it has answered once when this begins.

    Args:
        name: what to call it.
        command: program and arguments.
        answers: whether it answers by now.
        folder: where what it says is kept.
        env: its environment; ours by default.
        cores: where it may run; anywhere by default.

    Raises:
        ServerFailed: it ended, or did not answer in time.
    """
    said = folder / f"{name.replace(' ', '-')}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        deadline = time.monotonic() + PATIENCE_S
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                told = said.read_text(errors="replace").strip()[-2000:]
                raise ServerFailed(
                    f"{name} does not answer: {' '.join(command)}",
                    hint=f"it said: {told or 'nothing'}",
                )
            time.sleep(_POLL_S)
        family = (process.pid, *_children(process.pid))
        if cores:
            # Children and threads may have begun before their parent was put where it belongs.
            for task in [task for pid in family for task in Path(f"/proc/{pid}/task").iterdir()]:
                os.sched_setaffinity(int(task.name), cores)
        yield Measured(name=name, pids=family)
    finally:
        _end(process)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def machine_busy_s() -> tuple[float, float]:
    """Seconds all cores were busy since boot, and seconds the host gave to other machines."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _waiting, irq, soft_irq, steal = fields[:8]
    hz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft_irq) / hz, steal / hz


def _cpu_clock(pid: int) -> int:
    # What clock_getcpuclockid(3) computes, which Python offers for threads only.
    return (~pid << 3) | 2


def _stat_fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_children(child)]
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
