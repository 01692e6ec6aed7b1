"""Sparse rows of (offer, value, evidence) as four flat arrays that are mapped, not loaded.

Every signal with more than one number per offer is such a table. On disk it is four files:
`<name>_starts.npy` int64 (n_rows + 1), `<name>_rows.npy` uint32, `<name>_values.npy` float32 and
`<name>_counts.npy` uint32; row i is the slice starts[i]:starts[i + 1] of the other three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import Counts, Rows, Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseRows:
    """A table of rows; within each, offers rise.

    Attributes:
        starts: int64, shape (n_rows + 1,).
        rows: uint32, offer rows.
        values: float32, natural-log lifts, finite.
        counts: uint32, how many orders stand behind each value.
    """

    starts: NDArray[np.int64]
    rows: Rows
    values: Scores
    counts: Counts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, number: int) -> tuple[Rows, Scores, Counts]:
        """Offer rows, values and counts of one row: views, valid as long as the table."""
        part = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return self.rows[part], self.values[part], self.counts[part]


def pack_rows(
    n_rows: int,
    keys: NDArray[np.integer[Any]],
    offers: NDArray[np.integer[Any]],
    values: NDArray[np.floating[Any]],
    counts: NDArray[np.integer[Any]],
) -> SparseRows:
    """Arrange entries, given in any order, into rows.

    Args:
        n_rows: how many rows the table has.
        keys: the row of each entry, in [0, n_rows).
        offers: the offer row of each entry; distinct within a row.
        values: its value.
        counts: its evidence.
    """
    order = np.lexsort((offers, keys))
    starts = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=n_rows), out=starts[1:])
    return SparseRows(
        starts=starts,
        rows=offers[order].astype(np.uint32),
        values=values[order].astype(np.float32),
        counts=counts[order].astype(np.uint32),
    )


def stack_rows(tables: Sequence[SparseRows]) -> SparseRows:
    """The rows of one or more tables, one table after another."""
    sizes = np.concatenate([np.diff(table.starts) for table in tables])
    return SparseRows(
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        rows=np.concatenate([table.rows for table in tables]),
        values=np.concatenate([table.values for table in tables]),
        counts=np.concatenate([table.counts for table in tables]),
    )


def replace_rows(table: SparseRows, numbers: NDArray[np.int64], rows: SparseRows) -> SparseRows:
    """A table with other rows at some distinct numbers; row i of `rows` goes to the i-th."""
    key = np.repeat(np.arange(len(table)), np.diff(table.starts))
    kept = ~np.isin(key, numbers)
    return pack_rows(
        len(table),
        np.concatenate([key[kept], np.repeat(numbers, np.diff(rows.starts))]),
        np.concatenate([table.rows[kept], rows.rows]),
        np.concatenate([table.values[kept], rows.values]),
        np.concatenate([table.counts[kept], rows.counts]),
    )


def write_rows(table: SparseRows, out_dir: Path, name: str) -> None:
    """Write the four files."""
    np.save(out_dir / f"{name}_starts.npy", table.starts)
    np.save(out_dir / f"{name}_rows.npy", table.rows)
    np.save(out_dir / f"{name}_values.npy", table.values)
    np.save(out_dir / f"{name}_counts.npy", table.counts)


def open_rows(globals_dir: Path, name: str) -> SparseRows:
    """Map the four files read-only; processes share the pages."""
    return SparseRows(
        starts=open_array(globals_dir / f"{name}_starts.npy"),
        rows=open_array(globals_dir / f"{name}_rows.npy"),
        values=open_array(globals_dir / f"{name}_values.npy"),
        counts=open_array(globals_dir / f"{name}_counts.npy"),
    )


def open_array(path: Path) -> NDArray[Any]:
    """Map one .npy file read-only; an empty one is read instead, since nothing can be mapped."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)
        assert not array.size, f"{path} cannot be mapped"
    return array
