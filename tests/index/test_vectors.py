"""Vectors: exact where they are few, near enough where they are many, mapped and never copied."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from index.arrays import Vectors
from index.errors import Corrupt, Incomplete, Mixed, WriteFailed
from index.vectors import OfferVectors, read_vectors, write_vectors

ROOT = Path(__file__).parents[2]
SMAPS = Path("/proc/self/smaps")
N_FLAT, N_IVF, DIM = 4096, 5000, 16


def directions(n: int, dim: int = DIM) -> Vectors:
    rng = np.random.default_rng(7)
    vectors: Vectors = rng.standard_normal((n, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture(scope="module")
def flat_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flat") / "v.faiss"
    assert write_vectors(path, directions(N_FLAT)) == "Flat"
    return path


@pytest.fixture(scope="module")
def lists_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "v.faiss"
    assert write_vectors(path, directions(N_IVF)) == "IVF70,Flat"
    return path


def test_a_flat_search_is_exact(flat_path: Path) -> None:
    vectors = directions(N_FLAT)
    rows, scores = OfferVectors(flat_path, n_probe=1).nearest(vectors[17], 5)
    products = vectors @ vectors[17]

    assert rows.tolist() == np.argsort(-products)[:5].tolist()
    np.testing.assert_allclose(scores, np.sort(products)[:-6:-1], rtol=1e-5)
    assert rows.dtype == np.uint32


def test_visiting_all_lists_is_exact_too(lists_path: Path) -> None:
    vectors = directions(N_IVF)
    rows, _ = OfferVectors(lists_path, n_probe=70).nearest(vectors[4000], 10)

    assert rows.tolist() == np.argsort(-(vectors @ vectors[4000]))[:10].tolist()


def test_fewer_vectors_than_wanted_are_all_returned(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", directions(3))
    rows, scores = OfferVectors(tmp_path / "v", n_probe=8).nearest(directions(3)[0], 64)

    assert sorted(rows.tolist()) == [0, 1, 2]
    assert scores.shape == (3,)


def test_one_list_may_hold_fewer_than_wanted(lists_path: Path) -> None:
    rows, scores = OfferVectors(lists_path, n_probe=1).nearest(directions(1)[0], 4000)

    assert 0 < len(rows) == len(scores) < 4000


def test_what_was_found_outlives_the_vectors(flat_path: Path) -> None:
    vectors = OfferVectors(flat_path, n_probe=1)
    rows, scores = vectors.nearest(directions(1)[0], 3)
    del vectors

    assert rows.flags.owndata
    assert scores.sum() > 0


COUNT_ANONYMOUS = """
import re, sys
from pathlib import Path
from index.vectors import OfferVectors

def anonymous_kib() -> int:
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

warm = OfferVectors(Path(sys.argv[1]), n_probe=4)
before = anonymous_kib()
big = OfferVectors(Path(sys.argv[2]), n_probe=4)
big.prove()
print(anonymous_kib() - before)
"""


@pytest.mark.parametrize(("n", "dim"), [(4096, 1024), (20_000, 256)], ids=["flat", "lists"])
def test_opening_copies_nothing(tmp_path: Path, flat_path: Path, n: int, dim: int) -> None:
    """Case 33."""
    path = tmp_path / "big.faiss"
    write_vectors(path, directions(n, dim))
    command = [sys.executable, "-c", COUNT_ANONYMOUS, str(flat_path), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert path.stat().st_size > 16_000_000
    assert int(done.stdout) < 700  # KiB; the centroids of the lists are the larger part


@pytest.mark.parametrize("n", [N_FLAT, N_IVF])
def test_the_same_vectors_give_the_same_bytes_in_another_process(tmp_path: Path, n: int) -> None:
    write_vectors(tmp_path / "here", directions(n))
    np.save(tmp_path / "vectors.npy", directions(n))
    code = (
        "import numpy, sys; from pathlib import Path; from index.vectors import write_vectors;"
        "write_vectors(Path(sys.argv[1]), numpy.load(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "there"), str(tmp_path / "vectors.npy")]
    subprocess.run(command, cwd=ROOT, check=True)

    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


@pytest.mark.parametrize("keep", [0, 1, 4, 40, 1000, 100_000, -100, -8])
@pytest.mark.parametrize("kind", ["flat_path", "lists_path"])
def test_a_cut_file_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, keep: int
) -> None:
    whole = request.getfixturevalue(kind).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[:keep])

    with pytest.raises(Corrupt, match="FAISS cannot read it"):
        OfferVectors(path, n_probe=1)


@pytest.mark.parametrize("read", [partial(OfferVectors, n_probe=1), read_vectors])
def test_a_length_no_memory_has_is_refused(
    tmp_path: Path, lists_path: Path, read: Callable[[Path], object]
) -> None:
    damaged = bytearray(lists_path.read_bytes())
    sizes = damaged.index(b"ilar") + 32
    damaged[sizes + 4] ^= 8
    path = tmp_path / "v"
    path.write_bytes(damaged)

    with pytest.raises(Corrupt, match="FAISS cannot read it"):
        read(path)


def test_pages_cut_away_after_opening_are_found_by_proving(tmp_path: Path, flat_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(flat_path.read_bytes())
    vectors = OfferVectors(path, n_probe=1)
    os.truncate(path, path.stat().st_size - 40_960)

    with pytest.raises(Incomplete, match="a mapped page cannot be read"):
        vectors.prove()


def resident(path: Path) -> list[int]:
    """KiB in memory of each mapping that this process has of a file."""
    found = re.findall(rf"{re.escape(str(path))}\n(?:\w+: .*\n)*?Rss: +(\d+) kB", SMAPS.read_text())
    return [int(size) for size in found]


@pytest.mark.parametrize("kind", ["flat_path", "lists_path"])
def test_only_one_s_own_mapping_is_touched(request: pytest.FixtureRequest, kind: str) -> None:
    """Whoever has another may unmap it meanwhile, and reading it then ends the process."""
    path: Path = request.getfixturevalue(kind)
    vectors = OfferVectors(path, n_probe=1)
    (opened,) = resident(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        vectors.touch()
        other, own = sorted(resident(path))

    assert other == 0
    assert own > opened


def test_no_vectors_are_touched(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", directions(0))
    OfferVectors(tmp_path / "v", n_probe=1).touch()


@pytest.mark.parametrize("shape", [(N_FLAT + 1, DIM), (N_FLAT, DIM + 1), (0, 0)])
def test_vectors_of_another_shape_are_mixed(flat_path: Path, shape: tuple[int, int]) -> None:
    vectors = OfferVectors(flat_path, n_probe=1)
    vectors.require_shape(N_FLAT, DIM)

    with pytest.raises(Mixed, match=f"{N_FLAT} vectors of {DIM} numbers, the model speaks of"):
        vectors.require_shape(*shape)


def test_a_missing_file_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="is missing"):
        OfferVectors(tmp_path / "v", n_probe=1)


def test_another_program_s_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(b"PAR1" * 1000)

    with pytest.raises(Corrupt, match="FAISS cannot read it"):
        OfferVectors(path, n_probe=1)


@pytest.mark.parametrize("size_kib", [4, 128, 252])
def test_a_full_disk_is_noticed(small_disk: Callable[[int], Path], size_kib: int) -> None:
    """Case 1: 256 KiB and some bytes are wanted; FAISS itself misses that the last are short."""
    with pytest.raises(WriteFailed):
        write_vectors(small_disk(size_kib) / "v", directions(N_FLAT))


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="FAISS cannot write it"):
        write_vectors(tmp_path / "no" / "v", directions(3))
