"""The tools there are files for, and where these go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from bench.load.emit import k6, vegeta, wrk2
from bench.load.emit.load import Load

Tool: TypeAlias = Literal["k6", "vegeta", "wrk2"]


class NotWritable(Exception):
    """The folder for a tool's files cannot be made or written."""

    exit_code = 2
    hint = "give another --emit-dir"


def emit(tool: Tool, load: Load, out_dir: Path) -> Path:
    """Write what one of the tools needs.

    Args:
        tool: which; its name is part of every file's, so that several can share a folder.
        load: what is to be sent.
        out_dir: folder to write into; made where it is missing.

    Returns:
        The file to run.

    Raises:
        NotForTool: the tool can't be told such a load; no file is written.
        NotWritable: the folder cannot be made or written.
    """
    writers = {"k6": k6.write, "vegeta": vegeta.write, "wrk2": wrk2.write}
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        return writers[tool](load, out_dir)
    except OSError as problem:
        raise NotWritable(
            f"{out_dir}: no files can be written there ({problem.strerror})"
        ) from problem
