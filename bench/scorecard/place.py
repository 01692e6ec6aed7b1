"""The folder that a scorecard is written to: held by one run at a time, and tried beforehand."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from builder.errors import NotWritable
from builder.places import make_folder
from edge.errors import FolderBusy

PAGE: Final = "scorecard.html"
FIGURES: Final = "scorecard.json"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, while no other run writes there.

    Raises:
        NotWritable: it can't be made or written to, or a file could not be written there.
        FolderBusy: another run writes there.
    """
    make_folder(folder, flag="--out")
    for name in (PAGE, FIGURES):
        if (folder / name).is_dir():
            raise NotWritable(
                f"{folder / name}: a folder is where the file is to be written",
                hint="give another --out",
                path=folder / name,
            )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise FolderBusy(
            f"{folder}: another scorecard is being written there",
            hint="wait for it to end, or give this one another --out",
        ) from problem
    except OSError:
        return  # a file system without such locks, where nobody can be told
