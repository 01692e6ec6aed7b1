"""Mapped pages: the proof that they are all there, and making them present before they are needed.

`MADV_POPULATE_READ` (Linux 5.14) reads every page of a range and reports a missing one as an error
instead of a SIGBUS, so it is a proof that a file is whole. For what is in memory already it is a
slow one, page by page (60 ms a gigabyte); `cachestat` (Linux 6.5) proves the same in a twentieth of
the time, and mapping by being read takes half.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np

from index.errors import Incomplete

_MADV_POPULATE_READ: Final = 22
_CACHESTAT: Final = 451
"""Number of the system call, on every architecture."""
_SLICE_BYTES: Final = 64 << 20
_AROUND_BYTES: Final = 64 << 10
"""So much the kernel maps around a page that is read, of what is in memory."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.syscall.restype = ctypes.c_long
_Range = ctypes.c_uint64 * 2
"""Offset and length."""
_CacheStat = ctypes.c_uint64 * 5
"""Pages in memory first."""


def is_cached(path: Path, expected_bytes: int) -> bool:
    """Whether all of a file is in memory, so that none of it can be missing.

    Args:
        path: a file.
        expected_bytes: how long it must be.

    Returns:
        False also where the kernel does not tell.
    """
    told = _CacheStat()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        failed = _libc.syscall(
            ctypes.c_long(_CACHESTAT),
            ctypes.c_uint(descriptor),
            ctypes.byref(_Range(0, expected_bytes)),
            ctypes.byref(told),
            ctypes.c_uint(0),
        )
    finally:
        os.close(descriptor)
    n_pages: int = told[0]
    return not failed and n_pages >= _page_ceil(expected_bytes) // mmap.PAGESIZE


def touch(path: Path, expected_bytes: int) -> None:
    """Map what is in memory of this process's mappings of a file, by reading here and there.

    Args:
        path: a file whose pages are all there, as `is_cached` or `populate` found.
        expected_bytes: how long it is; nothing past it is touched.
    """
    for start, length in _mapped_ranges(path, expected_bytes):
        pages = np.frombuffer(memoryview((ctypes.c_char * length).from_address(start)), np.uint8)
        for offset in range(0, length, _SLICE_BYTES):
            # Copying lets go of the interpreter's lock; adding up would not.
            pages[offset : offset + _SLICE_BYTES : _AROUND_BYTES].copy()


def populate(path: Path, expected_bytes: int) -> int:
    """Populate this process's mappings of a file, in slices.

    Args:
        path: a file that is mapped by this process, whole or in part.
        expected_bytes: how long the file must be; nothing past it is touched.

    Returns:
        Bytes that were populated; 0 where the kernel is too old for it (the pages then come in at
        first use, and nothing is proven).

    Raises:
        Incomplete: a mapped page lies past the end of the file.
    """
    done = 0
    for start, length in _mapped_ranges(path, expected_bytes):
        for offset in range(0, length, _SLICE_BYTES):
            size = min(_SLICE_BYTES, length - offset)
            if _libc.madvise(start + offset, size, _MADV_POPULATE_READ) != 0:
                code = ctypes.get_errno()
                if code == errno.EINVAL:
                    return 0
                raise Incomplete(
                    f"a mapped page cannot be read ({os.strerror(code)})",
                    path=path,
                    hint="the file was cut short: copy it again",
                )
            done += size
    return done


def _mapped_ranges(path: Path, expected_bytes: int) -> list[tuple[int, int]]:
    """Start and length of the parts of this process's mappings that the file should cover."""
    stat = path.stat()
    inode = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x} {stat.st_ino}"
    name = str(path.resolve())
    ranges: list[tuple[int, int]] = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        # Overlay file systems show another device number than stat does; the name still tells.
        if len(fields) == 6 and (f"{fields[3]} {fields[4]}" == inode or fields[5] == name):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            covered = min(end - start, _page_ceil(expected_bytes) - int(fields[2], 16))
            if covered > 0:
                ranges.append((start, covered))
    return ranges


def _page_ceil(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
