"""Limits on bytes that come from elsewhere, and what it means to write what is there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from index.shipping.store import Store
from index.shipping.store_errors import AlreadyThere, Damaged, TooLarge


def exactly(parts: Iterable[bytes], size: int, *, where: str) -> Iterator[bytes]:
    """Hand the parts on, and refuse to end when they do not add up.

    Raises:
        Damaged: fewer or more bytes than `size`.
    """
    n_bytes = 0
    for part in parts:
        n_bytes += len(part)
        if n_bytes > size:
            break
        yield part
    if n_bytes != size:
        found = f"more than {size}" if n_bytes > size else f"only {n_bytes} of {size}"
        raise Damaged(f"{found} bytes came to be written", where=where, hint="nothing was stored")


def within(parts: Iterable[bytes], limit: int, *, where: str) -> bytes:
    """Join what an origin sends, and stop taking more once it is too much.

    Raises:
        TooLarge: more than `limit` bytes came.
    """
    held = bytearray()
    for part in parts:
        held += part
        if len(held) > limit:
            raise TooLarge(
                f"sends more than the {limit} bytes expected",
                where=where,
                hint="the origin is damaged or hostile; nothing of it was kept",
            )
    return bytes(held)


def require_same(store: Store, key: str, data: bytes) -> None:
    """Check that a blob which could not be created is the one that was to be.

    Raises:
        AlreadyThere: it is another. NotInStore: it is gone again.
    """
    with suppress(TooLarge):
        if store.read(key, limit=len(data)).data == data:
            return
    raise AlreadyThere(
        "has other contents already",
        where=f"{store.name}/{key}",
        hint="what is published never changes: publish under another name",
    )


def require_same_size(found: int | None, size: int, *, where: str) -> None:
    """Check the size of a blob named by its digest that is there already.

    Raises:
        AlreadyThere: it has another size, so it can't be what its name says.
    """
    if found != size:
        raise AlreadyThere(
            f"has {found} bytes, not {size}",
            where=where,
            hint="blobs named by digest never change; check this one, then delete it by hand",
        )
