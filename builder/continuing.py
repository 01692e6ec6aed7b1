"""An incremental build: what it takes over from the earlier snapshot, from opening to telling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.keeping import Keeping
from builder.kept_tables import KeptItems, KeptTables, keep_tables, write_same
from builder.parent import Parent
from builder.scoring import kept_in
from builder.tables import LearnedArrays
from index.snapshot import open_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """An earlier snapshot, open, and what of it is good today.

    Attributes:
        tables: the shared tables.
        keeping: what tasks need to keep customers' records.
        items: keeps items' records, and counts them.
    """

    tables: KeptTables
    keeping: Keeping
    items: KeptItems

    def told(self, runs: Sequence[Path]) -> dict[str, Any]:
        """What the manifest says of it, when all is written."""
        parent = self.keeping.parent
        return {
            "parent": parent.snapshot_id,
            "depth": parent.depth + 1,
            "customers_kept": kept_in(runs),
            "items_kept": self.items.n_kept,
            "offers_changed": int((~self.tables.is_same).sum()),
        }


@contextmanager
def keeping_of(parent: Parent, arrays: LearnedArrays, work_dir: Path) -> Iterator[Continued]:
    """Open the earlier snapshot and hold today's arrays against it.

    Args:
        parent: the earlier snapshot.
        arrays: of the cut that ships.
        work_dir: for what tasks read.
    """
    with open_snapshot(parent.directory) as generation:
        tables = keep_tables(arrays, generation)
        with generation.reading() as reader:
            yield Continued(
                tables=tables,
                keeping=Keeping(parent=parent, same_path=write_same(tables.is_same, work_dir)),
                items=KeptItems(reader, tables),
            )
