"""What HTTP alone costs: the same server and router, a body that is read, a fixed answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

ANSWER: Final = "ALMANAC_BENCH_ANSWER"
"""Environment variable: the file that holds the answer."""


def app() -> ASGIApp:
    """The app, for a server's `--factory`."""
    return answering(Path(os.environ[ANSWER]).read_bytes())


def answering(answer: bytes) -> ASGIApp:
    """An app that gives this answer to every body."""
    return Router([Route("/v1/offers", _Noop(answer))], redirect_slashes=False)


class _Noop:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer)),
        ]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._answer})
