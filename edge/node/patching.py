"""The process that applies a delta, which may be damaged: `edge.node.patch` starts it and waits.

    python -m edge.node.patching DELTA BEFORE OUT SHA256 SIZE

It needs NumPy and LMDB, which the sync process does without.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edge.node.apart import serve_apart
from index.errors import SnapshotError
from index.shipping.delta import apply_delta
from index.shipping.store_errors import StoreError


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
