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
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from index.errors import Incomplete

_MADV_POPULATE_READ: Final = 22
_CACHESTAT: Final = 451
"""Number of the system call, on every architecture."""
_PIECE_BYTES: Final = 8 << 20
_AROUND_BYTES: Final = 64 << 10
"""So much the kernel maps around a page that is read, of what is in memory."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.syscall.restype = ctypes.c_long
_Range = ctypes.c_uint64 * 2
"""Offset and length."""
_CacheStat = ctypes.c_uint64 * 5
"""Pages in memory first."""


def prove(path: Path, expected_bytes: int) -> None:
    """Make sure that all pages of this process's mappings of a file are there.

    Those that are not in memory are brought there. On a kernel that can do neither nothing is
    proven, and the pages come in at first use.

    Args:
        path: a file that is mapped by this process, whole or in part.
        expected_bytes: how long the file must be; nothing past it is looked at.

    Raises:
        Incomplete: a mapped page lies past the end of the file, or cannot be read.
        OSError: this machine has no memory for the pages, which says nothing of the file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = _pieces(_page_ceil(expected_bytes))
        missing = [piece for piece in pieces if not _is_cached(descriptor, *piece)]
    finally:
        os.close(descriptor)
    # Where everything is in memory nobody has to read the kernel's list of mappings, which is long.
    ranges = _mapped_ranges(path, expected_bytes) if missing else []
    for offset, length in missing:
        for start, first, covered in ranges:
            begin, end = max(offset, first), min(offset + length, first + covered)
            if begin < end and not _populate(start + begin - first, end - begin):
                code = ctypes.get_errno()
                if code == errno.EINVAL:
                    return
                if code == errno.ENOMEM:
                    raise OSError(code, os.strerror(code), str(path))
                raise Incomplete(
                    f"a mapped page cannot be read ({os.strerror(code)})",
                    path=path,
                    hint="the file was cut short: copy it again",
                )


def touch(path: Path, expected_bytes: int, *, address: int | None = None) -> None:
    """Map what is in memory of this process's mappings of a file, by reading here and there.

    Args:
        path: a file whose pages are all there, as `prove` found.
        expected_bytes: how long it is; nothing past it is touched.
        address: in the mapping that is meant, where there may be others whose owners may unmap them
            meanwhile.
    """
    for start, _, length in _mapped_ranges(path, expected_bytes):
        if address is not None and not start <= address < start + length:
            continue
        pages = np.frombuffer(memoryview((ctypes.c_char * length).from_address(start)), np.uint8)
        # Copying lets go of the interpreter's lock; adding up would not.
        pages[::_AROUND_BYTES].copy()


def _is_cached(descriptor: int, offset: int, length: int) -> bool:
    """Whether a part of a file is in memory, so that nothing in it is missing."""
    told = _CacheStat()
    failed = _libc.syscall(
        ctypes.c_long(_CACHESTAT),
        ctypes.c_uint(descriptor),
        ctypes.byref(_Range(offset, length)),
        ctypes.byref(told),
        ctypes.c_uint(0),
    )
    n_pages: int = told[0]
    return not failed and n_pages >= length // mmap.PAGESIZE


def _populate(start: int, length: int) -> bool:
    return not _libc.madvise(start, length, _MADV_POPULATE_READ)


def _pieces(n_bytes: int) -> Iterator[tuple[int, int]]:
    """Place in a file and length, of whole pages."""
    for offset in range(0, n_bytes, _PIECE_BYTES):
        yield offset, min(_PIECE_BYTES, n_bytes - offset)


def _mapped_ranges(path: Path, expected_bytes: int) -> list[tuple[int, int, int]]:
    """Address, place in the file and length of the mappings that the file should cover."""
    stat = path.stat()
    inode = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x} {stat.st_ino}"
    name = str(path.resolve())
    ranges: list[tuple[int, int, int]] = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        # There are thousands, and few are meant.
        if inode not in line and name not in line:
            continue
        fields = line.split(maxsplit=5)
        # Overlay file systems show another device number than stat does; the name still tells.
        if len(fields) == 6 and (f"{fields[3]} {fields[4]}" == inode or fields[5] == name):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            offset = int(fields[2], 16)
            covered = min(end - start, _page_ceil(expected_bytes) - offset)
            if covered > 0:
                ranges.append((start, offset, covered))
    return ranges


def _page_ceil(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
