"""A shorter way for the one request that is asked all the time.

An ASGI server makes a scope, a task and an event for each request, wakes the task in the loop's
next turn, and writes head and body apart. A request that needs nothing but its own bytes, and is
answered from memory, needs none of that: it is answered where the parser has come to its end.
Whatever is out of the ordinary takes the server's own way through ASGI, to the same answer: bodies
in chunks or too long; `expect`; a request behind one that is not answered yet; a caller who does
not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from edge.answered import Answered
from edge.bounded import BoundedProtocol
from edge.known_head import KnownHead
from edge.problems import Refusal

_CROWDED: Final = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "There are as many connections as there may be: use those you have again, or ask again after "
    "Retry-After.",
    headers={b"retry-after": b"1"},
)
_TOLD: Final = 48
"""Callers too many who are told so; further ones are hung up on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """What an app answers without waiting for anything.

    Attributes:
        path: what is posted to, as it stands in the request's first line.
        max_body_bytes: longer bodies take the usual way.
        most_callers: connections that there may be; further callers are refused.
        answer: from headers (names in lower case) and body to what is sent. It must not raise.
        waiting: told 1 when a request has come in part, and -1 when the rest did, or never will.
        refused: told the status of what is no whole request, can't be read, or is one too many.
    """

    path: bytes
    max_body_bytes: int
    most_callers: int
    answer: Callable[[Mapping[bytes, bytes], bytes], Answered]
    waiting: Callable[[int], None]
    refused: Callable[[int], None]


class DirectProtocol(BoundedProtocol):
    """Takes the shortcut of an app that has one: `app.shortcut`, a `Shortcut`.

    For `uvicorn --http edge.direct:DirectProtocol`, or `uvicorn.Config(http=DirectProtocol)`.
    """

    _shortcut: Shortcut | None = None
    _asked: Mapping[bytes, bytes] | None = None
    """Headers of a request that takes the shortcut, until its body is whole."""
    _body = b""
    _waits = False
    """For the rest of such a body."""
    _known: KnownHead | None = None
    _n_unknown = 0
    """Heads that were read because they were not that one."""
    _begun: bytes | None = None
    """What came when no request was under way, until the first one in it is whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not (self.access_log or self.root_path or self.limit_concurrency):
            self._shortcut = getattr(self.app, "shortcut", None)
        if self._shortcut is not None:
            n_too_many = len(self.connections) - self._shortcut.most_callers
            if n_too_many > _TOLD:
                self._shortcut.refused(_CROWDED.status)
                self.transport.abort()
            elif n_too_many > 0:
                self._refuse(_CROWDED)

    def data_received(self, data: bytes) -> None:
        known = self._known if self._rests and self._unread is None else None
        if known is not None and (body := known.body_of(data)) is not None:
            assert self._shortcut is not None
            if len(body) <= self._shortcut.max_body_bytes and self._is_free():
                self._send(self._shortcut.answer(known.headers, body))
                return
        super().data_received(data)

    def _read(self, data: bytes) -> None:
        self._begun = data if self._rests else None
        super()._read(data)
        if self._asked is not None:
            self._wait(begins=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(begins=False)
        super().connection_lost(exc)

    def _head_came(self) -> None:
        self._asked = self._headers_of_shortcut()
        if self._asked is None:
            super()._head_came()
        else:
            parser: Any = self.parser
            last = parser.get_http_version() == "1.0" or not parser.should_keep_alive()
            self._ends = self._ends or last

    def _body_came(self, piece: bytes) -> None:
        if self._asked is None:
            super()._body_came(piece)
        else:
            self._body = self._body + piece if self._body else piece

    def _all_came(self) -> None:
        begun, self._begun = self._begun, None
        if self._asked is None:
            super()._all_came()
            return
        if self.transport.is_closing():  # with the answer to one before
            return
        asked, body, self._asked, self._body = self._asked, self._body, None, b""
        if begun is not None and not self._ends:
            self._get_to_know(begun)
        assert self._shortcut is not None
        self._wait(begins=False)
        self._send(self._shortcut.answer(asked, body))

    def _without_upgrade(self) -> bytes:
        self._begun = None  # what is read now is not what came
        return super()._without_upgrade()

    def _was_refused(self, status: int) -> None:
        self._asked = None
        self._wait(begins=False)
        if self._shortcut is not None:
            self._shortcut.refused(status)

    def _get_to_know(self, begun: bytes) -> None:
        # Less and less often: there are callers whose every head is new.
        self._n_unknown += 1
        if self._n_unknown & (self._n_unknown - 1) == 0:
            self._known = KnownHead.of(begun, self.headers)

    def _is_free(self) -> bool:
        """All that was asked before is answered, and the answers are read."""
        earlier: RequestResponseCycle | None = self.cycle
        return (earlier is None or earlier.response_complete) and not self.flow.write_paused

    def _wait(self, *, begins: bool) -> None:
        if self._waits is not begins:
            assert self._shortcut is not None
            self._waits = begins
            self._shortcut.waiting(1 if begins else -1)

    def _headers_of_shortcut(self) -> Mapping[bytes, bytes] | None:
        """The request's headers, if it is one for the shortcut."""
        shortcut = self._shortcut
        if (
            shortcut is None
            or self.url != shortcut.path
            or self.parser.get_method() != b"POST"
            or self.expect_100_continue
            or not self._is_free()
        ):
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) > shortcut.max_body_bytes:
            return None
        return headers
