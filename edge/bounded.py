"""uvicorn's HTTP/1.1 protocol, with the bounds that it lacks, and refusals that can be read.

Whoever asks nothing, does not go on asking, does not read, or says more than anybody has to hear is
refused or hung up on; whatever can be read in several ways is refused; an upgrade that nobody
speaks is answered in HTTP/1.1. What was asked in whole before is answered all the same.
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from edge.answered import Answered, HeaderList, lines_of
from edge.outbox import Outbox
from edge.problems import Refusal, refused_with

_outbox: Final = Outbox()
_NOT_HTTP: Final = (
    "This is no request of HTTP/1.1 that can be read in one way only: look at its first line and "
    "its headers. Say once whom you ask, by Host, and once how long the body is, by Content-Length "
    "or by Transfer-Encoding."
)
_MOST_BESIDE_BODY: Final = 64 << 10
"""The parser keeps heads, and what comes behind a body in chunks, however long they are."""
_HEAD_TOO_LONG: Final = (
    f"The request has more than {_MOST_BESIDE_BODY} bytes besides its body: send fewer or shorter "
    "headers, and larger chunks."
)
_NO_END: Final = (
    "The request began long ago and has not come to its end: send it again, without a pause."
)
_PIECE_BYTES: Final = 4 << 10
"""Of what came at once so much is read in one turn of the loop, and a hundred requests at most are
in it; the rest when those are being answered."""
_LISTEN_S: Final = 5.0
_LISTEN_BYTES: Final = 1 << 20
"""So long, and to so much, whoever was refused in the middle of a request is listened to."""
_LAST_WORDS_S: Final = 0.1
"""As long as the server takes anyway before it looks which connections are left."""


class _NoHost(Exception):
    """A request names no host, or several."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    What is done with a request that is in bounds is the server's own: `_head_came`, `_body_came`
    and `_all_came` can be overridden.
    """

    _rests = True
    """No request is under way."""
    _ends = False
    """The connection ends with its answer."""
    _running: RequestResponseCycle | None = None
    """The last request that was given to the app by ASGI; others may wait behind it."""
    _n_beside = 0
    """Bytes of the request under way that were no body, by the pieces that hold nothing else."""
    _head: HeaderList = ()
    """Headers of the request that came last."""
    _n_body = 0
    """Bytes of its body that came."""
    _unread: bytearray | None = None
    """What came and was not read yet; None for nothing."""
    _reads_soon = False
    """The next piece of it is read in the loop's next turn."""
    _said_all = False
    """Nothing more will come behind that."""
    _answered_s = 0.0
    """When the last answer was given past ASGI, by the loop's clock."""
    _n_unheard: int | None = None
    """Bytes that came since a refusal; None before one."""
    _upgrade_ends: int | None = None
    """Where, in what came, the head of a request ends that asks for another protocol."""
    _watch: asyncio.TimerHandle | None = None
    _seen: tuple[HeaderList | None, int] = (None, 0)
    """When it was looked last: the request that had come last, and how much was not read."""
    _usual: tuple[HeaderList, bytes] = ((), b"")
    """Headers of every answer, and how they go over the wire."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.timeout_keep_alive, self._look)

    def data_received(self, data: bytes) -> None:
        if self._n_unheard is not None:
            self._n_unheard += len(data)
            if self._n_unheard > _LISTEN_BYTES:
                self.transport.abort()
        elif self._unread is not None:
            self._unread += data
            self.transport.pause_reading()
        elif len(data) > _PIECE_BYTES:
            self._unread = bytearray(data)
            self._read_on()
        else:
            self._read(data)

    def _read_soon(self) -> None:
        if not self._reads_soon:
            self._reads_soon = True
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Read the next piece of what came at once, unless requests of an earlier one wait."""
        self._reads_soon = False
        unread = self._unread
        if unread is None or self.pipeline or self.transport.is_closing():
            return
        n_bytes = _PIECE_BYTES if self._rests else max(_PIECE_BYTES, self._missing())
        piece = bytes(unread[:n_bytes])
        del unread[:n_bytes]
        self._read(piece)
        if self._unread is None:
            return  # it was refused
        if unread:
            self._read_soon()
        else:
            self._all_read()

    def _all_read(self) -> None:
        self._unread = None
        if self._said_all:
            if not self.eof_received():
                self.transport.close()
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _missing(self) -> int:
        """Bytes that a request says its body still has."""
        length = dict(self._head).get(b"content-length", b"")
        return int(length) - self._n_body if length.isdigit() else 0

    def _read(self, data: bytes) -> None:
        if not self._rests:
            if self._n_beside > _MOST_BESIDE_BODY:
                self._refuse(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _HEAD_TOO_LONG))
                return
            self._n_beside += len(data)
        super().data_received(data)
        while self._upgrade_ends is not None:
            data = self._without_upgrade() + data[self._upgrade_ends :]
            self._upgrade_ends = None
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # the server's own always hangs up
        """Hang up on who says no more, but not before what was asked in whole is answered."""
        _outbox.empty()
        if self._unread is not None:
            self._said_all = True
            return True
        last = self._last_asked()
        if last is None:
            return False
        last.keep_alive = False
        return True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unread is not None:
            self.transport.pause_reading()  # which the server has just taken up again
            self._read_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._running is not None:
            # Of requests that came together the server itself tells the last one alone.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        # As the server's own, without the scope, which not everybody needs.
        self._rests = False
        self._n_beside = self._n_body = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self._head = self.headers
        if not self._names_one_host():
            raise _NoHost  # which the parser hands on as a complaint of its own
        if not (self.parser.should_upgrade() and self._stays()):
            self._head_came()

    def on_body(self, body: bytes) -> None:
        self._n_beside -= len(body)
        self._n_body += len(body)
        self._body_came(body)

    def on_message_complete(self) -> None:
        upgrades = self.parser.should_upgrade()
        if upgrades and self._stays():
            return
        self._rests = not upgrades
        self._all_came()

    def _head_came(self) -> None:
        """Go the server's own way with the head that was read."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        if self._ends:
            self.cycle.keep_alive = False
        self.headers = []  # what comes behind a body in chunks is none of the request's headers

    def _body_came(self, piece: bytes) -> None:
        super().on_body(piece)

    def _all_came(self) -> None:
        super().on_message_complete()

    def send_400_response(self, _msg: str) -> None:
        """Refuse what is not HTTP and hang up, after what came before it was answered."""
        self._refuse(Refusal(HTTPStatus.BAD_REQUEST, _NOT_HTTP))

    def _names_one_host(self) -> bool:
        """As HTTP/1.1 demands: who reads another one of several than we do could be misled."""
        n_hosts = [name for name, _ in self.headers].count(b"host")
        return n_hosts == 1 or (n_hosts == 0 and self.parser.get_http_version() == "1.0")

    def _stays(self) -> bool:
        """Whether a request that asks for another protocol is to be answered in this one."""
        return self.parser.get_method() != b"CONNECT" and not self._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        # Told while the parser's complaint is handled, which says how far it has read.
        complaint = sys.exception()
        if complaint is not None and self._stays():
            self._upgrade_ends = complaint.args[0]

    def _without_upgrade(self) -> bytes:
        """The head again, for a new parser: one that has met an upgrade reads no body any more."""
        method, headers = self.parser.get_method(), self.headers
        version = self.parser.get_http_version().encode()
        self.parser = type(self.parser)(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        kept = lines_of(header for header in headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, kept)

    def shutdown(self) -> None:
        """End the connection once all that was asked over it is answered.

        Something may be on its way; who keeps asking is told with an answer that it is the last.
        """
        _outbox.empty()
        if self._n_unheard is not None:
            self.transport.abort()
            return
        self._ends = True
        self.loop.call_later(_LAST_WORDS_S, self._shut_down_at_rest)

    def _shut_down_at_rest(self) -> None:
        if self._rests and self._unread is None:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up, unless something was asked since the time was set."""
        left_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if self._last_asked() is not None:
            self._unset_keepalive_if_required()  # its answer sets it again
        elif left_s > 0.0:
            self._keep_alive_for(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _look(self) -> None:
        """Hang up on who asks nothing, or did not go on asking or reading since the last look.

        The server itself waits for all of them as long as they like.
        """
        asked: Any = self.headers  # the server has none before anything is asked
        unread = self.transport.get_write_buffer_size()
        asked_before, unread_before = self._seen
        self._seen = asked, unread
        self._watch = self.loop.call_later(self.timeout_keep_alive, self._look)
        if unread and unread == unread_before and asked is asked_before:
            self.transport.abort()  # to close it would be to wait until all is read
        elif self.transport.is_closing():
            return
        elif asked is None:
            self.transport.close()
        elif not self._rests and asked is asked_before:
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, _NO_END))

    def _keep_alive_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _refuse(self, refusal: Refusal) -> None:
        """Tell what is wrong with what comes now, as nothing after it can be read, and hang up."""
        earlier = self._last_asked()
        if earlier is not None:
            # It would be taken for the answer that is still to come: the connection ends with that.
            earlier.keep_alive = False
            self._unread = None
            self.flow.pause_reading()
            return
        self._ends, self._rests, self._n_unheard, self._unread = True, False, 0, None
        self._was_refused(refusal.status)
        self._send(refused_with(refusal, {}))

    def _last_asked(self) -> RequestResponseCycle | None:
        """The last request that came whole by ASGI, if it is not answered yet.

        One behind it that broke off is forgotten.
        """
        last: RequestResponseCycle | None = self.cycle
        if last is not None and last.more_body and self.pipeline and self.pipeline[0][0] is last:
            self.pipeline.popleft()
            assert self._running is not None  # or nothing would wait behind it
            last = self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        if last is None or last.response_complete or last.more_body:
            return None
        return last

    def _was_refused(self, status: int) -> None:
        """To be overridden by whoever counts, or keeps anything of the request."""

    def _close_by_and_by(self) -> None:
        """Say no more, but go on listening (RFC 9112, 9.6).

        Where a connection is closed before all was read that came, the kernel tells the other side
        so at once, and what was said before is lost.
        """
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(_LISTEN_S, self.transport.abort)
        self.transport.write_eof()
        self.transport.resume_reading()  # more than could be read at once may have come before

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _send(self, answered: Answered) -> None:
        status, lines, body = answered
        usual = self.server_state.default_headers
        if self._usual[0] is not usual:
            self._usual = (usual, lines_of(usual))
        end = b"connection: close\r\n\r\n" if self._ends else b"\r\n"
        wire = b"".join((STATUS_LINE[status], self._usual[1], lines, end, body))
        self.server_state.total_requests += 1
        _outbox.put(self.loop, self.transport, wire, len(self.connections))
        if self._ends:
            _outbox.empty()
            if self._n_unheard is None:
                self.transport.close()
            else:
                self._close_by_and_by()
            return
        self._answered_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive_for(self.timeout_keep_alive)
