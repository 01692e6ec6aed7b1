"""What the system says of a disk in our own errors, and folders that survive a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.folders import NO_ROOM, sync_folder
from index.shipping.store_errors import DiskFull, StoreFailed

_NO_ROOM = NO_ROOM | {errno.EFBIG}
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system


@contextmanager
def disk_failures(path: Path) -> Iterator[None]:
    """Turn what the system says of a path into our errors.

    Raises:
        DiskFull: no room, or a quota is used up.
        StoreFailed: anything else.
    """
    try:
        yield
    except OSError as problem:
        if full := full_disk(problem, path):
            raise full from problem
        reason = problem.strerror or str(problem)
        raise StoreFailed(f"the system refused ({reason})", where=str(path)) from problem


def free_bytes(disk: os.statvfs_result) -> int:
    """What may still be written, by whoever is not root."""
    return disk.f_bavail * disk.f_frsize


def missing_bytes(found: os.stat_result, size: int) -> int:
    """Room that a file of some size still needs, beside what it has taken already."""
    return max(0, size - found.st_blocks * _BLOCK_BYTES)


def full_disk(problem: OSError, path: Path) -> DiskFull | None:
    """Our error where the system says that there is no room, or a quota is used up."""
    if problem.errno not in _NO_ROOM:
        return None
    return DiskFull(
        f"the disk is full ({problem.strerror})",
        where=str(path),
        hint="make room or raise the quota, then try again",
    )


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; new ones survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as problem:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder") from problem
    sync_folder(folder.parent)
