"""Making an object out of an earlier one: the delta is applied by a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.node.apart import run_apart
from index.shipping.store_errors import Damaged

LIMIT_S: Final = 1800.0


def patch(
    delta: Path,
    before: Path,
    out: Path,
    *,
    sha256: str,
    size: int,
    meanwhile: Callable[[], None],
    limit_s: float = LIMIT_S,
) -> None:
    """Let a process of its own apply a delta, and wait for it.

    Args:
        delta: the delta's file.
        before: the object it begins with, on this disk.
        out: where to; nothing is there afterwards unless it is the object wanted.
        sha256: hex digest of that object.
        size: its bytes.
        meanwhile: called again and again while waiting; what it raises ends the work.
        limit_s: how long it may take.

    Raises:
        Damaged: it does not lead there, for whatever reason.
    """
    words = (str(delta), str(before), str(out), sha256, str(size))
    try:
        ended = run_apart("edge.node.patching", *words, limit_s=limit_s, meanwhile=meanwhile)
    except TimeoutError as problem:
        raise Damaged(f"cannot be applied: {problem}", where=str(delta)) from problem
    if ended.code == 0:
        return
    said = ended.printed.decode(errors="replace").strip()
    if ended.code < 0:
        said = f"the process died of {signal.Signals(-ended.code).name}"
    raise Damaged(said or f"the process ended with exit code {ended.code}", where=str(delta))
