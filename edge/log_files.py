"""The files of a decision log: lines are added to one, which gets its name when it is whole."""

from __future__ import annotations

import fcntl
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.errors import FolderBusy

MAX_BYTES: Final = 64 << 20
MAX_AGE_S: Final = 3600.0
_UNFINISHED: Final = ".part"


class LogFiles:
    """Writes into a folder that no other process writes to.

    A file is called `decisions-TIME-NUMBER.jsonl.part` while lines may come, and `….jsonl` after.
    What a killed process left unfinished is cut after its last whole line, and finished.

    Args:
        folder: made where it is missing.
        max_bytes: a file is finished when it has so many.
        max_age_s: or when its first line is so old.

    Raises:
        FolderBusy: another process writes there.
        OSError: the folder can't be written to.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = MAX_BYTES, max_age_s: float = MAX_AGE_S
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._file = -1
        self._path = folder
        self._size = self._number = 0
        self._began_s = 0.0
        try:
            _take(self._lock, folder)
            for left in sorted(folder.glob(f"decisions-*{_UNFINISHED}")):
                _cut_after_last_line(left)
                left.rename(left.with_suffix(""))
        except BaseException:
            # Left open it would keep its lock, and every later try would find the folder busy.
            os.close(self._lock)
            raise

    def add(self, lines: bytes) -> None:
        """Add whole lines.

        Raises:
            OSError: they were not added, none of them.
        """
        if self._file < 0:
            self._begin()
        try:
            done = 0
            while done < len(lines):
                done += os.write(self._file, lines[done:])
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)

    def finish_if_due(self) -> None:
        """Finish the file when it is large or old enough."""
        if self._size >= self._max_bytes or (
            self._size and time.monotonic() - self._began_s >= self._max_age_s
        ):
            self.finish()

    def finish(self) -> None:
        """Give the file its name, if there is one; the next line begins another."""
        if self._file < 0:
            return
        os.fsync(self._file)
        os.close(self._file)
        self._file, self._size = -1, 0
        self._path.rename(self._path.with_suffix(""))

    def close(self) -> None:
        self.finish()
        os.close(self._lock)

    def _begin(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"decisions-{stamp}-{os.getpid()}-{self._number}.jsonl{_UNFINISHED}"
        self._path = self._folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._file = os.open(self._path, flags, 0o640)
        self._number += 1
        self._began_s = time.monotonic()


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise FolderBusy(
            f"{folder}: another edge logs decisions there", hint="give each edge a folder"
        ) from problem


def _cut_after_last_line(path: Path) -> None:
    with path.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)
