"""Runs on disk: raw samples beside a summary, so that another figure needs no new run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

DEFAULT_DIR: Final = Path("bench/results")


def tell_run(
    name: str,
    summary: Mapping[str, Any],
    text: str,
    *,
    samples: Mapping[str, NDArray[np.int64]] | None = None,
    out_dir: Path,
    json: bool,
) -> None:
    """Keep one run, as `summary.json` and `samples.npz` in a folder of its own, and print it.

    Args:
        name: of the benchmark.
        summary: figures and machine facts.
        text: the summary as people read it.
        samples: raw numbers by contender, where there are any: nanoseconds, or lists.
        out_dir: folder of all runs.
        json: print the summary as JSON instead.
    """
    run_dir = _own_folder(out_dir, f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    np.savez_compressed(run_dir / "samples.npz", **dict(samples or {}))  # type: ignore[arg-type]
    (run_dir / "summary.json").write_bytes(
        orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    )
    sys.stdout.write(f"{orjson.dumps(summary).decode() if json else text}\n")
    sys.stderr.write(f"kept in {run_dir}\n")


def _own_folder(out_dir: Path, name: str) -> Path:
    """A new folder of that name; with a number after it where another run ended just then."""
    folder, number = out_dir / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = out_dir / f"{name}-{number}"
        else:
            return folder


def aligned(rows: list[list[str]]) -> str:
    """Rows of cells as text columns: the first to the left, the others to the right.

    >>> print(aligned([["name", "p50"], ["get", "1.2"]]))
    name  p50
    get   1.2
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)
