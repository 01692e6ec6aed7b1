"""Request ids: made when the caller brings none, and safe to stand in a header."""

from __future__ import annotations

import os
import random
import time
from typing import Final
from urllib.parse import quote

_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '%"')
_VERSION: Final = 7 << 76 | 0b10 << 62
_TAIL: Final = (1 << 62) - 1
_random = random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311 - unique, not secret


def new_request_id() -> str:
    """A UUID of version 7: rises with time, unique across processes."""
    ms, bits = time.time_ns() // 1_000_000, _random.getrandbits(74)
    text = "%032x" % (ms << 80 | _VERSION | bits >> 62 << 64 | bits & _TAIL)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def header_value(request_id: str) -> bytes:
    """The id as a header's value; what a header can't carry is percent-encoded."""
    if request_id.isascii() and request_id.isprintable() and " " not in request_id:
        return request_id.encode()
    return quote(request_id, safe=_HEADER_SAFE, errors="replace").encode()
