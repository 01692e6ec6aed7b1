"""Mapped pages: proven cheaply where the kernel can tell, and mapped before they are read."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from index import mapping
from index.mapping import is_cached, populate

ROOT = Path(__file__).parents[2]
PAGE = mmap.PAGESIZE
N_PAGES = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(N_PAGES * PAGE - 7))
    return path


def has_cachestat(path: Path) -> bool:
    return is_cached(path, 1)


def test_what_was_just_written_is_in_memory_and_nothing_past_it(path: Path) -> None:
    if not has_cachestat(path):
        pytest.skip("this kernel has no cachestat, or not for this file system")
    size = path.stat().st_size

    assert is_cached(path, size)
    assert not is_cached(path, size + PAGE)
    os.truncate(path, size - PAGE)
    assert not is_cached(path, size)


def test_what_nobody_has_read_is_not_in_memory_until_somebody_populates_it(tmp_path: Path) -> None:
    path = tmp_path / "hole"
    path.touch()
    os.truncate(path, N_PAGES * PAGE)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert not is_cached(path, len(mapped))
        assert populate(path, len(mapped)) == len(mapped)
        assert is_cached(path, len(mapped)) == has_cachestat(path)


def test_a_kernel_that_does_not_tell_proves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_CACHESTAT", 10_000)

    assert not is_cached(path, path.stat().st_size)


FAULTS = """
import mmap, resource, sys
from pathlib import Path
from index.mapping import populate, touch
path, how = Path(sys.argv[1]), sys.argv[2]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    {"touch": touch, "populate": populate, "nothing": lambda *_: None}[how](path, len(mapped))
    before = faults()
    for place in range(0, len(mapped), mmap.PAGESIZE):
        mapped[place]
    print(faults() - before)
"""


def faults_after(path: Path, how: str) -> int:
    """Page faults of a process that reads every page, once it has made them present."""
    command = [sys.executable, "-c", FAULTS, str(path), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_what_was_touched_or_populated_is_mapped(path: Path) -> None:
    """How much one fault maps is the kernel's business."""
    assert faults_after(path, "nothing") > 1
    assert faults_after(path, "touch") <= 1
    assert faults_after(path, "populate") <= 1
