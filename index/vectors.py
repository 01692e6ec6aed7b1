"""FAISS: the only file that imports it. Offer vectors, searched by inner product.

Only index types whose codes `IO_FLAG_MMAP_IFC` really maps are written, so that all workers of a
host share one copy. FAISS is kept to one thread: its threads would outnumber the cores under load,
and hang after a fork.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np

from index.arrays import Rows, Scores, Vector, Vectors
from index.errors import Corrupt, Incomplete, Mixed, WriteFailed
from index.mapping import prove, touch

_FLAT_UP_TO: Final = 4096
_TRAIN_PER_LIST: Final = 64
_SEED: Final = 1234
_UNREADABLE: Final = (RuntimeError, MemoryError)
"""What FAISS raises for a file that was damaged: of some lengths it believes what it reads."""


def write_vectors(path: Path, vectors: Vectors) -> str:
    """Write offer vectors as a searchable file and prove that it reads back.

    Up to 4,096 offers the file is an exact flat index; above, an inverted file with about
    √n lists, searched in a few of them.

    Args:
        path: file to write.
        vectors: float32, shape (n_offers, dim), L2-normalised or zero; row i is offer row i.

    Returns:
        The FAISS factory text, for the manifest.

    Raises:
        WriteFailed: what was written is short (FAISS can miss that a disk is full).
    """
    n_offers, dim = vectors.shape
    factory = "Flat" if n_offers <= _FLAT_UP_TO else f"IVF{_n_lists(n_offers)},Flat"
    faiss.omp_set_num_threads(1)
    built = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    if isinstance(built, faiss.IndexIVF):
        clustering = built.cp
        clustering.seed = _SEED
        clustering.min_points_per_centroid = 1
        clustering.max_points_per_centroid = _TRAIN_PER_LIST
        built.train(vectors)
    built.add(vectors)
    try:
        faiss.write_index(built, str(path))
    except RuntimeError as problem:
        raise WriteFailed(
            f"FAISS cannot write it ({_last_sentence(problem)})", path=path
        ) from problem
    with path.open("rb") as file:
        os.fsync(file.fileno())
        written = os.fstat(file.fileno()).st_size
    if written != faiss.serialize_index(built).nbytes:
        raise WriteFailed(f"{written} bytes on disk are fewer than the index has", path=path)
    return factory


class OfferVectors:
    """Open offer vectors of one snapshot, mapped and shared between processes.

    FAISS reads a file whose last seven bytes are gone: compare its size with the manifest first.

    Args:
        path: file written by `write_vectors`.
        n_probe: how many lists of an inverted file a search visits.
    """

    def __init__(self, path: Path, *, n_probe: int) -> None:
        if not path.is_file():
            raise Incomplete("is missing", path=path)
        self._size_bytes = path.stat().st_size
        faiss.omp_set_num_threads(1)
        try:
            self._found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except _UNREADABLE as problem:
            raise Corrupt(
                f"FAISS cannot read it ({_last_sentence(problem)})",
                path=path,
                hint="copy or build the snapshot again",
            ) from problem
        self.path = path
        self.n_offers = int(self._found.ntotal)
        self.dim = int(self._found.d)
        if isinstance(self._found, faiss.IndexIVF):
            self._found.nprobe = n_probe

    def require_shape(self, n_offers: int, dim: int) -> None:
        """Check that these vectors belong to a model.

        Raises:
            Mixed: the numbers differ.
        """
        if (self.n_offers, self.dim) != (n_offers, dim):
            raise Mixed(
                f"{self.n_offers} vectors of {self.dim} numbers, "
                f"the model speaks of {n_offers} of {dim}",
                path=self.path,
            )

    def prove(self) -> None:
        """Make sure that every page is there; those that are not in memory are brought.

        Raises:
            Incomplete: the file is shorter than its mapping, or cannot be read.
        """
        prove(self.path, self._size_bytes)

    def touch(self) -> None:
        """Map what `prove` found, so that no search waits for the kernel to do it."""
        # Each opener has a mapping of its own; an empty list is nowhere.
        place = next((one for one in self._places() if one is not None), None)
        if place is not None:
            touch(self.path, self._size_bytes, address=int(place))

    def _places(self) -> Iterator[Any]:
        """Where the vectors lie, list by list."""
        found: Any = self._found  # not all of its methods have types
        if isinstance(self._found, faiss.IndexIVF):
            yield from map(found.invlists.get_codes, range(found.nlist))
        else:
            yield found.get_xb()

    def nearest(self, query: Vector, top: int) -> tuple[Rows, Scores]:
        """Offers most similar to a query.

        Args:
            query: float32, shape (dim,).
            top: how many at most; at least 1.

        Returns:
            Offer rows (uint32, shape (m,)) and inner products (float32, shape (m,)), falling,
            with m ≤ top. Both are copies.

        Raises:
            Corrupt: the query has another length, as a damaged record's direction may have.
        """
        if len(query) != self.dim:
            # FAISS only asserts it, and would read past the query's end where that is switched off.
            raise Corrupt(
                f"holds vectors of {self.dim} numbers, one of {len(query)} was asked for",
                path=self.path,
            )
        scores, rows = self._found.search(query.reshape(1, -1), top)
        kept = rows[0] >= 0
        return rows[0][kept].astype(np.uint32), scores[0][kept]


def read_vectors(path: Path) -> Vectors:
    """All vectors of a file of `write_vectors`, float32, shape (n_offers, dim); a copy.

    Raises:
        Corrupt: FAISS cannot read it.
    """
    try:
        found = faiss.read_index(str(path))
    except _UNREADABLE as problem:
        raise Corrupt(f"FAISS cannot read it ({_last_sentence(problem)})", path=path) from problem
    if isinstance(found, faiss.IndexIVF):
        found.make_direct_map()
    vectors: Vectors = found.reconstruct_n(0, found.ntotal)
    return vectors


def _n_lists(n_offers: int) -> int:
    return max(16, min(4096, int(n_offers**0.5)))


def _last_sentence(problem: BaseException) -> str:
    return str(problem).strip().rsplit("\n", 1)[-1].rsplit("Error: ", 1)[-1][:200]
