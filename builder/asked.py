"""Whom cases ask about: nobody else needs a row in tables that only weigh or rehearse."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np


def write_asked(keys: Iterable[bytes | None], work_dir: Path) -> Path:
    """Write the keys of cases for `scoring.ScorePartition`; None, a guest's, has no row to want.

    Returns:
        A .npy file, uint64, shape (n, 2): key halves, rising. Its name tells its contents, so that
        a task that names it is finished exactly when the same customers were asked about.
    """
    known = sorted({key for key in keys if key is not None})
    halves = np.frombuffer(b"".join(known), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    digest = blake2b(halves.tobytes(), digest_size=6).hexdigest()
    path = work_dir / f"asked-{digest}.npy"
    np.save(path, halves)
    return path
