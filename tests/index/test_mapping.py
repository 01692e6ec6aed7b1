"""Mapped pages: proven cheaply where the kernel can tell, and mapped before they are read."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from index import mapping
from index.errors import Incomplete
from index.mapping import prove

ROOT = Path(__file__).parents[2]
PAGE = mmap.PAGESIZE
N_PAGES = 1000
PIECE_PAGES = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(N_PAGES * PAGE - 7))
    return path


@pytest.fixture
def populated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of what is populated, in pages."""
    found: list[int] = []
    populate = mapping._populate  # noqa: SLF001 - counted, and then called

    def noted(start: int, length: int) -> bool:
        found.append(length // PAGE)
        return populate(start, length)

    monkeypatch.setattr(mapping, "_populate", noted)
    monkeypatch.setattr(mapping, "_PIECE_BYTES", PIECE_PAGES * PAGE)
    return found


@contextmanager
def mapped(path: Path) -> Iterator[int]:
    """A file while this process maps it; its length."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as found:
        yield len(found)


def needs_cachestat(path: Path) -> None:
    with path.open("rb") as file:
        if not mapping._is_cached(file.fileno(), 0, PAGE):  # noqa: SLF001
            pytest.skip("this kernel has no cachestat, or not for this file system")


def test_what_is_in_memory_need_be_neither_populated_nor_looked_for(
    path: Path, populated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_cachestat(path)
    monkeypatch.delattr(mapping, "_mapped_ranges")
    with mapped(path) as size:
        prove(path, size)

    assert populated == []


def test_only_what_is_not_in_memory_is_populated(path: Path, populated: list[int]) -> None:
    needs_cachestat(path)
    os.truncate(path, (N_PAGES + 5) * PAGE)
    with mapped(path) as size:
        prove(path, size)
        assert populated == [5]
        populated.clear()
        prove(path, size)
        assert populated == []


def test_a_kernel_that_does_not_tell_has_all_of_it_populated(
    path: Path, populated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_CACHESTAT", 10_000)
    with mapped(path) as size:
        prove(path, size)

    assert populated == [PIECE_PAGES] * (N_PAGES // PIECE_PAGES)


@pytest.mark.parametrize("tells", [True, False])
def test_what_is_cut_away_is_missed(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, tells: bool
) -> None:
    if not tells:
        monkeypatch.setattr(mapping, "_CACHESTAT", 10_000)
    with mapped(path) as size:
        os.truncate(path, size - PAGE)
        with pytest.raises(Incomplete, match="a mapped page cannot be read"):
            prove(path, size)


FAULTS = """
import mmap, resource, sys
from pathlib import Path
from index.mapping import touch
path, how = Path(sys.argv[1]), sys.argv[2]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    if how == "touch":
        touch(path, len(mapped))
    before = faults()
    for place in range(0, len(mapped), mmap.PAGESIZE):
        mapped[place]
    print(faults() - before)
"""


def faults_after(path: Path, how: str) -> int:
    """Page faults of a process that reads every page, once it has touched them or not."""
    command = [sys.executable, "-c", FAULTS, str(path), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_what_was_touched_is_mapped(path: Path) -> None:
    """How much one fault maps is the kernel's business."""
    assert faults_after(path, "nothing") > 1
    assert faults_after(path, "touch") <= 1
