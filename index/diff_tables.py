"""How two tables differ, record by record: what was put, what was removed, what stayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from index.generation import Generation
from index.tables import Table

Record = tuple[bytes, bytes]
_NO_MORE: Final[tuple[None, None]] = (None, None)


@dataclass(slots=True, kw_only=True)
class TableChurn:
    """What became of one table's records.

    Attributes:
        table: its name, such as `customers`.
        same: records that are byte for byte what they were.
        changed: records under the same key that are not.
        added: keys that are new.
        removed: keys that are gone.
        put_bytes: keys and values of changed and added records: what a delta has to carry.
        all_bytes: keys and values of all records of the later table.
    """

    table: str
    same: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    put_bytes: int = 0
    all_bytes: int = 0

    @property
    def churn(self) -> float:
        """Share of the later table's bytes that changed or are new, in [0, 1]."""
        return self.put_bytes / self.all_bytes if self.all_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One key of either table.

    Attributes:
        key: the key.
        before: the earlier value; None when the key is new.
        after: the later value; None when the key is gone.
    """

    key: bytes
    before: bytes | None
    after: bytes | None


def steps(before: Iterable[Record], after: Iterable[Record]) -> Iterator[Step]:
    """All keys of two tables in rising order, each with both values.

    Args:
        before: records of the earlier table, keys rising.
        after: records of the later one, keys rising.
    """
    olds, news = iter(before), iter(after)
    old, new = next(olds, _NO_MORE), next(news, _NO_MORE)
    while old[0] is not None or new[0] is not None:
        if new[0] is None or (old[0] is not None and old[0] < new[0]):
            assert old[0] is not None
            yield Step(key=old[0], before=old[1], after=None)
            old = next(olds, _NO_MORE)
        elif old[0] is None or new[0] < old[0]:
            yield Step(key=new[0], before=None, after=new[1])
            new = next(news, _NO_MORE)
        else:
            yield Step(key=new[0], before=old[1], after=new[1])
            old, new = next(olds, _NO_MORE), next(news, _NO_MORE)


def table_churn(name: str, before: Iterable[Record], after: Iterable[Record]) -> TableChurn:
    """Count how two tables differ; see `steps`."""
    churn = TableChurn(table=name)
    for step in steps(before, after):
        if step.after is None:
            churn.removed += 1
            continue
        n_bytes = len(step.key) + len(step.after)
        churn.all_bytes += n_bytes
        if step.before == step.after:
            churn.same += 1
            continue
        churn.put_bytes += n_bytes
        if step.before is None:
            churn.added += 1
        else:
            churn.changed += 1
    return churn


def churn_of(before: Generation, after: Generation) -> Iterator[TableChurn]:
    """How each table of two snapshots differs, one after the other as it is read.

    Shards of customers count as one table: their keys go on from one to the next.
    """
    pairs: tuple[tuple[str, Sequence[Table], Sequence[Table]], ...] = (
        ("customers", before.customers, after.customers),
        ("contexts", [before.contexts], [after.contexts]),
        ("items", [before.items], [after.items]),
        ("offers", [before.offers], [after.offers]),
    )
    for name, olds, news in pairs:
        yield table_churn(name, _records(olds), _records(news))


def _records(tables: Sequence[Table]) -> Iterator[Record]:
    return chain.from_iterable(map(_of_one, tables))


def _of_one(table: Table) -> Iterator[Record]:
    reader = table.reader()
    try:
        yield from reader.records()
    finally:
        reader.close()
