"""Work on files that may be damaged, in a process that nobody misses."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Final

_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How such a process ended.

    Attributes:
        code: exit code; below zero the number of the signal it died of.
        printed: what it wrote to its standard output.
    """

    code: int
    printed: bytes


def run_apart(
    module: str,
    *words: str,
    limit_s: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a module as a process of its own, and wait for its end.

    Args:
        module: with `serve_apart` at the beginning of its main.
        words: its arguments.
        limit_s: how long it may take.
        meanwhile: called again and again while waiting; what it raises ends the process.

    Raises:
        TimeoutError: it took longer.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It finds the same code as this process, wherever either was started.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        until = time.monotonic() + limit_s
        while (code := _waited(process)) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"it took more than {limit_s:g} s")
            meanwhile()
        assert process.stdout is not None
        return Ended(code=code, printed=process.stdout.read())
    finally:
        process.kill()
        process.communicate()


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_LOOK_S)
    except subprocess.TimeoutExpired:
        return None


def serve_apart() -> None:
    """Be such a process: leave no core file behind, and end with whoever waits for it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # dying of the files is expected here
    Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    os.read(0, 1)  # returns when the caller is gone
    os._exit(1)
