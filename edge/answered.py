"""A whole answer, before anything is sent of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from starlette.types import Scope, Send

HeaderList: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, with their values."""


class Answered(NamedTuple):
    """What is sent.

    Attributes:
        status: the HTTP status.
        lines: headers as they go over the wire, `content-length` among them, each with its end.
        body: all of it.
    """

    status: int
    lines: bytes
    body: bytes

    @property
    def headers(self) -> HeaderList:
        """The lines' names and values.

        >>> Answered(204, lines_of([(b"allow", b"GET, HEAD"), (b"vary", b"a: b")]), b"").headers
        [(b'allow', b'GET, HEAD'), (b'vary', b'a: b')]
        """
        pairs = (line.partition(b": ") for line in self.lines.split(b"\r\n")[:-1])
        return [(name, value) for name, _, value in pairs]


def lines_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they go over the wire."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


async def send_answered(scope: Scope, send: Send, answered: Answered) -> None:
    """Send it by ASGI's messages; to a HEAD without its body."""
    headers = answered.headers
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else answered.body
    await send({"type": "http.response.body", "body": body})
