"""Request ids: made when the caller brings none, and safe to stand in a header."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

MAX_HEADER_ID: Final = 128
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '%"')
_PER_MS: Final = 1 << 12
_random = random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311 - unique, not secret


class _RequestIds:
    """UUIDs of version 7 (RFC 9562): milliseconds, a counter in their 12 bits, 62 bits by chance.

    The last are drawn anew with each millisecond, and when the counter has come round.
    """

    __slots__ = ("_count", "_head", "_ms", "_tail")

    def __init__(self) -> None:
        self._ms, self._count, self._head, self._tail = 0, _PER_MS, "", ""

    def new(self) -> str:
        ms, count = time.time_ns() // 1_000_000, self._count
        if ms != self._ms or count == _PER_MS:
            count, self._ms = 0, ms
            self._head = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"
            bits = _random.getrandbits(62)
            self._tail = f"-{0x8000 | bits >> 48:04x}-{bits & 0xFFFF_FFFF_FFFF:012x}"
        self._count = count + 1
        return f"{self._head}{count:03x}{self._tail}"


new_request_id: Final = _RequestIds().new
"""A UUID of version 7: rises with time, unique across processes. For one thread at a time."""


def id_in(headers: Mapping[bytes, bytes]) -> str:
    """The id in a request's headers, cut where one in a body has to end; empty without one."""
    return headers.get(b"x-request-id", b"")[:MAX_HEADER_ID].decode("latin-1")


def header_value(request_id: str) -> bytes:
    """The id as a header's value; what a header can't carry is percent-encoded."""
    if request_id.isascii() and request_id.isprintable() and " " not in request_id:
        return request_id.encode()
    return quote(request_id, safe=_HEADER_SAFE, errors="replace").encode()
