"""The verbs of `almanac bench`, run as a user runs them: in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]


def kept_by(*words: str, out_dir: Path) -> tuple[Path, dict[str, Any]]:
    """Run a verb that keeps one run; gives its folder, and the summary it both kept and printed."""
    done = subprocess.run(
        [sys.executable, "-m", "almanac", "bench", *words, "--json", f"--out-dir={out_dir}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run_dir,) = out_dir.iterdir()
    kept: dict[str, Any] = orjson.loads((run_dir / "summary.json").read_bytes())
    assert kept == orjson.loads(done.stdout)
    return run_dir, kept
