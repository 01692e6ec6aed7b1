"""A file on its way: room for all of it from the start, its name only when it is whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Final, Self

from index.folders import sync_folder
from index.shipping.disk import disk_failures, free_bytes, make_folder, missing_bytes
from index.shipping.store_errors import DiskFull

PART_SUFFIX: Final = ".part"
_READ_BYTES: Final = 4 << 20


class PartFile:
    """`NAME.part` beside where `NAME` will be, held by one process at a time.

    Entering waits for another process that fetches the same, and takes all the room at once. What
    was written stays when it is left early, so that the next one can go on from there.

    Args:
        path: where the whole file will be.
        size: its bytes.
        reserve_bytes: what the disk must keep free besides.

    Raises:
        DiskFull: the disk has no room for it and the reserve; no byte was written.
    """

    def __init__(self, path: Path, size: int, *, reserve_bytes: int) -> None:
        self.path = path
        self.aside = path.with_name(path.name + PART_SUFFIX)
        self._size = size
        self._reserve_bytes = reserve_bytes
        self._descriptor = -1

    def __enter__(self) -> Self:
        with disk_failures(self.aside):
            make_folder(self.aside.parent)
            self._descriptor = _open_locked(self.aside)
            found_size = os.fstat(self._descriptor).st_size
            try:
                self._take_room()
            except (OSError, DiskFull):
                # Some file systems give what room there is before they refuse the rest.
                os.ftruncate(self._descriptor, min(found_size, self._size))
                if not found_size:
                    self.aside.unlink()
                os.close(self._descriptor)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def holds(self, start: int, length: int, sha256: str) -> bool:
        """Whether these bytes of the file are the ones with that digest."""
        with disk_failures(self.aside):
            found = os.pread(self._descriptor, length, start)
        return hashlib.sha256(found).hexdigest() == sha256

    def write(self, start: int, data: bytes) -> None:
        """Write bytes where they belong."""
        rest = memoryview(data)
        with disk_failures(self.aside):
            while rest:
                written = os.pwrite(self._descriptor, rest, start)
                start, rest = start + written, rest[written:]

    def sha256(self) -> str:
        """Hex digest of the whole file as it is now."""
        digest, start = hashlib.sha256(), 0
        with disk_failures(self.aside):
            while piece := os.pread(self._descriptor, _READ_BYTES, start):
                digest.update(piece)
                start += len(piece)
        return digest.hexdigest()

    def finish(self) -> None:
        """Give the file its name, read-only, in a way that survives a power cut."""
        with disk_failures(self.path):
            os.fchmod(self._descriptor, 0o444)
            os.fsync(self._descriptor)
            self.aside.replace(self.path)
            sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove it: the whole file came by another way."""
        with disk_failures(self.aside):
            self.aside.unlink()

    def _take_room(self) -> None:
        found = os.fstat(self._descriptor)
        missing = missing_bytes(found, self._size)
        free = free_bytes(os.fstatvfs(self._descriptor))
        if free < missing + self._reserve_bytes:
            raise DiskFull(
                f"needs {missing} bytes and {self._reserve_bytes} in reserve, {free} are free",
                where=str(self.aside),
                hint="make room; what is served stays untouched",
            )
        if found.st_size > self._size:
            os.ftruncate(self._descriptor, self._size)
        if self._size:
            os.posix_fallocate(self._descriptor, 0, self._size)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            ours = os.fstat(descriptor)
            named = path.stat()
        except FileNotFoundError:
            os.close(descriptor)
            continue  # finished or discarded by the one we waited for
        except OSError:
            os.close(descriptor)
            raise
        if (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino):
            return descriptor
        os.close(descriptor)
