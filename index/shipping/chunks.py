r"""Objects by digest, and the list of an object's chunks that lets a part of it be checked.

A chunk list is text, one ASCII line each, `\n` at every end:

    almanac-chunks 1                        format and version
    object SHA256 SIZE                      of the whole; size in bytes
    chunk BYTES                             of each chunk; the last may be shorter
    SHA256                                  one line for each chunk, in order; none for no bytes

It is a help, not a promise: the object's own digest decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from index.shipping.disk import disk_failures
from index.shipping.store_errors import BadKey, Damaged

CHUNK_BYTES: Final = 4 << 20
MAX_LIST_BYTES: Final = 16 << 20
"""Enough for an object of one TiB in chunks of 4 MiB."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_HEAD: Final = re.compile(r"almanac-chunks 1\nobject ([0-9a-f]{64}) (\d{1,18})\nchunk (\d{1,12})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkList:
    """What an object's chunks are.

    Attributes:
        sha256: hex digest of the whole object.
        size: bytes of it.
        chunk_bytes: bytes of every chunk but the last.
        digests: hex digest of each chunk.
    """

    sha256: str
    size: int
    chunk_bytes: int
    digests: tuple[str, ...]


def object_key(sha256: str) -> str:
    """Where an object is in a store.

    >>> object_key("ab" * 32)[:15]
    'objects/ab/abab'
    """
    return f"objects/{_checked(sha256)[:2]}/{sha256}"


def chunk_list_key(sha256: str) -> str:
    """Where an object's chunk list is in a store."""
    return f"chunks/{_checked(sha256)}.list"


def chunk_list_of(path: Path, *, chunk_bytes: int = CHUNK_BYTES) -> ChunkList:
    """Read a file once and digest it, whole and by chunk."""
    whole, digests, size = hashlib.sha256(), [], 0
    for part in file_chunks(path, chunk_bytes):
        whole.update(part)
        digests.append(hashlib.sha256(part).hexdigest())
        size += len(part)
    return ChunkList(
        sha256=whole.hexdigest(), size=size, chunk_bytes=chunk_bytes, digests=tuple(digests)
    )


def file_chunks(path: Path, chunk_bytes: int) -> Iterator[bytes]:
    """A file's bytes, chunk by chunk."""
    with disk_failures(path), path.open("rb") as file:
        while part := file.read(chunk_bytes):
            yield part


def encode_chunk_list(chunks: ChunkList) -> bytes:
    """Text of a chunk list; the same list gives the same bytes."""
    head = f"almanac-chunks 1\nobject {chunks.sha256} {chunks.size}\nchunk {chunks.chunk_bytes}\n"
    return "".join((head, *(f"{digest}\n" for digest in chunks.digests))).encode()


def decode_chunk_list(data: bytes, *, sha256: str, size: int, where: str) -> ChunkList:
    """Read a chunk list back.

    Args:
        data: its text.
        sha256: digest of the object it must belong to.
        size: bytes of that object.
        where: name of the list, for the error.

    Raises:
        Damaged: it is none, or it belongs to another object.
    """
    text = data.decode("ascii", "replace")
    head = _HEAD.match(text)
    if head is None:
        raise Damaged("is no chunk list of version 1", where=where)
    digests = tuple(text[head.end() :].splitlines())
    chunk_bytes = int(head[3])
    if head[1] != sha256 or int(head[2]) != size or not 0 < chunk_bytes <= MAX_LIST_BYTES:
        raise Damaged(f"is not the list of {sha256[:12]}… with {size} bytes", where=where)
    chunks = ChunkList(sha256=sha256, size=size, chunk_bytes=chunk_bytes, digests=digests)
    if len(digests) != -(-size // chunk_bytes) or encode_chunk_list(chunks) != data:
        raise Damaged("is cut short or changed", where=where)
    if not all(map(_DIGEST.fullmatch, digests)):
        raise Damaged("has a line that is no digest", where=where)
    return chunks


def _checked(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise BadKey(f"{sha256[:80]!r} is no SHA-256 in lower-case hex")
    return sha256
