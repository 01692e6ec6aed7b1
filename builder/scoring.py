"""Customer records, a partition at a time, as sorted runs that tables are packed from."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.asked import write_asked
from builder.keeping import Keeping, Kept, kept_customers
from builder.signals.orders import Partition, Vocabulary
from builder.signals.personal import CustomerRow, score_partition
from builder.signals.personal_model import PersonalModel
from builder.split import Cut
from index.records import CustomerRecord, pack_customer

RUN_NAME: Final = "customers.run"
KEPT_NAME: Final = "kept.txt"
_NOBODY: Final = Kept(records={}, changed=())
_HEAD: Final = struct.Struct("<16sI")
_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePartition:
    """The task that scores one partition's customers and packs their records.

    Attributes:
        partition: whose events.
        vocabulary: rows of items and offers.
        cut: what may be seen.
        model: the learned personal signal.
        globals_dir: the cut's shared arrays, mapped.
        asked_path: from `asked.write_asked`, whose records are wanted; None for everybody's.
        keeping: records of an earlier snapshot are kept where they still say what they should;
            None for none. Not together with `asked_path`.
    """

    partition: Partition
    vocabulary: Vocabulary
    cut: Cut
    model: PersonalModel
    globals_dir: Path
    asked_path: Path | None = None
    keeping: Keeping | None = None

    @property
    def name(self) -> str:
        return f"score-{self.partition.number:04d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        asked_path, kept = self.asked_path, _NOBODY
        if self.keeping is not None:
            kept = kept_customers(
                self.keeping,
                self.partition,
                self.vocabulary,
                self.cut,
                self.model.settings,
                memory_bytes,
            )
            asked_path = write_asked(kept.changed, out_dir)
        rows = score_partition(
            self.partition,
            self.vocabulary,
            self.cut,
            self.model,
            self.globals_dir,
            memory_bytes,
            asked_path=asked_path,
        )
        with (out_dir / RUN_NAME).open("wb") as file:
            for key, packed in heapq.merge(map(_packed, rows), kept.records.items()):
                file.write(_HEAD.pack(key, len(packed)) + packed)
        (out_dir / KEPT_NAME).write_text(str(len(kept.records)))


def _packed(row: CustomerRow) -> tuple[bytes, bytes]:
    record = CustomerRecord(
        n_orders=row.n_orders,
        last_day=row.last_day,
        rows=row.rows,
        values=row.values,
        counts=row.counts,
        history=row.history,
    )
    return row.key, pack_customer(record)


def kept_in(runs: Iterable[Path]) -> int:
    """How many records of finished runs were kept."""
    return sum(int(path.with_name(KEPT_NAME).read_text()) for path in runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a writer must know before it reads a run.

    Attributes:
        n_records: customers in it.
        n_bytes: keys and records together.
    """

    n_records: int
    n_bytes: int


def run_facts(paths: Iterable[Path]) -> RunFacts:
    """Count runs without keeping anything of them."""
    n_records = n_bytes = 0
    for path in paths:
        with path.open("rb") as file:
            while head := file.read(_HEAD.size):
                _, size = _HEAD.unpack(head)
                file.seek(size, 1)
                n_records += 1
                n_bytes += _KEY_BYTES + size
    return RunFacts(n_records=n_records, n_bytes=n_bytes)


def read_runs(paths: Iterable[Path]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and packed records of runs, in the order of the runs."""
    for path in paths:
        with path.open("rb") as file:
            while head := file.read(_HEAD.size):
                key, size = _HEAD.unpack(head)
                yield key, file.read(size)
