"""Stores for tests that watch what is asked of them, or do not keep their word."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from index.shipping.local_store import LocalStore
from index.shipping.store import Blob


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Careless(LocalStore):
    """Accepts every write, whatever its condition."""

    def create(self, key: str, data: bytes) -> bool:
        self.delete(key)
        return super().create(key, data)

    def replace(self, key: str, data: bytes, *, expected: str | None) -> str:
        found = self.read(key, limit=1 << 20).token if self.head(key) is not None else None
        return super().replace(key, data, expected=found)


class Watched(LocalStore):
    """Counts what is asked of it, and may change what it answers."""

    def __init__(self, folder: Path, change: Callable[[int, bytes], bytes] | None = None) -> None:
        super().__init__(folder)
        self.asked: list[tuple[str, int, int]] = []
        self._change = change

    def read(self, key: str, *, limit: int) -> Blob:
        self.asked.append((key, 0, limit))
        return super().read(key, limit=limit)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.asked.append((key, start, length))
        data = super().read_range(key, start, length)
        return self._change(start, data) if self._change else data
