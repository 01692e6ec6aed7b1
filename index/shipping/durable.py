"""Small files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from index.folders import sync_folder


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put a file in place of another: readers see the old or the new bytes, never a mixture.

    When it returns, the new bytes survive a power cut. What a killed writer left aside begins with
    a dot and ends in `.part`; nobody reads it.

    Raises:
        OSError: the disk is full or refuses; the old file is untouched.
    """
    aside = _write_aside(path, content, mode)
    try:
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that must not exist yet, whole from the moment it can be seen.

    Raises:
        FileExistsError: something of that name exists; it is untouched.
        OSError: the disk is full or refuses.
    """
    aside = _write_aside(path, content, mode)
    try:
        path.hardlink_to(aside)
    finally:
        aside.unlink()
    sync_folder(path.parent)


def _write_aside(path: Path, content: bytes, mode: int) -> Path:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        aside.unlink()
        raise
    return aside
