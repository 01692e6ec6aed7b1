"""Sparse rows of (offer, value, evidence) as four flat arrays that are mapped, not loaded.

Every signal with more than one number per offer is such a table. On disk it is four files:
`<name>_starts.npy` int64 (n_rows + 1), `<name>_rows.npy` uint32, `<name>_values.npy` float32 and
`<name>_counts.npy` uint16; row i is the slice starts[i]:starts[i + 1] of the other three.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_COUNT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseRows:
    """Rows in falling value, ties by rising offer row.

    Attributes:
        starts: int64, shape (n_rows + 1,).
        rows: uint32, offer rows.
        values: float32, natural-log lifts, finite.
        counts: uint16, how many orders stand behind the value; 65,535 means that or more.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.uint32]
    values: NDArray[np.float32]
    counts: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, i: int) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint16]]:
        """Offer rows, values and counts of row i: views, valid as long as the table."""
        part = slice(int(self.starts[i]), int(self.starts[i + 1]))
        return self.rows[part], self.values[part], self.counts[part]


def pack_rows(
    n_rows: int,
    keys: NDArray[np.int64],
    offers: NDArray[np.int64],
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> SparseRows:
    """Sort triples into rows.

    Args:
        n_rows: how many rows the table has.
        keys: the row of each triple, in [0, n_rows).
        offers: the offer row of each triple.
        values: its value.
        counts: its evidence; clipped to 65,535.
    """
    values32 = values.astype(np.float32)
    order = np.lexsort((offers, -values32, keys))
    starts = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=n_rows), out=starts[1:])
    return SparseRows(
        starts=starts,
        rows=offers[order].astype(np.uint32),
        values=values32[order],
        counts=np.minimum(counts[order], MAX_COUNT).astype(np.uint16),
    )


def write_rows(table: SparseRows, out_dir: Path, name: str) -> None:
    """Write the four files."""
    np.save(out_dir / f"{name}_starts.npy", table.starts)
    np.save(out_dir / f"{name}_rows.npy", table.rows)
    np.save(out_dir / f"{name}_values.npy", table.values)
    np.save(out_dir / f"{name}_counts.npy", table.counts)


def open_rows(globals_dir: Path, name: str) -> SparseRows:
    """Map the four files read-only; processes share the pages."""

    def part(kind: str) -> NDArray[np.generic]:
        return open_array(globals_dir / f"{name}_{kind}.npy")

    return SparseRows(
        starts=part("starts"),  # type: ignore[arg-type]  # np.load knows no dtypes
        rows=part("rows"),  # type: ignore[arg-type]
        values=part("values"),  # type: ignore[arg-type]
        counts=part("counts"),  # type: ignore[arg-type]
    )


def open_array(path: Path) -> NDArray[np.generic]:
    """Map one .npy file read-only (an empty one is loaded: nothing can be mapped)."""
    array: NDArray[np.generic] = np.load(path, allow_pickle=False)
    if array.size:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
