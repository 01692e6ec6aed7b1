"""Fetching an object by its digest: part by part, each part checked, from whoever has it right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from index.folders import sync_folder
from index.shipping.chunks import (
    CHUNK_BYTES,
    MAX_LIST_BYTES,
    ChunkList,
    chunk_list_key,
    decode_chunk_list,
    object_key,
)
from index.shipping.disk import disk_failures
from index.shipping.pace import Pace
from index.shipping.part_file import PartFile
from index.shipping.store import Store
from index.shipping.store_errors import Damaged, DiskFull, NotInStore, StoreError
from index.wording import many

RESERVE_BYTES: Final = 64 << 20
TRIES: Final = 3
_REMEDY: Final = (
    "try another mirror; if the store itself has it wrong, delete the object and its chunk list"
    " there and publish the snapshot again"
)
_GRAVITY: Final = (3, 2, 75, 1, 6, 4)
"""Exit codes of the errors of several origins, the one to be told first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one object is.

    Attributes:
        size: bytes of the object.
        bytes_done: of them, checked and on this disk.
        bytes_kept: of those, there from an earlier attempt.
        bytes_received: taken from origins, bad ones included.
        n_bad: answers that were no use: damaged, short, refused or none at all.
    """

    size: int
    bytes_done: int = 0
    bytes_kept: int = 0
    bytes_received: int = 0
    n_bad: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An object on this disk.

    Attributes:
        path: the read-only file, named by its digest.
        progress: what it took; all zero but `bytes_done` and `bytes_kept` when it was there.
    """

    path: Path
    progress: Progress


def fetch_object(
    store: Store,
    sha256: str,
    size: int,
    dest_dir: Path,
    *,
    mirrors: Sequence[Store] = (),
    pace: Pace | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    reserve_bytes: int = RESERVE_BYTES,
    tries: int = TRIES,
    piece_bytes: int = CHUNK_BYTES,
) -> Fetched:
    """Bring an object to `dest_dir/SHA256`, where it appears whole and checked or not at all.

    Parts are asked for in order, as the object's chunk list cuts it, and written to
    `SHA256.part`. Killed at any point, the next call keeps every part whose digest is right. An
    origin that errs is left for the next one. Chunk lists carry no authority: when the parts of
    one can't be had, or add up to another digest, the next origin's list is tried. The whole
    object is asked of each origin when there is no list, or none that a single part speaks for.

    A file already there with the right size is not read again.

    Args:
        store: the origin to begin with.
        sha256: hex digest of the object.
        size: its bytes, known from somewhere trusted; never more are written.
        dest_dir: folder of objects; made when it is missing.
        mirrors: further origins.
        pace: limit on bytes per second.
        on_progress: told after each part.
        reserve_bytes: what the disk must keep free.
        tries: how often a part is asked for, at least once of each origin.
        piece_bytes: size of the parts when there is no chunk list.

    Raises:
        DiskFull: no room; nothing was asked for.
        Damaged: no origin has the right bytes.
        NotInStore: no origin has the object.
        StoreError: what else the origins or the disk said; of several, the gravest.
    """
    path = dest_dir / object_key(sha256).rpartition("/")[2]
    if _is_there(path, size):
        return _already(path, size)
    with PartFile(path, size, reserve_bytes=reserve_bytes) as part:
        if _is_there(path, size):  # the process we waited for has brought it
            part.discard()
            return _already(path, size)
        fetch = _Fetch(
            sha256,
            size,
            part,
            origins=(store, *mirrors),
            pace=pace,
            on_progress=on_progress,
            tries=tries,
        )
        fetch.run(piece_bytes)
        part.finish()
    return Fetched(path=path, progress=fetch.progress)


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    length: int
    sha256: str | None

    def checked(self, data: bytes, where: str) -> bytes:
        last = self.start + self.length - 1
        if len(data) != self.length:
            raise Damaged(f"{len(data)} bytes came for bytes {self.start} to {last}", where=where)
        if self.sha256 and hashlib.sha256(data).hexdigest() != self.sha256:
            raise Damaged(
                f"bytes {self.start} to {last} are not what the chunk list says",
                where=where,
                hint=_REMEDY,
            )
        return data


class _Fetch:
    """One object on its way from several origins."""

    def __init__(
        self,
        sha256: str,
        size: int,
        part: PartFile,
        *,
        origins: tuple[Store, ...],
        pace: Pace | None,
        on_progress: Callable[[Progress], None] | None,
        tries: int,
    ) -> None:
        self._sha256 = sha256
        self._part = part
        self._origins = origins
        self._pace = pace
        self._on_progress = on_progress
        self._tries = tries
        self._first = 0
        self.progress = Progress(size=size)

    def run(self, piece_bytes: int) -> None:
        """Fill the part file by the first way that leads to the right digest."""
        failures: list[StoreError] = []
        vouched = False
        for chunks in self._lists():
            try:
                self._fill(_cut(chunks), self._origins)
            except Damaged as problem:
                failures.append(problem)
                # Some parts are what the list says and others are not: then the list is right,
                # and asking for the whole would only bring the same damage again.
                vouched = vouched or 0 < self.progress.bytes_done < self.progress.size
            else:
                return
        if vouched:
            raise _gravest(failures)
        pieces = _even(self.progress.size, piece_bytes)
        for origin in self._origins:
            try:
                self._fill(pieces, (origin,))
            except DiskFull:
                raise
            except StoreError as problem:
                failures.append(problem)
            else:
                return
        raise _gravest(failures)

    def _lists(self) -> Iterator[ChunkList]:
        """The chunk lists of the origins, each different one once."""
        key, seen = chunk_list_key(self._sha256), set()
        for origin in self._origins:
            try:
                data = origin.read(key, limit=MAX_LIST_BYTES).data
                chunks = decode_chunk_list(
                    data,
                    sha256=self._sha256,
                    size=self.progress.size,
                    where=f"{origin.name}/{key}",
                )
            except NotInStore:
                continue
            except StoreError:
                self._told(n_bad=1)
                continue
            if chunks not in seen:
                seen.add(chunks)
                yield chunks

    def _fill(self, pieces: Sequence[_Piece], origins: Sequence[Store]) -> None:
        self._first = 0
        self.progress = replace(self.progress, bytes_done=0, bytes_kept=0)
        for piece in pieces:
            if piece.sha256 and self._part.holds(piece.start, piece.length, piece.sha256):
                self._told(bytes_done=piece.length, bytes_kept=piece.length)
                continue
            self._part.write(piece.start, self._asked(piece, origins))
            self._told(bytes_done=piece.length)
        found = self._part.sha256()
        if found != self._sha256:
            raise Damaged(
                f"all parts came, but together they have sha256 {found[:12]}…",
                where=f"{origins[0].name}/{object_key(self._sha256)}",
                hint=_REMEDY,
            )

    def _asked(self, piece: _Piece, origins: Sequence[Store]) -> bytes:
        failures: list[StoreError] = []
        for _ in range(max(self._tries, len(origins))):
            origin = origins[self._first % len(origins)]
            try:
                data = origin.read_range(object_key(self._sha256), piece.start, piece.length)
                self._told(bytes_received=len(data))
                if self._pace:
                    self._pace.took(len(data))
                return piece.checked(data, f"{origin.name}/{object_key(self._sha256)}")
            except StoreError as problem:
                failures.append(problem)
                self._first += 1  # and the next parts begin where this one was got
                self._told(n_bad=1)
        raise _gravest(failures)

    def _told(self, **more: int) -> None:
        now = {name: getattr(self.progress, name) + count for name, count in more.items()}
        self.progress = replace(self.progress, **now)
        if self._on_progress:
            self._on_progress(self.progress)


def _is_there(path: Path, size: int) -> bool:
    with disk_failures(path):
        return path.is_file() and path.stat().st_size == size


def _already(path: Path, size: int) -> Fetched:
    with disk_failures(path):
        # Whoever brought it may have died before its name was safe from a power cut.
        sync_folder(path.parent)
    return Fetched(path=path, progress=Progress(size=size, bytes_done=size, bytes_kept=size))


def _cut(chunks: ChunkList) -> list[_Piece]:
    pieces = _even(chunks.size, chunks.chunk_bytes)
    return [
        _Piece(piece.start, piece.length, digest)
        for piece, digest in zip(pieces, chunks.digests, strict=True)
    ]


def _even(size: int, piece_bytes: int) -> list[_Piece]:
    return [
        _Piece(start, min(piece_bytes, size - start), None) for start in range(0, size, piece_bytes)
    ]


def _gravest(failures: Sequence[StoreError]) -> StoreError:
    """The failure to tell first, which also says how many others there were."""
    every = [one for failure in failures for one in (failure.attempts or (failure,))]
    worst = min(every, key=lambda failure: _GRAVITY.index(failure.exit_code))
    others = len(every) - 1
    also = f" (and {many(others, 'more failed attempt')})" if others else ""
    what = f"{worst.what}{also}"
    told = type(worst)(what, where=worst.where, hint=worst.hint)
    told.attempts = tuple(every)
    told.__cause__ = worst
    return told
