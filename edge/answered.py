"""A whole answer, before anything is sent of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from starlette.types import Send

HeaderList: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, with their values."""


class Answered(NamedTuple):
    """What is sent.

    Attributes:
        status: the HTTP status.
        headers: `content-length` among them.
        body: all of it.
    """

    status: int
    headers: HeaderList
    body: bytes


async def send_answered(send: Send, answered: Answered) -> None:
    """Send it by ASGI's messages."""
    status, headers, body = answered
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
