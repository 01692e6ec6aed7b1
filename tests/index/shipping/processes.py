"""Processes for tests to start, wait for and kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

DEADLINE_S = 60
ROOT = Path(__file__).parents[3]


def started(
    script: str, *arguments: object, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that has said it is ready."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def killed(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    closed(process)


def closed(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not happened():
        assert process.poll() is None, "the process ended too early"
        assert time.monotonic() < give_up, "nothing happened in time"
        time.sleep(0.02)
