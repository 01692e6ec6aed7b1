"""Proving a snapshot: the trial is another process's, its verdict is judged here."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import NotProved, Unfit
from edge.node.apart import Ended, run_apart
from edge.node.verdict import Verdict

LIMIT_S: Final = 600.0
_FROM_OUTSIDE: Final = {
    int(signal.SIGKILL): "usually by the kernel, for want of memory: free some",
    int(signal.SIGTERM): "find out who ends processes of this node",
    int(signal.SIGXCPU): "allow more time of the processor (ulimit -t, LimitCPU)",
}


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
        Unfit: this node can't serve it as it is: secret, version, memory, files.
    """
    words = [str(path)] if secret_file is None else [str(path), str(secret_file.absolute())]
    try:
        ended = run_apart("edge.node.proof", *words, limit_s=limit_s, meanwhile=meanwhile)
    except TimeoutError:
        raise NotProved(
            f"opening it and asking its golden decisions took more than {limit_s:g} s",
            hint="look at this node's disk and load; then: almanac node forget ID",
        ) from None
    return _judged(ended, max_private_bytes)


def _judged(ended: Ended, max_private_bytes: int) -> Verdict:
    # What is damaged ends a process in other ways.
    if remedy := _FROM_OUTSIDE.get(-ended.code):
        name = signal.Signals(-ended.code).name
        raise Unfit(
            f"the process that tried it was killed from outside ({name})",
            hint=f"{remedy}; it is tried again",
        )
    if ended.code < 0:
        raise NotProved(
            f"the process that tried it died of {signal.Signals(-ended.code).name}",
            hint="a damaged or cut file does this; build and publish another snapshot",
        )
    try:
        verdict = msgspec.json.decode(ended.printed, type=Verdict)
    except msgspec.DecodeError as problem:
        raise Unfit(
            f"the trial ended with exit code {ended.code} and without a verdict",
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
