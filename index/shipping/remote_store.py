"""Stores over a network: S3-compatible buckets, and HTTP servers that are only read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import HTTPStore, S3Store

from index.shipping.bounds import exactly, require_same, require_same_size, within
from index.shipping.remote_errors import first_words, translated
from index.shipping.store import Blob, Listed, checked_key, checked_prefix, is_key
from index.shipping.store_errors import (
    BadAddress,
    BadKey,
    NotInStore,
    Overtaken,
    ReadOnlyStore,
    TooLarge,
    Unreachable,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_PIECE_BYTES: Final = 256 << 10
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 9_000
"""S3 takes at most 10,000 parts."""
_PARTS_AT_ONCE: Final = 3
_CONFLICT_TRIES: Final = 4
_RETRIES: Final[RetryConfig] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}
_SETTINGS: Final = {
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
    "AWS_DEFAULT_REGION": "aws_region",
    "AWS_REGION": "aws_region",
    "AWS_ENDPOINT_URL": "aws_endpoint_url",
    "AWS_ENDPOINT_URL_S3": "aws_endpoint_url",
}
"""Variables in the order of their weight: a later one wins."""
_ENDPOINT: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~/-]*)?"
)


class WebStore:
    """Reads blobs below an `https://` (or `http://`) address; can't write, delete or list."""

    def __init__(self, name: str, remote: HTTPStore | S3Store) -> None:
        self._name = name
        self._remote = remote

    @property
    def name(self) -> str:
        return self._name

    def read(self, key: str, *, limit: int) -> Blob:
        with self._failures(key):
            result = obstore.get(self._remote, checked_key(key))
            if result.meta["size"] > limit:
                raise TooLarge(
                    f"has {result.meta['size']} bytes, at most {limit} were expected",
                    where=self._where(key),
                )
            data = within(_pieces(result), limit, where=self._where(key))
            return Blob(data=data, token=result.meta["e_tag"] or "")

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._failures(key):
            size = (start, start + length)
            result = obstore.get(self._remote, checked_key(key), options={"range": size})
            return within(_pieces(result), length, where=self._where(key))

    def head(self, key: str) -> int | None:
        with suppress(NotInStore), self._failures(key):
            return obstore.head(self._remote, checked_key(key))["size"]
        return None

    def create(self, key: str, data: bytes) -> bool:
        self._refuse()

    def create_from(self, key: str, parts: Iterable[bytes], *, size: int) -> bool:
        self._refuse()

    def replace(self, key: str, data: bytes, *, expected: str | None) -> str:
        self._refuse()

    def list(self, prefix: str = "") -> Iterator[Listed]:
        self._refuse()

    def delete(self, key: str) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyStore(
            "can only be read, blob by blob",
            where=self.name,
            hint="write to and list the s3:// or file:// store behind it",
        )

    def _where(self, key: str) -> str:
        return f"{self.name}/{key}"

    @contextmanager
    def _failures(self, key: str) -> Iterator[None]:
        """Turn the library's errors into ours; conditions that did not hold pass as they are."""
        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, OSError, ValueError) as problem:
            raise translated(problem, self._where(key), self.name) from problem


class BucketStore(WebStore):
    """Blobs below a prefix of an S3-compatible bucket; conditions are the store's own.

    A large upload that is killed leaves parts which nobody sees and somebody pays for: let the
    bucket's lifecycle rules abort incomplete uploads after some days.
    """

    def create(self, key: str, data: bytes) -> bool:
        for _ in range(_CONFLICT_TRIES):
            with suppress(AlreadyExistsError, PreconditionError), self._failures(key):
                obstore.put(self._remote, checked_key(key), data, mode="create")
                return True
            # A conflict with a write that then failed also reads as "already there": look.
            with suppress(NotInStore):
                require_same(self, key, data)
                return False
        raise self._conflicts(key)

    def create_from(self, key: str, parts: Iterable[bytes], *, size: int) -> bool:
        found = self.head(key)
        if found is None:
            counted = exactly(parts, size, where=self._where(key))
            if size <= _PART_BYTES:
                return self.create(key, b"".join(counted))
            with self._failures(key):
                # Several parts know no condition. Two writers who get here at the same time
                # write the same bytes, since the name is their digest.
                obstore.put(
                    self._remote,
                    checked_key(key),
                    counted,
                    use_multipart=True,
                    chunk_size=max(_PART_BYTES, -(-size // _MOST_PARTS)),
                    max_concurrency=_PARTS_AT_ONCE,
                )
            return True
        require_same_size(found, size, where=self._where(key))
        return False

    def replace(self, key: str, data: bytes, *, expected: str | None) -> str:
        mode: Any = "create" if expected is None else {"e_tag": expected}
        for _ in range(_CONFLICT_TRIES):
            with suppress(AlreadyExistsError, PreconditionError, NotInStore), self._failures(key):
                written = obstore.put(self._remote, checked_key(key), data, mode=mode)
                return written["e_tag"] or ""
            found = self._now(key, len(data))
            if found is not None and found.data == data:
                return found.token  # ours: the answer to an earlier try was lost
            if (None if found is None else found.token) != expected:
                raise Overtaken(
                    "is no longer there"
                    if found is None
                    else "was changed by somebody else since it was read",
                    where=self._where(key),
                    hint="read it again and decide on what is there now",
                )
            # Unchanged and yet refused: a conflict with a write that did not come about.
        raise self._conflicts(key)

    def list(self, prefix: str = "") -> Iterator[Listed]:
        below = checked_prefix(prefix)
        with self._failures(below):
            for page in obstore.list(self._remote, prefix=below or None):
                for found in page:
                    key, modified_at = found["path"], found["last_modified"]
                    if is_key(key):
                        yield Listed(key=key, size=found["size"], modified_at=modified_at)

    def delete(self, key: str) -> None:
        with suppress(NotInStore), self._failures(key):
            obstore.delete(self._remote, checked_key(key))

    def _now(self, key: str, most: int) -> Blob | None:
        """What is there: its bytes when no more than `most`, its token in any case."""
        try:
            with self._failures(key):
                result = obstore.get(self._remote, checked_key(key))
                data = within(_pieces(result), most, where=key) if _fits(result, most) else b""
                return Blob(data=data, token=result.meta["e_tag"] or "")
        except NotInStore:
            return None

    def _conflicts(self, key: str) -> Unreachable:
        return Unreachable(
            f"the store reported a conflict {_CONFLICT_TRIES} times and nothing is changed",
            where=self._where(key),
            hint="try again",
        )


def web_store(address: str) -> WebStore:
    """A store that is read over HTTP; see `store.open_store`."""
    options = _client(allow_http=address.startswith("http://"))
    try:
        remote = HTTPStore.from_url(address, client_options=options, retry_config=_RETRIES)
    except (BaseError, ValueError) as problem:
        raise BadAddress(f"is no address to read from ({first_words(problem)})") from problem
    return WebStore(address, remote)


def bucket_store(address: str, bucket: str, prefix: str, environ: Mapping[str, str]) -> BucketStore:
    """A store in an S3-compatible bucket; see `store.open_store`."""
    _require_settings(environ)
    config = {ours: environ[name] for name, ours in _SETTINGS.items() if environ.get(name)}
    options = _client(allow_http=config.get("aws_endpoint_url", "").startswith("http://"))
    try:
        checked_prefix(prefix)
        remote = S3Store(
            bucket,
            prefix=prefix or None,
            config=config,  # type: ignore[arg-type] # keys are from _SETTINGS
            client_options=options,
            retry_config=_RETRIES,
        )
    except BadKey as problem:
        raise BadAddress(problem.what, where=address, hint=problem.hint) from problem
    except (BaseError, ValueError) as problem:
        raise BadAddress(
            f"the AWS_… settings are refused ({first_words(problem)})", where=address
        ) from problem
    return BucketStore(address.rstrip("/"), remote)


def _require_settings(environ: Mapping[str, str]) -> None:
    """Check what obstore reads as well: it panics where an address or a header can't be made of it.

    Raises:
        BadAddress: one is set, and is not what it should be; an endpoint also when it is empty.
    """
    for name in _SETTINGS:
        given = environ.get(name)
        if given is None:
            continue
        if name.startswith("AWS_ENDPOINT") and not _is_endpoint(given):
            raise BadAddress(
                f"{name}={given!r} is no address of a server",
                hint="https://HOST or http://HOST:PORT; for Amazon's own, take the variable away",
            )
        if not (given.isascii() and given.isprintable()):
            # Never shown: it may be a secret.
            raise BadAddress(
                f"{name} has characters in it that can't be sent",
                hint="look for a line end behind it",
            )


def _is_endpoint(given: str) -> bool:
    match = _ENDPOINT.fullmatch(given)
    return match is not None and int(match["port"] or 1) in range(1, 65536)


def _client(*, allow_http: bool) -> ClientConfig:
    return {
        "allow_http": allow_http,
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(seconds=300),
    }


def _pieces(result: obstore.GetResult) -> Iterator[bytes]:
    for piece in result.stream(min_chunk_size=_PIECE_BYTES):
        yield bytes(piece)


def _fits(result: obstore.GetResult, most: int) -> bool:
    return result.meta["size"] <= most
