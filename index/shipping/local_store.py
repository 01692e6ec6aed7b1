"""A store in a folder: whole or absent, never overwritten, swapped under a lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from index.folders import sync_folder
from index.shipping.bounds import exactly, require_same, require_same_size, within
from index.shipping.disk import disk_failures, make_folder
from index.shipping.store import Blob, Listed, checked_key, checked_prefix, is_key
from index.shipping.store_errors import NotInStore, Overtaken

_READ_BYTES: Final = 1 << 20
_ASIDE: Final = ".writing-"
_LOCK: Final = ".lock"
_ABANDONED_AFTER_S: Final = 3600


class LocalStore:
    """Blobs as read-only files below a folder, which is made by the first write.

    Names that begin with a dot are the store's own: files being written, and one lock for each
    folder. The folder may be on any file system with hard links and `flock`.

    Args:
        folder: where the blobs are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def name(self) -> str:
        return self.folder.as_uri()

    def read(self, key: str, *, limit: int) -> Blob:
        with self._opened(key) as file:
            data = within(_pieces(file, limit + 1), limit, where=self._where(key))
        return Blob(data=data, token=_token(data))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._opened(key) as file:
            file.seek(start)
            return within(_pieces(file, length), length, where=self._where(key))

    def head(self, key: str) -> int | None:
        path = self._path(key)
        with disk_failures(path):
            try:
                return path.stat().st_size if path.is_file() else None
            except FileNotFoundError:
                return None

    def create(self, key: str, data: bytes) -> bool:
        if self._placed(key, [data]):
            return True
        require_same(self, key, data)
        return False

    def create_from(self, key: str, parts: Iterable[bytes], *, size: int) -> bool:
        if self.head(key) is None:
            placed = self._placed(key, exactly(parts, size, where=self._where(key)))
            if placed:
                return True
        require_same_size(self.head(key), size, where=self._where(key))
        return False

    def replace(self, key: str, data: bytes, *, expected: str | None) -> str:
        path = self._path(key)
        with self._locked(path), disk_failures(path):
            found = path.read_bytes() if path.exists() else None
            if found == data:
                return _token(data)
            if (None if found is None else _token(found)) != expected:
                raise _overtaken(self._where(key), expected, found)
            if not self._placed(key, [data], give_name=_move if expected else _link):
                raise _overtaken(self._where(key), expected, b"")
        return _token(data)

    def list(self, prefix: str = "") -> Iterator[Listed]:
        top = self.folder / checked_prefix(prefix)
        with disk_failures(top):
            for folder, folders, names in os.walk(top, onerror=_unless_missing):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    if not name.startswith("."):
                        yield from self._listed(Path(folder) / name)

    def delete(self, key: str) -> None:
        path = self._path(key)
        if not path.parent.is_dir():
            return
        with self._locked(path), disk_failures(path):
            with suppress(FileNotFoundError):
                path.unlink()
            sync_folder(path.parent)

    def _path(self, key: str) -> Path:
        return self.folder / checked_key(key)

    def _where(self, key: str) -> str:
        return str(self.folder / key)

    def _listed(self, path: Path) -> Iterator[Listed]:
        key = path.relative_to(self.folder).as_posix()
        if not is_key(key):
            return
        with suppress(FileNotFoundError):  # deleted since its folder was read
            found = path.stat()
            yield Listed(
                key=key,
                size=found.st_size,
                modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
            )

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        with disk_failures(path):
            try:
                file = path.open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as problem:
                raise NotInStore("is not in the store", where=self._where(key)) from problem
            with file:
                yield file

    def _placed(
        self,
        key: str,
        parts: Iterable[bytes],
        *,
        give_name: Callable[[Path, Path], bool] | None = None,
    ) -> bool:
        """Write aside, sync, name, sync; False when the name was taken."""
        path = self._path(key)
        aside = path.with_name(f"{_ASIDE}{os.getpid()}-{secrets.token_hex(6)}")
        with disk_failures(path):
            make_folder(path.parent)
            _remove_abandoned(path.parent)
            try:
                _write_synced(aside, parts)
                named = (give_name or _link)(aside, path)
            finally:
                aside.unlink(missing_ok=True)
            sync_folder(path.parent)
        return named

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        with disk_failures(path.parent):
            make_folder(path.parent)
            descriptor = os.open(
                path.with_name(_LOCK), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _write_synced(path: Path, parts: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[file.write(rest) :]
        os.fchmod(descriptor, 0o444)
        os.fsync(descriptor)


def _link(aside: Path, path: Path) -> bool:
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        return False
    return True


def _move(aside: Path, path: Path) -> bool:
    aside.replace(path)
    return True


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed writers left: none works an hour on a file without touching it."""
    oldest = time.time() - _ABANDONED_AFTER_S
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_ASIDE):
                with suppress(FileNotFoundError):
                    if entry.stat().st_mtime < oldest:
                        Path(entry.path).unlink()


def _pieces(file: BinaryIO, most: int) -> Iterator[bytes]:
    while most > 0 and (piece := file.read(min(most, _READ_BYTES))):
        most -= len(piece)
        yield piece


def _token(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _overtaken(where: str, expected: str | None, found: bytes | None) -> Overtaken:
    if found is None:
        what = "is no longer there"
    elif expected is None:
        what = "is there already"
    else:
        what = "was changed by somebody else since it was read"
    return Overtaken(what, where=where, hint="read it again and decide on what is there now")


def _unless_missing(problem: OSError) -> None:
    if not isinstance(problem, (FileNotFoundError, NotADirectoryError)):
        raise problem
