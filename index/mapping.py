"""Page-table warmth: make mapped pages present before the first request needs them.

`MADV_POPULATE_READ` (Linux 5.14) reads every page of a range and reports a missing one as an error
instead of a SIGBUS, so it is both the warm-up and the proof that a file is whole.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path

from index.errors import Incomplete

_MADV_POPULATE_READ = 22
_SLICE_BYTES = 64 << 20
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


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
