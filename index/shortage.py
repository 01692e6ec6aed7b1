"""Telling a machine that has nothing left to give from a snapshot that is damaged.

Both show in the same errors: where memory or open files run out nothing can be mapped, and so it is
where a damaged file claims a size that no machine has.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from index.errors import Exhausted, SnapshotError
from index.manifest import FileEntry, file_digest
from index.tables import TableError

_SHORT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def shortage_in(
    problem: BaseException, directory: Path, entries: list[FileEntry]
) -> Exhausted | None:
    """What a failure to open a snapshot says of this machine; None where it says nothing.

    Args:
        problem: why it could not be opened.
        directory: the snapshot's.
        entries: of its manifest; none where that could not be read.
    """
    code = next((code for code in map(_code_of, _causes(problem)) if code), None)
    if code is None:
        return None
    if code == errno.ENOMEM and _is_damaged(problem, entries):
        return None
    return Exhausted(
        f"can't be opened ({os.strerror(code)})",
        path=directory,
        hint="the machine lacks it, not the snapshot: free memory, or allow more open files"
        " (ulimit -n, LimitNOFILE), then try again",
    )


def _causes(problem: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = problem
    while found is not None:
        yield found
        found = found.__cause__


def _code_of(problem: BaseException) -> int | None:
    """Which of our system errors it is, if any; FAISS only puts them into words."""
    match problem:
        case OSError(errno=code) | TableError(code=code):
            return code if code in _SHORT_OF else None
        case MemoryError():
            return errno.ENOMEM
        case RuntimeError():
            return next((code for code in _SHORT_OF if os.strerror(code) in str(problem)), None)
    return None


def _is_damaged(problem: BaseException, entries: list[FileEntry]) -> bool:
    """Whether the file that it is about is not what was written; reads all of it."""
    if not isinstance(problem, SnapshotError) or problem.path is None:
        return False
    path = problem.path
    try:
        return any(
            entry.name == path.name and file_digest(path) != entry.sha256 for entry in entries
        )
    except OSError:
        return False
