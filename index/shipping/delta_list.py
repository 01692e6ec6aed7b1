r"""The list of deltas that lead to an object: small, unsigned, and kept beside the chunk lists.

    almanac-deltas 1\n
    object SHA256 SIZE\n                    what they lead to; size in bytes
    from SHA256 DELTA SIZE\n                one line each: the earlier object, the delta's digest

Deltas themselves are objects. What a list says wrongly costs a fetch and no more: an object's own
digest decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from index.shipping.chunks import object_key
from index.shipping.store import Store
from index.shipping.store_errors import Damaged, NotInStore, Overtaken

MAX_DELTAS: Final = 8
_MAX_BYTES: Final = 4096
_TRIES: Final = 5
_HEAD: Final = re.compile(r"almanac-deltas 1\nobject ([0-9a-f]{64}) (\d{1,18})\n")
_LINE: Final = re.compile(r"from ([0-9a-f]{64}) ([0-9a-f]{64}) (\d{1,18})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One way to an object.

    Attributes:
        from_sha256: hex digest of the object it begins with.
        sha256: hex digest of the delta.
        size: its bytes.
    """

    from_sha256: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaList:
    """The ways to an object, the latest first.

    Attributes:
        sha256: hex digest of the object.
        size: its bytes.
        deltas: at most `MAX_DELTAS`.
    """

    sha256: str
    size: int
    deltas: tuple[Delta, ...]


def delta_list_key(sha256: str) -> str:
    """Where the list of an object's deltas is in a store."""
    return f"deltas/{object_key(sha256).rpartition('/')[2]}.list"


def encode_delta_list(listed: DeltaList) -> bytes:
    """Text of a list; the same list gives the same bytes."""
    lines = (f"from {one.from_sha256} {one.sha256} {one.size}\n" for one in listed.deltas)
    return f"almanac-deltas 1\nobject {listed.sha256} {listed.size}\n{''.join(lines)}".encode()


def decode_delta_list(data: bytes, *, sha256: str, where: str) -> DeltaList:
    """Read a list back.

    Raises:
        Damaged: it is none, or it is another object's.
    """
    text = data.decode("ascii", "replace")
    head = _HEAD.match(text)
    if head is None or head[1] != sha256:
        raise Damaged(f"is no list of the deltas of {sha256[:12]}…", where=where)
    lines = text[head.end() :].splitlines(keepends=True)
    found = [_LINE.fullmatch(line) for line in lines]
    deltas = tuple(
        Delta(from_sha256=line[1], sha256=line[2], size=int(line[3]))
        for line in found
        if line is not None
    )
    if len(deltas) != len(lines) or len(deltas) > MAX_DELTAS:
        raise Damaged("has lines that make no sense", where=where)
    return DeltaList(sha256=sha256, size=int(head[2]), deltas=deltas)


def read_delta_list(store: Store, sha256: str) -> DeltaList | None:
    """The deltas that a store has for an object; None when there is no list.

    Raises:
        Damaged: the list makes no sense.
        StoreError: whatever else the store has against it.
    """
    key = delta_list_key(sha256)
    try:
        data = store.read(key, limit=_MAX_BYTES).data
    except NotInStore:
        return None
    return decode_delta_list(data, sha256=sha256, where=f"{store.name}/{key}")


def add_deltas(store: Store, sha256: str, size: int, deltas: Sequence[Delta]) -> None:
    """Put deltas at the top of an object's list; of two who do so at once nobody loses any.

    Raises:
        Overtaken: others changed it again and again.
        StoreError: whatever else the store has against it.
    """
    key = delta_list_key(sha256)
    for turn in range(_TRIES):
        try:
            blob = store.read(key, limit=_MAX_BYTES)
            known = decode_delta_list(blob.data, sha256=sha256, where=key).deltas
            token: str | None = blob.token
        except NotInStore:
            known, token = (), None
        named = {delta.from_sha256 for delta in deltas}
        others = [delta for delta in known if delta.from_sha256 not in named]
        listed = DeltaList(sha256=sha256, size=size, deltas=(*deltas, *others)[:MAX_DELTAS])
        try:
            store.replace(key, encode_delta_list(listed), expected=token)
        except Overtaken:
            if turn == _TRIES - 1:
                raise
        else:
            return
