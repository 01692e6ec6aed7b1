"""uvicorn's HTTP/1.1 protocol, with a shorter way for the one request that is asked all the time.

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
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from edge.answered import Answered, lines_of
from edge.outbox import Outbox

_outbox: Final = Outbox()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """What an app answers without waiting for anything.

    Attributes:
        path: what is posted to, as it stands in the request's first line.
        max_body_bytes: longer bodies take the usual way.
        answer: from headers (names in lower case) and body to what is sent. It must not raise.
        waiting: told 1 when a request has come in part, and -1 when the rest did, or never will.
    """

    path: bytes
    max_body_bytes: int
    answer: Callable[[Mapping[bytes, bytes], bytes], Answered]
    waiting: Callable[[int], None]


class DirectProtocol(HttpToolsProtocol):
    """Takes the shortcut of an app that has one: `app.shortcut`, a `Shortcut`.

    For `uvicorn --http edge.direct:DirectProtocol`, or `uvicorn.Config(http=DirectProtocol)`.
    """

    _shortcut: Shortcut | None = None
    _asked: Mapping[bytes, bytes] | None = None
    """Headers of a request that takes the shortcut, until its body is whole."""
    _body = b""
    _waits = False
    """For the rest of such a body."""
    _ends = False
    """The connection ends with its answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not (self.access_log or self.root_path or self.limit_concurrency):
            self._shortcut = getattr(self.app, "shortcut", None)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._asked is not None:
            self._wait(begins=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(begins=False)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        # As the server's own, without the scope, which a shortcut does not need.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self._asked = self._headers_of_shortcut()
        if self._asked is None:
            self._begin_cycle()
        else:
            parser: Any = self.parser
            self._ends = parser.get_http_version() == "1.0" or not parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        if self._asked is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        if self._asked is None:
            super().on_message_complete()
            return
        asked, body, self._asked, self._body = self._asked, self._body, None, b""
        assert self._shortcut is not None
        self._wait(begins=False)
        self._send(self._shortcut.answer(asked, body))

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP and hang up, after what came before it was answered."""
        _outbox.empty()
        super().send_400_response(msg)

    def shutdown(self) -> None:
        """End the connection once all that was asked over it is answered."""
        _outbox.empty()
        if self._asked is None:
            super().shutdown()
        else:
            self._ends = True

    def _wait(self, *, begins: bool) -> None:
        if self._waits is not begins:
            assert self._shortcut is not None
            self._waits = begins
            self._shortcut.waiting(1 if begins else -1)

    def _begin_cycle(self) -> None:
        """Go the server's own way with the head that was read."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _headers_of_shortcut(self) -> Mapping[bytes, bytes] | None:
        """The request's headers, if it is one for the shortcut."""
        shortcut = self._shortcut
        earlier: RequestResponseCycle | None = self.cycle
        if (
            shortcut is None
            or self.url != shortcut.path
            or self.parser.get_method() != b"POST"
            or self.expect_100_continue
            or self.parser.should_upgrade()
            or (earlier is not None and not earlier.response_complete)
            or self.flow.write_paused
        ):
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) > shortcut.max_body_bytes:
            return None
        return headers

    def _send(self, answered: Answered) -> None:
        status, lines, body = answered
        usual = lines_of(self.server_state.default_headers)
        end = b"connection: close\r\n\r\n" if self._ends else b"\r\n"
        wire = b"".join((STATUS_LINE[status], usual, lines, end, body))
        self.server_state.total_requests += 1
        _outbox.put(self.loop, self.transport, wire)
        if self._ends:
            _outbox.empty()
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
