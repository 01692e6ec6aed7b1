"""A machine without memory or files to give says so, and does not call a sound snapshot damaged."""

from __future__ import annotations

import ctypes
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from index import mapping
from index.errors import Corrupt, Exhausted, Incomplete
from index.generation import Generation
from index.manifest import read_manifest
from index.shortage import shortage_in
from index.snapshot import open_snapshot
from tests.index.test_snapshot import ROOT

LIMITED = """
import os, resource, sys
from index.errors import Exhausted
from index.snapshot import open_snapshot

path = sys.argv[1]
open_snapshot(path).close()  # all code is loaded


def held():
    if sys.argv[2] == "RLIMIT_NOFILE":
        return len(os.listdir("/proc/self/fd")) - 1
    return int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")


kind = getattr(resource, sys.argv[2])
_, hard = resource.getrlimit(kind)
refused = []
for more in map(int, sys.argv[3:]):
    resource.setrlimit(kind, (held() + more, hard))
    try:
        open_snapshot(path).close()
    except Exhausted as problem:
        refused.append(f"{more}: {problem.what}")
    finally:
        resource.setrlimit(kind, (hard, hard))
print(*refused, sep="\\n")
"""


def limited(path: Path, kind: str, *room: int) -> list[str]:
    """What is said with so much room beside what the process has already."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), kind, *map(str, room)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_however_few_files_are_granted_the_snapshot_is_not_blamed(toy_dir: Path) -> None:
    refused = limited(toy_dir, "RLIMIT_NOFILE", *range(10))

    assert 1 <= len(refused) < 10, "nothing was refused, or everything"
    assert refused == [
        f"{files}: can't be opened (Too many open files)" for files in range(len(refused))
    ]


def test_case_42_however_little_memory_is_granted_the_snapshot_is_not_blamed(toy_dir: Path) -> None:
    room = [0, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 30]
    refused = limited(toy_dir, "RLIMIT_AS", *room)

    assert 1 <= len(refused) < len(room)
    assert all(told.endswith(": can't be opened (Cannot allocate memory)") for told in refused)


def test_pages_that_no_memory_is_left_for_are_not_missing(
    toy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: int) -> bool:
        ctypes.set_errno(errno.ENOMEM)
        return False

    monkeypatch.setattr(mapping, "_is_cached", lambda *_: False)
    monkeypatch.setattr(mapping, "_populate", refused)
    with pytest.raises(Exhausted, match="Cannot allocate memory"):
        open_snapshot(toy_dir)


def test_what_asks_for_too_much_as_it_is_damaged_is_to_blame(toy_dir: Path, tmp_path: Path) -> None:
    entries = read_manifest(toy_dir).files
    damaged = tmp_path / "offers.faiss"
    damaged.write_bytes(b"not what was written")

    def from_memory(path: Path) -> Corrupt:
        problem = Corrupt("FAISS cannot read it (bad_alloc)", path=path)
        problem.__cause__ = MemoryError()
        return problem

    assert shortage_in(from_memory(damaged), tmp_path, entries) is None
    assert isinstance(shortage_in(from_memory(toy_dir / damaged.name), toy_dir, entries), Exhausted)


@pytest.mark.parametrize(
    "problem", [Incomplete("is missing"), OSError(errno.EIO, "Input/output error"), ValueError()]
)
def test_other_failures_say_nothing_of_the_machine(toy: Generation, problem: Exception) -> None:
    assert shortage_in(problem, toy.directory, toy.manifest.files) is None
