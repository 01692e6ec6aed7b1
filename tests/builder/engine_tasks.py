"""Tasks for the engine. Workers import this file: it needs little, so that they start at once."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Writes its number, and a mark outside that counts how often it ran."""

    number: int
    marks: Path

    @property
    def name(self) -> str:
        return f"count-{self.number:02d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        (out_dir / "number").write_text(str(self.number * memory_bytes))
        mark(self.marks, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DieUntil:
    """Kills its own worker, as the kernel does when memory is short, in its first `deaths` runs."""

    deaths: int
    marks: Path
    name: str = "die"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        (out_dir / "half").write_text("half a result")
        if mark(self.marks, self.name) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Raises what it is given."""

    error: Exception
    name: str = "raise"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        (out_dir / "half").write_text("half a result")
        raise self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Writes what a worker may see."""

    name: str = "describe"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        from builder.duck import connect  # noqa: PLC0415 - no other task needs a database

        with connect(memory_bytes, out_dir) as connection:
            row = connection.execute(
                "SELECT current_setting('threads'), current_setting('TimeZone'),"
                " current_setting('autoinstall_known_extensions')"
            ).fetchone()
        (out_dir / "seen").write_text(f"{os.environ['OMP_NUM_THREADS']} {row}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The last four wait for a sign, so that a build can be killed while they run."""

    number: int
    marks: Path
    go: Path

    @property
    def name(self) -> str:
        return f"slow-{self.number}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        mark(self.marks, self.name)
        while self.number >= 2 and not self.go.exists():
            time.sleep(0.01)
        (out_dir / "number").write_text(str(self.number))
        (self.marks / f"{self.name}.pid").write_text(str(os.getpid()))


def mark(marks: Path, name: str) -> int:
    """Leave one more mark and say how many there are."""
    with (marks / name).open("a") as file:
        file.write("x")
    return (marks / name).stat().st_size
