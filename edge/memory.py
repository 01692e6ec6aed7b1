"""What a process holds in memory, and what of it is its own, from `/proc`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of a process's memory.

    Attributes:
        resident: all of it.
        private: what no other process could share: pages it has written to.
        shared: the rest: mapped files, libraries.
    """

    resident: int
    private: int
    shared: int


def memory_of(pid: int) -> Memory | None:
    """Memory of a process; None when it is gone or not ours to look at.

    >>> import os
    >>> found = memory_of(os.getpid())
    >>> found is not None and found.private + found.shared == found.resident
    True
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    sizes = {
        name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":") for line in lines)
    }
    resident, private = sizes["Rss"], sizes["Private_Dirty"]
    return Memory(resident=resident, private=private, shared=resident - private)
