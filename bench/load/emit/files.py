"""How emitted files are written: lines of requests, and scripts that run phase after phase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Each phase is run and reported, whatever became of those before it.
_RUN: Final = """\
#!/bin/sh
# %(about)s
# One run after the other, each a phase of the schedule; ends with 1 where a request failed.
set -u
cd "$(dirname "$0")" || exit
failed=0

%(function)s
%(calls)s

exit $failed
"""


def write_text(path: Path, text: str) -> Path:
    """Write a file that people may read, too."""
    path.write_text(text, encoding="utf-8")
    return path


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Write requests, one a line."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def write_run(path: Path, about: str, function: str, calls: Sequence[str]) -> Path:
    """Write a shell script.

    Args:
        path: of the script.
        about: how it is started, and what it leaves behind.
        function: what is done for a phase; it sets `failed` where something did.
        calls: of the function.

    Returns:
        The script's path.
    """
    write_text(path, _RUN % {"about": about, "function": function, "calls": "\n".join(calls)})
    path.chmod(0o755)
    return path
