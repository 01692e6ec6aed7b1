"""What a figure must be read with: the machine, the versions, the moment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from index.compiled import IS_COMPILED

_LIBRARIES = ("numpy", "lmdb", "faiss-cpu", "msgspec", "orjson", "starlette", "uvicorn", "granian")


def is_real_time() -> bool:
    """Whether this process comes before all ordinary ones."""
    return os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def machine_facts(command: str) -> dict[str, Any]:
    """Facts that go with every run.

    Args:
        command: what repeats the run.
    """
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "libraries": {name: version(name) for name in _LIBRARIES},
        "sums": "compiled" if IS_COMPILED else "numpy",
        "load_at_start": round(os.getloadavg()[0], 2),
        "is_real_time": is_real_time(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
