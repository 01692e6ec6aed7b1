"""`/livez` and `/readyz`: is the process alive, and should it be sent requests?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Literal, TypeAlias
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from edge.answered import Answered, lines_of, send_answered
from edge.problems import Check, Refusal

Checks: TypeAlias = Callable[[], Sequence[Check]]


class Health(Struct, frozen=True, omit_defaults=True):
    """A good state of health.

    Attributes:
        status: what holds.
        checks: what was looked at, when asked for with `?verbose`.
    """

    status: Literal["alive", "ready"]
    checks: Sequence[Check] = []


async def livez(scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(scope, send, Health("alive"))


class Readyz:
    """Ready when all checks hold, else 503 with those that don't. A plain ASGI app."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        checks = self._checks()
        verbose = b"verbose" in scope["query_string"] and "verbose" in parse_qs(
            scope["query_string"].decode("latin-1"), keep_blank_values=True
        )
        if failed := [check for check in checks if not check.ok]:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "; ".join(check.detail for check in failed),
                checks=checks if verbose else failed,
                headers={b"retry-after": b"1"},
            )
        await send_json(scope, send, Health("ready", checks if verbose else []))


async def send_json(scope: Scope, send: Send, content: object) -> None:
    """Answer with JSON that nobody should keep."""
    body = msgspec.json.encode(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send_answered(scope, send, Answered(200, lines_of(headers), body))
