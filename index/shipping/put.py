"""Putting a file into a store under its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from index.shipping.chunks import (
    CHUNK_BYTES,
    ChunkList,
    chunk_list_key,
    chunk_list_of,
    encode_chunk_list,
    file_chunks,
    object_key,
)
from index.shipping.disk import disk_failures
from index.shipping.store import Store
from index.shipping.store_errors import Damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What was sent for one object.

    Attributes:
        bytes_sent: of the object and its chunk list; 0 when both were there.
        bytes_there: of the object, when it was there already.
    """

    bytes_sent: int
    bytes_there: int


def put_object(store: Store, path: Path, sha256: str, *, chunk_bytes: int = CHUNK_BYTES) -> Shipped:
    """Put a file into a store, unless it is there; killed half-way, it may be done again.

    The file is read to learn its chunks, and once more while it is sent, when every chunk must be
    what it was: a file that changes meanwhile is not put. The chunk list goes first, so that
    whoever sees the object finds its list.

    Args:
        store: where to.
        path: the file.
        sha256: the digest it is known by, hex.
        chunk_bytes: size of the chunks its list tells.

    Raises:
        Damaged: the file is not the one with that digest.
        AlreadyThere: an object of this digest is there with another size.
        StoreError: whatever the store or the disk has against it.
    """
    list_key, key = chunk_list_key(sha256), object_key(sha256)
    with disk_failures(path):
        size = path.stat().st_size
    if store.head(key) == size and store.head(list_key) is not None:
        return Shipped(bytes_sent=0, bytes_there=size)
    chunks = chunk_list_of(path, chunk_bytes=chunk_bytes)
    if chunks.sha256 != sha256:
        raise _changed(path, f"has sha256 {chunks.sha256[:12]}…, not {sha256[:12]}…")
    bytes_sent = 0
    # A list made with chunks of another size serves as well.
    if store.head(list_key) is None:
        listing = encode_chunk_list(chunks)
        bytes_sent += len(listing) if store.create(list_key, listing) else 0
    written = store.create_from(key, _unchanged(path, chunks), size=chunks.size)
    return Shipped(
        bytes_sent=bytes_sent + (chunks.size if written else 0),
        bytes_there=0 if written else chunks.size,
    )


def _unchanged(path: Path, chunks: ChunkList) -> Iterator[bytes]:
    """The file's chunks again, each checked before it leaves."""
    n_sent = 0
    for n_sent, part in enumerate(file_chunks(path, chunks.chunk_bytes), start=1):
        known = chunks.digests[n_sent - 1] if n_sent <= len(chunks.digests) else None
        if hashlib.sha256(part).hexdigest() != known:
            raise _changed(path, "changed while it was being sent")
        yield part
    if n_sent != len(chunks.digests):
        raise _changed(path, "became shorter while it was being sent")


def _changed(path: Path, what: str) -> Damaged:
    return Damaged(
        what,
        where=str(path),
        hint="nothing was put; verify the snapshot, and never edit its files",
    )
