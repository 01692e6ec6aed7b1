"""What can go wrong while a snapshot is built, by whose fault it is and what one does next.

    BuildError                  1
    ├── UsageError              2   a flag, a setting or a column name is wrong
    │   ├── NotWritable             a folder cannot be made or written
    │   ├── ConfigError             almanac.toml: every problem at once
    │   └── MissingColumns          a file lacks a required column
    ├── InputNotFound           4   a named file or pattern matches nothing
    ├── InputUnreadable         5   a file is not what its name says, or is damaged
    ├── DataGate                5   the data is readable, but too bad to learn from
    ├── WorkDirBusy             6   another build is using the work folder
    ├── OutOfSpace             75   a disk is full; finished tasks are kept
    └── EngineFailed            1
        ├── TaskFailed          1   a task raised
        ├── ClusterUnusable    75   nobody answers there, or it has no workers
        └── WorkerLost         75   a worker process died more often than the engine retries

The number is the exit code of the command. Every error travels between processes by pickle, so a
class must be constructible from its message alone; further fields are keyword-only with defaults.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from index.folders import NO_ROOM

# In the words of the system and DuckDB, and of numpy.
_NO_SPACE: Final = re.compile(r"No space left on device|\d+ requested and \d+ written")


class BuildError(Exception):
    """A sentence (what, expected, found), and the data behind it.

    Attributes:
        hint: what to try next, when someone can act.
        path: the file or folder it is about.
        stage: set by the engine when a task raised it.
        task: set by the engine when a task raised it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, path: Path | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.path = path
        self.stage: str | None = None
        self.task: str | None = None


class UsageError(BuildError):
    """The command was asked for something it cannot do."""

    exit_code = 2


class NotWritable(UsageError):
    """A folder that the build was told to write to cannot be made or written."""


class ConfigError(UsageError):
    """almanac.toml has problems; all of them are listed."""

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[str] = (),
        hint: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, path=path)
        self.problems = tuple(problems)


class MissingColumns(UsageError):
    """A file lacks columns that nothing can replace."""

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[str] = (),
        seen: Sequence[str] = (),
        hint: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, path=path)
        self.missing = tuple(missing)
        self.seen = tuple(seen)


class InputNotFound(BuildError):
    """A named input file, or a pattern, matches nothing."""

    exit_code = 4


class InputUnreadable(BuildError):
    """An input file is damaged, empty, or of another format than its name says."""

    exit_code = 5


class DataGate(BuildError):
    """The data was read and is too bad to go on.

    Attributes:
        report_path: the import report with every reason and count.
        quarantine_path: the bad rows with their reasons.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        report_path: Path | None = None,
        quarantine_path: Path | None = None,
        hint: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, path=path)
        self.report_path = report_path
        self.quarantine_path = quarantine_path


class WorkDirBusy(BuildError):
    """Another build holds the work folder."""

    exit_code = 6


class OutOfSpace(BuildError):
    """A disk is full; a new run goes on after the last finished task."""

    exit_code = 75


class EngineFailed(BuildError):
    """The machinery that runs tasks gave up."""


class TaskFailed(EngineFailed):
    """A task raised something that is not a BuildError.

    Attributes:
        trace: the traceback of the worker, as text.
    """

    def __init__(
        self,
        message: str,
        *,
        trace: str = "",
        hint: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, path=path)
        self.trace = trace


class WorkerLost(EngineFailed):
    """Worker processes kept dying; the finished tasks are kept and a new run resumes."""

    exit_code = 75


class ClusterUnusable(EngineFailed):
    """No cluster answers, or it has no workers; finished tasks are kept."""

    exit_code = 75


def out_of_space(problem: Exception, where: str) -> OutOfSpace | None:
    """The error to raise instead when this one only says that a disk is full; None otherwise.

    Args:
        problem: an error of the system, or of a library that tells the system's in its own words.
        where: what could not be written.

    >>> import errno
    >>> print(out_of_space(OSError(errno.ENOSPC, "No space left on device"), "import/events-00000"))
    import/events-00000: no space left on the disk
    """
    if getattr(problem, "errno", None) not in NO_ROOM and not _NO_SPACE.search(str(problem)):
        return None
    return OutOfSpace(
        f"{where}: no space left on the disk",
        hint="free some and run the same command again: it goes on after the last finished task;"
        " --work puts intermediate results on another disk",
    )
