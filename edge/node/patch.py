"""Making an object out of an earlier one: the delta is applied by a process of its own.

python -m edge.node.patch DELTA BEFORE OUT SHA256 SIZE
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.node.apart import run_apart, serve_apart
from index.errors import SnapshotError
from index.shipping.delta import apply_delta
from index.shipping.store_errors import Damaged, StoreError

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
        ended = run_apart("edge.node.patch", *words, limit_s=limit_s, meanwhile=meanwhile)
    except TimeoutError as problem:
        raise Damaged(f"cannot be applied: {problem}", where=str(delta)) from problem
    if ended.code == 0:
        return
    said = ended.printed.decode(errors="replace").strip()
    if ended.code < 0:
        said = f"the process died of {signal.Signals(-ended.code).name}"
    raise Damaged(said or f"the process ended with exit code {ended.code}", where=str(delta))


def main(arguments: list[str]) -> None:
    """Apply the delta that is named; print what is wrong, if anything is."""
    serve_apart()
    delta, before, out = map(Path, arguments[:3])
    code = 0
    try:
        apply_delta(delta, before, out, digest=arguments[3], size=int(arguments[4]))
        descriptor = os.open(out, os.O_RDONLY)
        os.fsync(descriptor)
        out.chmod(0o444)
    except (SnapshotError, StoreError, OSError) as problem:
        out.unlink(missing_ok=True)
        sys.stdout.write(f"{problem}\n")
        code = 1
    sys.stdout.flush()
    os._exit(code)  # what was opened needs no tidying up


if __name__ == "__main__":
    main(sys.argv[1:])
