"""Request ids: made when the caller brings none, and safe to stand in a header."""

from __future__ import annotations

import os
import random
import time
from urllib.parse import quote

_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '%"')
_random = random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311 - unique, not secret


def new_request_id() -> str:
    """A UUID of version 7: rises with time, unique across processes."""
    ms, bits = time.time_ns() // 1_000_000, _random.getrandbits(74)
    node, middle = bits & 0xFFFF_FFFF_FFFF, bits >> 48
    return (
        f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-{0x7000 | middle & 0xFFF:04x}"
        f"-{0x8000 | middle >> 12:04x}-{node:012x}"
    )


def header_value(request_id: str) -> bytes:
    """The id as a header's value; what a header can't carry is percent-encoded."""
    if request_id.isascii() and request_id.isprintable() and " " not in request_id:
        return request_id.encode()
    return quote(request_id, safe=_HEADER_SAFE, errors="replace").encode()
