"""What wraps every answer: methods, problem documents, CORS even on those, and counting.

All of it is plain ASGI. CORS stands around the problem documents, so that a page's own code can
read why it was refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.bodies import ClientGone
from edge.counters import Counters
from edge.problems import Refusal, send_refusal

EXPOSED: Final = ("ETag", "Server-Timing", "X-Request-Id", "X-Snapshot-Id")
_log = structlog.get_logger()


def route(path: str, methods: Mapping[str, ASGIApp]) -> Route:
    """A route that answers each method with an app of its own, HEAD as GET."""
    return Route(path, _Methods(methods))


def wrapped(
    routes: Sequence[BaseRoute], *, origins: Sequence[str], counters: Counters | None
) -> ASGIApp:
    """Routes as an app in which every error is a problem document that pages may read."""
    router = Router(routes, redirect_slashes=False, default=_not_found)
    app: ASGIApp = _Cors(_Refusals(router), origins)
    return app if counters is None else _Counted(app, counters)


class _Cors(CORSMiddleware):
    """Starlette's rules; what every answer carries is made ready once instead of per request."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
            max_age=7200,
        )
        exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
        self._always = [(b"vary", b"Origin")]
        if self.allow_all_origins:
            self._always += [(b"access-control-allow-origin", b"*"), exposed]
        self._ready = {
            origin: [*self._always, (b"access-control-allow-origin", origin), exposed]
            for origin in map(str.encode, origins)
            if not self.allow_all_origins
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await super().__call__(scope, receive, send)
            return
        added = self._ready.get(headers.get(b"origin", b""), self._always)

        async def sharing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self.app(scope, receive, sharing)


class _Methods:
    def __init__(self, methods: Mapping[str, ASGIApp]) -> None:
        self._apps = dict(methods)
        if "GET" in methods:
            self._apps["HEAD"] = methods["GET"]
        self._allow = ", ".join(sorted({*self._apps, "OPTIONS"})).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps.get(scope["method"])
        if app is not None:
            await app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            headers = [(b"allow", self._allow)]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{scope['path']} answers {self._allow.decode()}.",
                headers={b"allow": self._allow},
            )


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise Refusal(HTTPStatus.NOT_FOUND, "Nothing is answered here; /openapi.json lists what is.")


class _Refusals:
    """The outermost loop of a request: whatever goes wrong below becomes a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Refusal as refusal:
            await send_refusal(scope, send, refusal)
        except ClientGone:
            pass
        except Exception:  # noqa: BLE001 - the outermost loop of a request
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            await send_refusal(
                scope,
                send,
                Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of ours; it was logged."),
            )


class _Counted:
    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._counters.arrived()
        try:
            await self._app(scope, receive, watched)
        finally:
            self._counters.answered(status)
