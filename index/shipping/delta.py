r"""A delta: what makes one file of a snapshot out of the same file of an earlier one.

Tables are rebuilt record by record, by the writer that wrote them first: pages of a rebuilt LMDB
file have nothing in common with those of the one before (a new key renumbers every later page).
Other files are compared place by place. What changed goes as the exclusive-or with what it was:
mostly zeros, which pack well.

    almanac-delta 1\n
    from SHA256 SIZE\n                      the earlier file; size in bytes
    to SHA256 SIZE\n                        the file it makes
    table KIND BINDING N CAPACITY\n         or: bytes\n
    \n
    zlib stream                             table: steps in key order; bytes: XOR, then the rest

    step: "-" key | "+" key length value | "^" key length (value XOR earlier value of that length)

Lengths are 4 bytes, little-endian. A delta carries no authority: what it makes must have the digest
that was asked for. The idea of consumers patching yesterday's records is Netflix Hollow's.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from index.diff_tables import Record, Step, steps
from index.layout import TABLE_KEY_BYTES, table_kind
from index.manifest import file_digest
from index.shipping.disk import disk_failures
from index.shipping.store_errors import Damaged
from index.tables import Table, TableWriter

_MAGIC: Final = b"almanac-delta 1\n"
_HEAD: Final = re.compile(
    rb"from ([0-9a-f]{64}) (\d{1,18})\nto ([0-9a-f]{64}) (\d{1,18})\n"
    rb"(?:bytes|table (\d) ([0-9a-f]{32}) (\d{1,18}) (\d{1,18}))\n\n"
)
_MAX_HEAD_BYTES: Final = 1024
_LENGTH: Final = struct.Struct("<I")
_PIECE_BYTES: Final = 1 << 20
_GONE, _PUT, _XOR = b"-", b"+", b"^"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """What stands before the steps; the last four only for a table."""

    from_sha256: str
    to_sha256: str
    to_bytes: int
    kind: int | None = None
    binding: bytes = b""
    n_records: int = 0
    capacity_bytes: int = 0


def write_delta(before: Path, after: Path, out: Path) -> int:
    """Write the delta between two files of the same name.

    Args:
        before: the earlier file.
        after: the later one.
        out: where to; nothing is there yet.

    Returns:
        Its bytes.

    Raises:
        SnapshotError: one of them is no table although its name says so.
        DiskFull, StoreFailed: what the disk said.
    """
    names = f"from {file_digest(before)} {before.stat().st_size}\nto {file_digest(after)}"
    names += f" {after.stat().st_size}\n"
    kind = table_kind(after.name)
    with disk_failures(out), out.open("xb") as file:
        if kind is None:
            file.write(_MAGIC + names.encode() + b"bytes\n\n")
            _pack(file, _xored_files(before, after))
        else:
            with _records(before, kind) as (_, olds), _records(after, kind) as (table, news):
                n, capacity = _measured(after, table, kind)
                told = f"table {kind} {table.binding.hex()} {n} {capacity}\n\n"
                file.write(_MAGIC + names.encode() + told.encode())
                _pack(file, map(_packed_step, _changes(olds, news)))
    return out.stat().st_size


def apply_delta(delta: Path, before: Path, out: Path, *, digest: str, size: int) -> None:
    """Make the later file out of the earlier one, and make sure that it is the one wanted.

    Args:
        delta: what `write_delta` wrote; it may come from anybody.
        before: the earlier file.
        out: where to; nothing is there yet. It is not synced.
        digest: hex SHA-256 that the file must have.
        size: its bytes; not many more are ever written.

    Raises:
        Damaged: the delta is none, is for other files, or does not lead to that digest.
        SnapshotError: the earlier file is no table, or the table can't be written.
        DiskFull, StoreFailed: what the disk said.
    """
    with disk_failures(delta), delta.open("rb") as file:
        head = _read_head(file, delta)
        if (head.to_sha256, head.to_bytes) != (digest, size):
            raise Damaged("leads to another file", where=str(delta))
        if head.from_sha256 != file_digest(before):
            raise Damaged("begins with another file", where=str(delta))
        packed = _Unpacked(file, delta)
        if head.kind is None:
            _write_bytes(packed, before, out, size)
        else:
            _write_table(head, packed, before, out)
    if out.stat().st_size != size or file_digest(out) != digest:
        raise Damaged("does not lead to the file it promises", where=str(delta))


def _write_table(head: _Head, packed: _Unpacked, before: Path, out: Path) -> None:
    assert head.kind is not None
    if max(head.capacity_bytes, head.n_records) > head.to_bytes:
        raise Damaged("promises more records than its file has bytes", where=str(packed.path))
    with (
        _records(before, head.kind) as (_, olds),
        TableWriter(
            out, kind=head.kind, binding=head.binding, capacity_bytes=head.capacity_bytes
        ) as writer,
    ):
        writer.append(_merged(olds, packed, TABLE_KEY_BYTES[head.kind], head.capacity_bytes))
        writer.finish(head.n_records)


def _merged(
    olds: Iterable[Record], packed: _Unpacked, key_bytes: int, most_bytes: int
) -> Iterator[Record]:
    """The later table's records: the earlier ones with the steps applied."""
    n_bytes, left = 0, iter(olds)
    old = next(left, None)
    while op := packed.maybe(1):
        key = packed.take(key_bytes)
        while old is not None and old[0] < key:
            yield old
            old = next(left, None)
        earlier = old[1] if old is not None and old[0] == key else None
        if op == _PUT:
            value = packed.take(packed.length())
        elif op == _XOR and earlier is not None:
            value = _xor(packed.take(packed.length()), earlier)
        elif op == _GONE and earlier is not None:
            value = None
        else:
            raise packed.damaged("has a step that makes no sense here")
        if earlier is not None:
            old = next(left, None)
        if value is not None:
            n_bytes += len(value)
            if n_bytes > most_bytes:
                raise packed.damaged("holds more than it promises")
            yield key, value
    while old is not None:
        yield old
        old = next(left, None)


def _write_bytes(packed: _Unpacked, before: Path, out: Path, size: int) -> None:
    with before.open("rb") as old, out.open("xb") as file:
        left = size
        while left:
            piece = old.read(min(_PIECE_BYTES, left)) or b"\0" * min(_PIECE_BYTES, left)
            file.write(_xor(packed.take(len(piece)), piece))
            left -= len(piece)
    if packed.maybe(1):
        raise packed.damaged("holds more than it promises")


def _xored_files(before: Path, after: Path) -> Iterator[bytes]:
    """The later file, place by place, XOR the earlier one as far as that goes."""
    with before.open("rb") as old, after.open("rb") as new:
        left = after.stat().st_size
        while left:
            piece = old.read(min(_PIECE_BYTES, left)) or b"\0" * min(_PIECE_BYTES, left)
            yield _xor(new.read(len(piece)), piece)
            left -= len(piece)


def _changes(olds: Iterable[Record], news: Iterable[Record]) -> Iterator[Step]:
    return (step for step in steps(olds, news) if step.before != step.after)


def _packed_step(step: Step) -> bytes:
    if step.after is None:
        return _GONE + step.key
    length = _LENGTH.pack(len(step.after))
    if step.before is None or len(step.before) != len(step.after):
        return _PUT + step.key + length + step.after
    return _XOR + step.key + length + _xor(step.after, step.before)


def _measured(path: Path, table: Table, kind: int) -> tuple[int, int]:
    """Number of a table's records, and the bytes of their keys and values."""
    with _records(path, kind) as (_, records):
        capacity = sum(len(key) + len(value) for key, value in records)
    return table.facts.entries, capacity


@contextmanager
def _records(path: Path, kind: int) -> Iterator[tuple[Table, Iterator[Record]]]:
    table = Table(path, kind=kind)
    reader = table.reader()
    try:
        yield table, reader.records()
    finally:
        reader.close()
        table.close()


def _xor(left: bytes, right: bytes) -> bytes:
    words = np.frombuffer(left, np.uint8) ^ np.frombuffer(right, np.uint8)
    return words.tobytes()


def _pack(file: BinaryIO, parts: Iterable[bytes]) -> None:
    packer = zlib.compressobj(6)
    file.writelines(packer.compress(part) for part in parts)
    file.write(packer.flush())


class _Unpacked:
    """The bytes of a zlib stream, as many as are asked for at a time."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.path = path
        self._file = file
        self._packer = zlib.decompressobj()
        self._ready, self._at = b"", 0

    def maybe(self, n: int) -> bytes:
        """The next `n` bytes; none at the end of the stream.

        Raises:
            Damaged: the stream ends in between.
        """
        self._fill(n)
        return self.take(n) if self._at < len(self._ready) else b""

    def take(self, n: int) -> bytes:
        """The next `n` bytes.

        Raises:
            Damaged: the stream ends before.
        """
        self._fill(n)
        end = self._at + n
        if end > len(self._ready):
            raise self.damaged("is cut short")
        found = self._ready[self._at : end]
        self._at = end
        return found

    def length(self) -> int:
        """The next length."""
        return int(_LENGTH.unpack(self.take(_LENGTH.size))[0])

    def damaged(self, what: str) -> Damaged:
        return Damaged(what, where=str(self.path))

    def _fill(self, n: int) -> None:
        while len(self._ready) - self._at < n and not self._packer.eof:
            packed = self._packer.unconsumed_tail or self._file.read(_PIECE_BYTES)
            if not packed:
                raise self.damaged("is cut short")
            try:
                more = self._packer.decompress(packed, _PIECE_BYTES)
            except zlib.error as problem:
                raise self.damaged(f"cannot be unpacked ({problem})") from problem
            self._ready, self._at = self._ready[self._at :] + more, 0


def _read_head(file: BinaryIO, path: Path) -> _Head:
    if file.readline(_MAX_HEAD_BYTES) != _MAGIC:
        raise Damaged("is no delta of version 1", where=str(path))
    lines = b"".join(file.readline(_MAX_HEAD_BYTES) for _ in range(4))
    found = _HEAD.fullmatch(lines)
    if found is None:
        raise Damaged("has no head that makes sense", where=str(path))
    head = _Head(from_sha256=found[1].decode(), to_sha256=found[3].decode(), to_bytes=int(found[4]))
    if found[5] is None:
        return head
    if int(found[5]) not in TABLE_KEY_BYTES:
        raise Damaged(f"is of a table of kind {int(found[5])}", where=str(path))
    return replace(
        head,
        kind=int(found[5]),
        binding=bytes.fromhex(found[6].decode()),
        n_records=int(found[7]),
        capacity_bytes=int(found[8]),
    )
