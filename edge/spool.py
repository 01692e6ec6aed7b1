"""A spool: bytes go round, written by one process and read by another; nobody waits for anybody.

It begins with two 64-bit counts of bytes, ever written and ever read, each changed by one side
alone. An entry is its length (uint32) and its bytes, never cut: where one does not fit before the
end, the rest is marked and left out. What does not fit at all is not written.
"""

from __future__ import annotations

import threading
from typing import Final

HEADER_BYTES: Final = 16
_LENGTH: Final = 4
_LEFT_OUT: Final = b"\xff" * _LENGTH
_WRITTEN, _READ = 0, 1


class Spool:
    """One spool, as either side sees it.

    Args:
        memory: shared bytes, zero at first: the header and what entries go round in.
    """

    __slots__ = ("_data", "_ends", "_fence", "_size")

    def __init__(self, memory: memoryview) -> None:
        self._ends = memory[:HEADER_BYTES].cast("Q")
        self._data = memory[HEADER_BYTES:]
        self._size = len(self._data)
        # Nobody else has it: taking a lock keeps a processor from swapping stores around it.
        self._fence = threading.Lock()

    def put(self, *pieces: bytes) -> bool:
        """Write an entry, made of pieces; False where it has no room."""
        length = sum(map(len, pieces))
        written = self._ends[_WRITTEN]
        at = written % self._size
        left = self._size - at
        skipped = left if left < _LENGTH + length else 0
        end = written + skipped + _LENGTH + length
        if end - self._ends[_READ] > self._size:
            return False
        data = self._data
        if skipped:
            if left >= _LENGTH:
                data[at : at + _LENGTH] = _LEFT_OUT
            at = 0
        data[at : at + _LENGTH] = length.to_bytes(_LENGTH, "little")
        at += _LENGTH
        for piece in pieces:
            data[at : at + len(piece)] = piece
            at += len(piece)
        with self._fence:
            self._ends[_WRITTEN] = end
        return True

    def entries(self, most: int) -> tuple[list[bytes], int]:
        """The oldest entries, as copies, and what to tell `release` when they are not needed."""
        at, found = self._ends[_READ], list[bytes]()
        with self._fence:
            written = self._ends[_WRITTEN]
        while at < written and len(found) < most:
            place = at % self._size
            left = self._size - place
            head = bytes(self._data[place : place + _LENGTH])
            if left < _LENGTH or head == _LEFT_OUT:
                at += left
                continue
            length = int.from_bytes(head, "little")
            found.append(bytes(self._data[place + _LENGTH : place + _LENGTH + length]))
            at += _LENGTH + length
        return found, at

    def release(self, upto: int) -> None:
        """Give the room of entries back."""
        with self._fence:
            self._ends[_READ] = upto
