"""What wraps every answer: methods, problem documents, CORS even on those, and counting.

All of it is plain ASGI. CORS stands around the problem documents, so that a page's own code can
read why it was refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.answered import Answered, HeaderList, lines_of, send_answered
from edge.bodies import HEADERS, ClientGone
from edge.cells import blank_rows
from edge.counters import Counters
from edge.direct import Shortcut
from edge.open_files import most_callers
from edge.overload import AT_MOST, CEILINGS, REFUSED, Admission
from edge.problems import Refusal, refused_with, send_refusal
from index.request import Ceiling

EXPOSED: Final = (
    "ETag",
    "Retry-After",
    "Server-Timing",
    "X-At-Most",
    "X-Request-Id",
    "X-Retry-After-Us",
    "X-Snapshot-Id",
)
_PREFLIGHT: Final = {b"origin", b"access-control-request-method"}
"""Headers that make an OPTIONS request a page's question whether it may ask."""
_log = structlog.get_logger()


class AtOnce(Protocol):
    """An ASGI app that can also answer a request whose body is there, without waiting."""

    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    def at_once(
        self, headers: Mapping[bytes, bytes], body: bytes, at_most: Ceiling | None
    ) -> Answered:
        """What `__call__` sends.

        Raises:
            Refusal: there is no answer.
        """


@dataclass(frozen=True, slots=True)
class Hot:
    """What is posted so often that the way to it counts; the router has it as well."""

    path: str
    app: AtOnce

    def is_asked(self, scope: Scope) -> bool:
        """Whether a request is one for it."""
        return (scope["method"], scope["path"]) == ("POST", self.path)


def route(path: str, methods: Mapping[str, ASGIApp]) -> Route:
    """A route that answers each method with an app of its own, HEAD as GET."""
    return Route(path, _Methods(methods))


def wrapped(
    routes: Sequence[BaseRoute],
    *,
    origins: Sequence[str],
    counters: Counters | None,
    admission: Admission | None = None,
    hot: Hot | None = None,
) -> Front:
    """Routes as an app in which every error is a problem document that pages may read.

    Args:
        routes: what is answered.
        origins: whose pages may read it.
        counters: where requests are counted; None for nowhere.
        admission: says in the scope of what is below `/v1/` how good an answer there is time for.
        hot: what is reached past the router, and by servers that can past ASGI.
    """
    router = Router(routes, redirect_slashes=False, default=_not_found)
    return Front(router, _Sharing(router, origins), counters, admission, hot)


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
        self._always: HeaderList = ()
        self._ready: dict[bytes, HeaderList] = {}
        if self.allow_all_origins:
            self._always = ((b"access-control-allow-origin", b"*"), *shared)
        elif origins:
            # Only where some pages may read answers and others not do these depend on who asks.
            self._always = ((b"vary", b"Origin"),)
            self._ready = {
                origin: (*self._always, (b"access-control-allow-origin", origin), *shared)
                for origin in map(str.encode, origins)
            }

    def headers_for(self, method: str, origin: bytes | None) -> HeaderList:
        """What an answer carries so that pages may, or must not, read it; made ready once.

        A server that posts is no page, and no cache keeps its answer for one.
        """
        if origin is None:
            return () if method == "POST" else self._always
        return self._ready.get(origin, self._always)


class Front:
    """The outermost loop of a request: counts it, shares it, makes what goes wrong a problem.

    One layer instead of three: each would wrap every message of every answer once more.

    Attributes:
        shortcut: the way past ASGI for servers that know it, see `edge.direct`; None for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        sharing: _Sharing,
        counters: Counters | None,
        admission: Admission | None,
        hot: Hot | None,
    ) -> None:
        self._app = app
        self._sharing = sharing
        self._hot = hot
        self._counters = counters or Counters(blank_rows())
        self._admission = admission
        self.shortcut: Shortcut | None = None
        if hot is not None:
            self.shortcut = Shortcut(
                path=hot.path.encode(),
                max_body_bytes=hot.app.max_body_bytes,
                most_callers=most_callers(),
                answer=self._hot_at_once,
                waiting=self._counters.under_way,
                refused=self._counters.at_once,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0
        headers = dict(scope["headers"])
        added = self._sharing.headers_for(scope["method"], headers.get(b"origin"))
        admission, level = self._admission, self._level(scope)
        if admission is not None and level == REFUSED:
            # Before anything else is done: what is refused has to cost next to nothing.
            await send_answered(scope, send, admission.refusal(added))
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
            if scope["method"] == "OPTIONS" and headers.keys() >= _PREFLIGHT:
                status = await self._preflight(scope, receive, send)
            else:
                scope[HEADERS] = headers
                hot = self._hot
                app = hot.app if hot is not None and hot.is_asked(scope) else self._app
                await app(scope, receive, answer)
        except Refusal as refusal:
            await send_refusal(scope, answer, refusal)
        except ClientGone:
            pass
        except Exception:  # noqa: BLE001 - the outermost loop of a request
            await send_refusal(scope, answer, _defect(scope["method"], scope["path"]))
        finally:
            self._counters.answered(status)

    def _level(self, scope: Scope) -> int:
        """How good an answer there is time for; what costs no decision is never refused."""
        if self._admission is None:
            return 0
        if is_admitted(scope):
            return self._admission.level()
        self._admission.busy()
        return 0

    def _hot_at_once(self, headers: Mapping[bytes, bytes], body: bytes) -> Answered:
        """What `__call__` sends for a hot request whose body is there."""
        hot, admission = self._hot, self._admission
        assert hot is not None
        added = self._sharing.headers_for("POST", headers.get(b"origin"))
        level = 0 if admission is None else admission.level()
        if admission is not None and level == REFUSED:
            return admission.refusal(added)
        try:
            answered = hot.app.at_once(headers, body, CEILINGS[level])
        except Refusal as refusal:
            answered = refused_with(refusal, headers)
        except Exception:  # noqa: BLE001 - the outermost loop of a request
            answered = refused_with(_defect("POST", hot.path), headers)
        self._counters.at_once(answered.status)
        return answered._replace(lines=answered.lines + lines_of(added)) if added else answered

    async def _preflight(self, scope: Scope, receive: Receive, send: Send) -> int:
        response = self._sharing.preflight_response(Headers(scope=scope))
        if response.status_code != HTTPStatus.OK:
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                f"{bytes(response.body).decode()}: pages may use GET, HEAD and POST where their "
                "origin is one of --allow-origins.",
            )
        await response(scope, receive, send)
        return response.status_code


def _defect(method: str, path: str) -> Refusal:
    """What is told of the exception that is being handled, once it is logged."""
    _log.exception("request failed", method=method, path=path)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of ours; it was logged.")


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
            lines = lines_of([(b"allow", self._allow)])
            await send_answered(scope, send, Answered(204, lines, b""))
        else:
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{scope['path']} answers {self._allow.decode()}.",
                headers={b"allow": self._allow},
            )


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise Refusal(HTTPStatus.NOT_FOUND, "Nothing is answered here; /openapi.json lists what is.")
