"""Proving a snapshot: the trial is another process's, its verdict is judged here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import NotProved, Unfit
from edge.node.verdict import Verdict

LIMIT_S: Final = 600.0
_LOOK_S: Final = 0.05


def prove(
    path: Path,
    *,
    secret_file: Path | None,
    max_private_bytes: int,
    limit_s: float = LIMIT_S,
    meanwhile: Callable[[], None] = lambda: None,
) -> Verdict:
    """Let a process of its own try a snapshot, and wait for the verdict.

    Args:
        path: the snapshot's folder.
        secret_file: file with the brand's secret, as the workers are given it.
        max_private_bytes: memory of its own that it may cost.
        limit_s: how long the trial may take.
        meanwhile: called again and again while waiting; what it raises ends the trial.

    Raises:
        NotProved: it must not be served: damaged, deciding differently, too slow to open, or the
            process died of it.
        Unfit: this node can't serve it as it is: secret, version, memory.
    """
    words = [sys.executable, "-m", "edge.node.proof", str(path)]
    process = subprocess.Popen(
        words if secret_file is None else [*words, str(secret_file.absolute())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It finds the same code as this process, wherever either was started.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        _wait(process, time.monotonic() + limit_s, limit_s, meanwhile)
        return _judged(process, max_private_bytes)
    finally:
        process.kill()
        process.communicate()


def _wait(
    process: subprocess.Popen[bytes], until: float, limit_s: float, meanwhile: Callable[[], None]
) -> None:
    while True:
        try:
            process.wait(_LOOK_S)
            return
        except subprocess.TimeoutExpired:
            if time.monotonic() > until:
                raise NotProved(
                    f"opening it and asking its golden decisions took more than {limit_s:g} s",
                    hint="look at this node's disk and load; then: almanac node forget ID",
                ) from None
            meanwhile()


def _judged(process: subprocess.Popen[bytes], max_private_bytes: int) -> Verdict:
    if process.returncode < 0:
        raise NotProved(
            f"the process that tried it died of {signal.Signals(-process.returncode).name}",
            hint="a damaged or cut file does this; build and publish another snapshot",
        )
    assert process.stdout is not None
    try:
        verdict = msgspec.json.decode(process.stdout.read(), type=Verdict)
    except msgspec.DecodeError as problem:
        raise Unfit(
            f"the trial ended with exit code {process.returncode} and without a verdict",
            hint="the node's log has what it said",
        ) from problem
    if verdict.outcome == "bad":
        raise NotProved(verdict.what, hint=verdict.hint)
    if verdict.outcome == "unfit":
        raise Unfit(verdict.what, hint=verdict.hint)
    if verdict.private_bytes > max_private_bytes:
        raise Unfit(
            f"it needs {verdict.private_bytes} bytes of memory in each worker,"
            f" at most {max_private_bytes} may be",
            hint="raise --max-private-bytes if there is room, or build a smaller snapshot",
        )
    return verdict
