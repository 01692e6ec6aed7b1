"""What every store can do, and which one an address means.

Blobs have names (*keys*) and bytes. Those named by their digest never change; the few that do
change by compare-and-swap. A store knows nothing of snapshots.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from index.shipping.store_errors import BadAddress, BadKey

MAX_KEY_CHARS: Final = 512
_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*(/[A-Za-z0-9_][A-Za-z0-9._=-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes as they were read, and the token to replace exactly these with."""

    data: bytes
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One blob of a listing.

    Attributes:
        key: its name.
        size: bytes.
        modified_at: when it was written, UTC, by the store's clock.
    """

    key: str
    size: int
    modified_at: datetime


class Store(Protocol):
    """A place for blobs. Threads may share one; processes each open their own.

    Every method may raise `BadKey`, `Unreachable`, `CredentialsRefused`, `NoBucket` and
    `StoreFailed` besides what it lists.
    """

    @property
    def name(self) -> str:
        """The address as an operator knows it."""

    def read(self, key: str, *, limit: int) -> Blob:
        """The whole blob.

        Raises:
            NotInStore: there is none.
            TooLarge: it has more than `limit` bytes; no more than that was taken in.
        """

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` on, fewer where the blob ends before.

        Raises:
            NotInStore: there is no such blob.
            TooLarge: the origin sent more than was asked for.
            NoRanges: the origin can't send a part.
        """

    def head(self, key: str) -> int | None:
        """Size in bytes; None when there is no such blob, or no such bucket."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a small blob unless one is there; it appears whole or not at all.

        Returns:
            True when it was written, False when the same bytes were there.

        Raises:
            AlreadyThere: other bytes were. DiskFull: no room on a local disk.
        """

    def create_from(self, key: str, parts: Iterable[bytes], *, size: int) -> bool:
        """Write a blob named by its digest from parts that come one by one, never all in memory.

        The blob appears after the last part. An exception of `parts` travels to the caller and
        leaves nothing visible behind.

        Returns:
            True when it was written, False when a blob of that size was there: since its name
            is its digest, that is the same blob, and `parts` is not asked for any.

        Raises:
            AlreadyThere: one of another size was.
            Damaged: the parts do not add up to `size`.
            DiskFull: no room on a local disk.
        """

    def replace(self, key: str, data: bytes, *, expected: str | None) -> str:
        """Compare and swap: write unless somebody else did since `expected` was read.

        Finding exactly `data` there counts as done, so that a writer who never got the answer
        may ask again.

        Args:
            key: name of the blob.
            data: the new bytes, small.
            expected: token of what was read; None when the blob must not exist.

        Returns:
            The token of the new bytes.

        Raises:
            Overtaken: it is not what was expected; nothing was written.
        """

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """All blobs below a folder, in no promised order; of the whole store by default.

        What has a name that no key may have is somebody else's, and left out.

        Raises:
            ReadOnlyStore: the store can't tell what it has.
        """

    def delete(self, key: str) -> None:
        """Remove a blob; nothing happens when there is none."""


def checked_key(key: str) -> str:
    """The key itself, when it is one that means the same in every store.

    Keys are words joined by `/`. A word has letters, digits and `. _ = -`, and begins with a
    letter, a digit or `_`.

    >>> checked_key("objects/0a/0a1b")
    'objects/0a/0a1b'

    Raises:
        BadKey: it is not.
    """
    if not is_key(key):
        raise BadKey(
            f"{key[:80]!r} can't be the name of a blob",
            hint="words of letters, digits and . _ = - joined by /, none beginning with . = or -",
        )
    return key


def is_key(name: str) -> bool:
    """Whether a blob may have that name."""
    return len(name) <= MAX_KEY_CHARS and _KEY.fullmatch(name) is not None


def checked_prefix(prefix: str) -> str:
    """A folder to list, without a slash at its end; empty for the whole store."""
    bare = prefix.removesuffix("/")
    return checked_key(bare) if bare else ""


def open_store(address: str | Path, *, environ: Mapping[str, str] | None = None) -> Store:
    """The store at an address. Nothing is asked of it yet.

    Args:
        address: a folder or `file:///folder`, `s3://bucket/prefix`, or `https://host/path` (also
            `http://`), which can only be read.
        environ: where `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
            `AWS_REGION` and `AWS_ENDPOINT_URL` are looked up for `s3://`; the process's own by
            default. A region or endpoint left out is the usual one of AWS; without keys, the
            machine's own role is asked for. Profiles in `~/.aws` are not read.

    Raises:
        BadAddress: unknown scheme, or a part is missing or in excess.
    """
    text = str(address)
    if "://" not in text:
        return _local(Path(text), text)
    parts = _split(text)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise BadAddress(
                f"names a host, {parts.netloc}", where=text, hint="write file:///folder"
            )
        return _local(Path(unquote(parts.path)), text)
    # What speaks to networks is loaded only by those who ask for it: edges on a disk need none.
    from index.shipping import remote_store  # noqa: PLC0415

    if parts.scheme == "s3":
        environ = os.environ if environ is None else environ
        return remote_store.bucket_store(text, parts.netloc, parts.path.strip("/"), environ)
    return remote_store.web_store(text.rstrip("/"))


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError as problem:
        raise BadAddress(f"{text!r} is no address ({problem})") from problem
    if parts.scheme not in {"file", "s3", "http", "https"}:
        raise BadAddress(
            f"unknown kind of store {parts.scheme!r}",
            hint="known are a folder, file://, s3:// and https://",
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not echoed: what stands there may be a password or a signed link.
        raise BadAddress(
            f"{parts.scheme}:// addresses take no user, query or fragment",
            hint="credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        )
    if parts.scheme != "file" and not parts.hostname:
        missing = "bucket" if parts.scheme == "s3" else "host"
        raise BadAddress(f"names no {missing}", where=text, hint=f"{parts.scheme}://{missing}/path")
    return parts


def _local(folder: Path, text: str) -> Store:
    from index.shipping.local_store import LocalStore  # noqa: PLC0415 - it implements what is above

    if not text or not str(folder).strip():
        raise BadAddress("is empty", hint="give a folder, file://, s3:// or https:// address")
    return LocalStore(folder)
