"""Whole answers as messages of ASGI."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from edge.answered import Answered, lines_of, send_answered


@pytest.mark.parametrize(("method", "body"), [("GET", b"none"), ("HEAD", b"")])
def test_a_head_is_told_how_long_the_body_is_and_not_the_body(method: str, body: bytes) -> None:
    headers = [(b"content-length", b"4"), (b"retry-after", b"1")]
    told: list[Message] = []

    async def send(message: Message) -> None:
        told.append(message)

    answered = Answered(503, lines_of(headers), b"none")
    asyncio.run(send_answered({"method": method}, send, answered))

    assert told == [
        {"type": "http.response.start", "status": 503, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]
