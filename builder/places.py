"""Places to write to, tried before the work whose outcome they are for."""

from __future__ import annotations

import os
from pathlib import Path

from builder.errors import NotWritable


def make_folder(folder: Path, *, flag: str, asked: Path | None = None) -> None:
    """Make a folder now: what could not be written would be lost when all is done.

    Args:
        folder: is made with all above it, where it is not there.
        flag: where another place is given.
        asked: what was asked for, where the folder is only around it.

    Raises:
        NotWritable: it can't be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise NotWritable(
            f"{asked or folder}: no folder can be made there ({problem.strerror})",
            hint=f"give another {flag}",
            path=asked or folder,
        ) from problem
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NotWritable(
            f"{folder}: may not be written to", hint=f"give another {flag}", path=folder
        )
