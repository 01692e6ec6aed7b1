"""The head of a request that a connection brought before: the same bytes need no second reading.

A shop's server asks over connections that it keeps, and but for the length of the body, the heads
of its requests are often the same, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.IGNORECASE)


class KnownHead(NamedTuple):
    """What a parser made of a head.

    Attributes:
        before: the head up to the body's length.
        after: the head from there on.
        headers: names in lower case, with values; all but the body's length.
    """

    before: bytes
    after: bytes
    headers: Mapping[bytes, bytes]

    @classmethod
    def of(cls, data: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Self | None:
        """The head of a request for its like.

        Args:
            data: begins with the request.
            headers: what the parser found.

        Returns:
            None when it isn't plain to see which bytes became those headers.
        """
        end = data.find(b"\r\n\r\n") + 4
        n_lines = data.count(b"\r\n", 0, end)
        found = _LENGTH.search(data, 0, end)
        if found is None or not n_lines == data.count(b"\n", 0, end) == len(headers) + 2:
            return None
        others = {name: value for name, value in headers if name != b"content-length"}
        return cls(data[: found.start(1)], data[found.end(1) : end], others)

    def body_of(self, data: bytes) -> bytes | None:
        """The body of a request that has this head; None for other requests, and parts of one."""
        before, after, _ = self
        if not data.startswith(before):
            return None
        start = len(before)
        stop = data.find(b"\r", start, start + 10)
        length = data[start:stop]
        if not length.isdigit() or not data.startswith(after, stop):
            return None
        body = data[stop + len(after) :]
        return body if len(body) == int(length) else None
