"""A small memory of what was decoded last: bounded, first in first out."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(dict[Key, Value]):
    """A dict that forgets its oldest entry when it is full.

    Reading is a plain dict lookup; a hit moves nothing, which keeps it as cheap as one. Only one
    thread at a time may let it keep something.

    Args:
        limit: entries at most, at least 1.
    """

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def keep(self, key: Key, value: Value) -> Value:
        """Remember a value that is not known yet, and return it."""
        if len(self) >= self._limit:
            del self[next(iter(self))]
        self[key] = value
        return value
