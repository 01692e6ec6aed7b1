"""LMDB: the only file that imports it. One table per file, written once in key order, then read.

What py-lmdb does when things go wrong decides most of what stands here: a short file opens fine and
kills the process later, the same file cannot be opened twice in one process, an append out of order
is dropped without a word, and a view dies with its environment.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import lmdb
import lmdb.verify

from index.errors import Corrupt, Incomplete, Mixed, NotASnapshot, WriteFailed, WrongVersion
from index.layout import FORMAT_VERSION, TABLE_KEY_BYTES, TABLE_MAGIC
from index.mapping import prove, touch

HEADER_KEY = b"\x00"
_HEADER = struct.Struct("<4sHH16s")
_MIN_MAP_BYTES = 1 << 20
_BATCH = 1000

TableError = lmdb.Error
"""What a read may raise when pages are damaged; the transaction is then unusable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What the manifest records about one table and a reader checks before it believes the file."""

    entries: int
    last_pgno: int
    page_bytes: int


class TableWriter:
    """Writes one table in ascending key order; nothing counts until `finish` returns.

    The file depends on the records and `capacity_bytes` alone: same calls, same bytes.

    Args:
        path: a file that does not exist yet.
        kind: `CUSTOMERS`, `CONTEXTS`, `ITEMS` or `OFFERS`.
        binding: 16 bytes that tie the tables of one build together.
        capacity_bytes: upper bound of keys plus values; the map is sized from it.

    Raises:
        WriteFailed: something is at the path, or the file cannot be made.
    """

    def __init__(self, path: Path, *, kind: int, binding: bytes, capacity_bytes: int) -> None:
        self._path = path
        self._key_bytes = TABLE_KEY_BYTES[kind]
        self._last_key = b""
        self._consumed = 0
        # B+tree pages and overflow pages waste at most about half; the file only grows as used.
        map_bytes = (_MIN_MAP_BYTES * 16 + 4 * capacity_bytes) // _MIN_MAP_BYTES * _MIN_MAP_BYTES
        if path.exists():
            raise WriteFailed("is there already; tables are never changed", path=path)
        try:
            self._env = lmdb.open(
                str(path),
                subdir=False,
                map_size=map_bytes,
                lock=False,
                meminit=True,
                lib_version=0,
                max_dbs=0,
                sync=True,
            )
            self._txn = self._env.begin(write=True)
            self._txn.put(HEADER_KEY, _HEADER.pack(TABLE_MAGIC, FORMAT_VERSION, kind, binding))
        except lmdb.Error as problem:
            raise WriteFailed(f"LMDB cannot make it ({problem})", path=path) from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._txn.abort()
        self._env.close()

    def append(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Add records whose keys rise strictly, also across calls.

        Raises:
            WriteFailed: a key is out of order, repeated or of wrong length, or the disk is full.
        """
        batch: list[tuple[bytes, bytes]] = []
        for key, value in records:
            if len(key) != self._key_bytes or key <= self._last_key:
                raise WriteFailed(
                    f"key {key.hex()} does not follow {self._last_key.hex() or 'the start'}",
                    path=self._path,
                )
            self._last_key = key
            batch.append((key, value))
            if len(batch) == _BATCH:
                self._put(batch)
                batch = []
        self._put(batch)

    def _put(self, batch: list[tuple[bytes, bytes]]) -> None:
        with self._txn.cursor() as cursor:
            try:
                consumed, added = cursor.putmulti(batch, append=True, overwrite=False)
            except lmdb.Error as problem:
                raise WriteFailed(f"LMDB refused records ({problem})", path=self._path) from problem
        if not consumed == added == len(batch):
            raise WriteFailed(
                f"gave {len(batch)} records, {consumed} were read and {added} were kept",
                path=self._path,
            )
        self._consumed += added

    def finish(self, expected: int) -> None:
        """Commit and force to disk.

        Raises:
            WriteFailed: other than `expected` records were added, or the commit failed.
        """
        if self._consumed != expected:
            raise WriteFailed(
                f"expected {expected} records, {self._consumed} were added", path=self._path
            )
        try:
            self._txn.commit()
            self._env.sync(True)
        except lmdb.Error as problem:
            # LMDB calls a page that was written in part an input/output error.
            raise WriteFailed(
                f"could not be committed ({problem})",
                path=self._path,
                hint="usually the disk is full",
            ) from problem


class Table:
    """One open table: a mapping shared by every opener of the same file in this process.

    A value returned by `get` is a view into the page cache. It is valid until `close`; reading it
    later ends the process, so callers decode inside their guard and keep no view.
    A transaction serves one thread at a time: take one `reader()` for each.
    """

    def __init__(self, path: Path, *, kind: int) -> None:
        self.path = path
        self._env = _environments.acquire(path)
        try:
            self.facts = _facts(self._env)
            _check_size(path, self.facts)
            self.binding = _read_header(path, self._env, kind)
        except BaseException:
            _environments.release(path, self._env)
            raise
        self._closed = False

    def reader(self) -> TableTransaction:
        """A read transaction for one thread at a time; close it before the table."""
        return TableTransaction(self._env)

    def prove(self) -> None:
        """Make sure that every page is there; those that are not in memory are brought.

        Raises:
            Incomplete: the file is shorter than its mapping, or cannot be read.
        """
        prove(self.path, self._n_bytes)

    def touch(self) -> None:
        """Map what `prove` found, so that no reader waits for the kernel to do it."""
        touch(self.path, self._n_bytes)

    @property
    def _n_bytes(self) -> int:
        return (self.facts.last_pgno + 1) * self.facts.page_bytes

    def close(self) -> None:
        """Give the mapping back; the last opener's close unmaps it."""
        if not self._closed:
            self._closed = True
            _environments.release(self.path, self._env)


class TableTransaction:
    """A long-lived read transaction on an immutable file, for one thread at a time."""

    __slots__ = ("_env", "_txn", "get")

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self._txn = env.begin(buffers=True)
        self.get = self._txn.get

    def renew(self) -> None:
        """Start a new transaction: after any `TableError` the old one refuses every read."""
        self.close()
        self._txn = self._env.begin(buffers=True)
        self.get = self._txn.get

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """All records in key order, as copies, without the header."""
        with self._txn.cursor() as cursor:
            if cursor.first() and cursor.next():
                for key, value in cursor.iternext():
                    yield bytes(key), bytes(value)

    def close(self) -> None:
        self._txn.abort()


def table_facts(path: Path) -> TableFacts:
    """Counts of a finished table, for the manifest."""
    env = _environments.acquire(path)
    try:
        return _facts(env)
    finally:
        _environments.release(path, env)


def structure_problems(path: Path) -> list[str]:
    """What LMDB's own offline verifier finds wrong in the file's structure; empty when sound.

    It maps nothing and follows no page before it has checked where it leads, so that no file can
    kill the process.
    """
    try:
        found: list[str] = lmdb.verify.verify(str(path))  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as problem:
        return [str(problem)]
    return found


def _facts(env: lmdb.Environment) -> TableFacts:
    stat = env.stat()
    return TableFacts(
        entries=int(stat["entries"]) - 1,
        last_pgno=int(env.info()["last_pgno"]),
        page_bytes=int(stat["psize"]),
    )


def _check_size(path: Path, facts: TableFacts) -> None:
    size = path.stat().st_size
    needed = (facts.last_pgno + 1) * facts.page_bytes
    if size < needed:
        raise Incomplete(
            f"{size} bytes, but its pages end at {needed}", path=path, hint="copy the file again"
        )


def _read_header(path: Path, env: lmdb.Environment, kind: int) -> bytes:
    try:
        with env.begin() as txn:
            header = txn.get(HEADER_KEY)
    except lmdb.Error as problem:
        raise Corrupt(f"first page cannot be read ({problem})", path=path) from problem
    if header is None or len(header) != _HEADER.size:
        raise NotASnapshot("an LMDB file, but not a table of ours", path=path)
    magic, version, found_kind, binding = _HEADER.unpack(header)
    if magic != TABLE_MAGIC:
        raise NotASnapshot("an LMDB file, but not a table of ours", path=path)
    if version != FORMAT_VERSION:
        raise WrongVersion(
            f"table format {version}, this reader knows {FORMAT_VERSION}",
            path=path,
            hint="upgrade the side with the lower version",
        )
    if found_kind != kind:
        raise Mixed(f"table kind {found_kind} under the name of kind {kind}", path=path)
    return bytes(binding)


class _Environments:
    """Open environments by inode: LMDB must never map one file twice in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], tuple[lmdb.Environment, int]] = {}
        self._pid = os.getpid()

    def acquire(self, path: Path) -> lmdb.Environment:
        with self._lock:
            if os.getpid() != self._pid:
                raise Corrupt("opened in a forked process; start workers by spawn", path=path)
            try:
                stat = path.stat()
            except FileNotFoundError as problem:
                raise Incomplete("is missing", path=path) from problem
            inode = (stat.st_dev, stat.st_ino)
            env, users = self._open.get(inode, (None, 0))
            if env is None:
                env = _open_readonly(path)
            self._open[inode] = (env, users + 1)
            return env

    def release(self, path: Path, env: lmdb.Environment) -> None:
        with self._lock:
            for inode, (known, users) in self._open.items():
                if known is env:
                    if users > 1:
                        self._open[inode] = (env, users - 1)
                    else:
                        del self._open[inode]
                        env.close()
                    return
        raise AssertionError(f"{path} was not open")


def _open_readonly(path: Path) -> lmdb.Environment:
    try:
        return lmdb.open(
            str(path),
            subdir=False,
            readonly=True,
            lock=False,
            create=False,
            max_dbs=0,
            readahead=False,
            lib_version=0,
        )
    except lmdb.Error as problem:
        if path.stat().st_size == 0:
            raise Incomplete("is empty", path=path) from problem
        raise Corrupt(f"is no readable LMDB file ({problem})", path=path) from problem


_environments = _Environments()
