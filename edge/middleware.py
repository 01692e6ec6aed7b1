"""What wraps every answer: methods, problem documents, CORS even on those, and counting.

All of it is plain ASGI. CORS stands around the problem documents, so that a page's own code can
read why it was refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.bodies import HEADERS, ClientGone
from edge.counters import Counters, blank_rows
from edge.overload import AT_MOST, CEILINGS, REFUSED, Admission
from edge.problems import Refusal, send_refusal

EXPOSED: Final = (
    "ETag",
    "Retry-After",
    "Server-Timing",
    "X-At-Most",
    "X-Request-Id",
    "X-Retry-After-Us",
    "X-Snapshot-Id",
)
_log = structlog.get_logger()


def route(path: str, methods: Mapping[str, ASGIApp]) -> Route:
    """A route that answers each method with an app of its own, HEAD as GET."""
    return Route(path, _Methods(methods))


def wrapped(
    routes: Sequence[BaseRoute],
    *,
    origins: Sequence[str],
    counters: Counters | None,
    admission: Admission | None = None,
    hot: Mapping[tuple[str, str], ASGIApp] | None = None,
) -> ASGIApp:
    """Routes as an app in which every error is a problem document that pages may read.

    Args:
        routes: what is answered.
        origins: whose pages may read it.
        counters: where requests are counted; None for nowhere.
        admission: says in the scope of what is below `/v1/` how good an answer there is time for.
        hot: by method and path, what is asked so often that the way through the router counts; the
            router has it as well.
    """
    router = Router(routes, redirect_slashes=False, default=_not_found)
    return _Front(router, _Sharing(router, origins), counters, admission, hot or {})


def is_admitted(scope: Scope) -> bool:
    """Whether a request costs a decision; a preflight, or a look at the health, costs none."""
    path: str = scope["path"]
    return path.startswith("/v1/") and scope["method"] != "OPTIONS"


class _Sharing(CORSMiddleware):
    """Starlette's rules on which page may read what; here only asked, never called as an app."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
            max_age=7200,
        )
        shared = [
            (b"access-control-expose-headers", ", ".join(EXPOSED).encode()),
            (b"timing-allow-origin", b"*"),
        ]
        self._always: Sequence[tuple[bytes, bytes]] = ()
        self._ready: dict[bytes, Sequence[tuple[bytes, bytes]]] = {}
        if self.allow_all_origins:
            self._always = ((b"access-control-allow-origin", b"*"), *shared)
        elif origins:
            # Only where some pages may read answers and others not do these depend on who asks.
            self._always = ((b"vary", b"Origin"),)
            self._ready = {
                origin: (*self._always, (b"access-control-allow-origin", origin), *shared)
                for origin in map(str.encode, origins)
            }

    def headers_for(self, method: str, origin: bytes | None) -> Sequence[tuple[bytes, bytes]]:
        """What an answer carries so that pages may, or must not, read it; made ready once.

        A server that posts is no page, and no cache keeps its answer for one.
        """
        if origin is None:
            return () if method == "POST" else self._always
        return self._ready.get(origin, self._always)


class _Front:
    """The outermost loop of a request: counts it, shares it, makes what goes wrong a problem.

    One layer instead of three: each would wrap every message of every answer once more.
    """

    def __init__(
        self,
        app: ASGIApp,
        sharing: _Sharing,
        counters: Counters | None,
        admission: Admission | None,
        hot: Mapping[tuple[str, str], ASGIApp],
    ) -> None:
        self._app = app
        self._hot = hot
        self._sharing = sharing
        self._counters = counters or Counters(blank_rows())
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0
        headers = dict(scope["headers"])
        added = self._sharing.headers_for(scope["method"], headers.get(b"origin"))
        admission = self._admission
        if admission is not None and is_admitted(scope):
            level = admission.level()
            if level == REFUSED:
                # Before anything else is done: what is refused has to cost next to nothing.
                await admission.refuse(send, added)
                self._counters.refused()
                return
            scope[AT_MOST] = CEILINGS[level]

        def answer(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            return send(message)

        self._counters.arrived()
        try:
            if b"access-control-request-method" in headers and scope["method"] == "OPTIONS":
                status = await self._preflight(scope, receive, send)
            else:
                scope[HEADERS] = headers
                app = self._hot.get((scope["method"], scope["path"]), self._app)
                await app(scope, receive, answer)
        except Refusal as refusal:
            await send_refusal(scope, answer, refusal)
        except ClientGone:
            pass
        except Exception:  # noqa: BLE001 - the outermost loop of a request
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            broken = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of ours; it was logged.")
            await send_refusal(scope, answer, broken)
        finally:
            self._counters.answered(status)

    async def _preflight(self, scope: Scope, receive: Receive, send: Send) -> int:
        response = self._sharing.preflight_response(Headers(scope=scope))
        await response(scope, receive, send)
        return response.status_code


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
