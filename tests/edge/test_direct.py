"""The way past ASGI: it says what the way through it says, byte for byte, and counts the same."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Final, TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from edge.answered import HeaderList
from edge.app import create_app
from edge.cells import IN_FLIGHT, blank_rows
from edge.counters import Counters
from edge.direct import DirectProtocol, Shortcut
from edge.known_head import KnownHead
from edge.overload import REFUSED, Admission
from edge.settings import settings_from
from edge.state import State
from edge.totals import Totals
from edge.worker import server_config
from index.generation import Generation

BODY: Final = b'{"customer_id":"ann","request_id":"r","at":"2025-12-01T12:00:00Z"}'
LIMIT: Final = 4096
PATIENCE_S: Final = 10
Told = TypeVar("Told")


def post(body: bytes = BODY, *lines: bytes) -> bytes:
    """A request as it goes over the connection."""
    length = b"content-length: %d" % len(body)
    return b"\r\n".join([b"POST /v1/offers HTTP/1.1", b"host: shop", length, *lines, b"", body])


def in_chunks(body: bytes) -> bytes:
    head = b"POST /v1/offers HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n"
    return b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)


LAST: Final = post(BODY, b"connection: close")
"""Ends a conversation, so that it can be read to its end."""
ORDINARY: Final = [
    post(),
    post(b'{"cart":[{"item_id":"item-03"}],"context":{"device":"phone"},"k":3}'),
    post(BODY, b"Content-Type: application/json", b"X-Request-Id: mine", b"Origin: https://a.shop"),
    post(BODY, b"origin: https://b.shop"),
    post(BODY, b"accept-encoding: gzip", b"x-request-id: %C3%A4 \xe4"),
]
MISFITS: Final = [
    post(b""),
    post(b"{"),
    post(b'{"k":"many"}'),
    post(b'{"costumer_id":"ann"}', b"x-request-id: mine"),
    post(BODY, b"content-type: text/html"),
    post(BODY, b"content-encoding: br", b"origin: https://a.shop"),
]
UPGRADE: Final = (b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAA")
PREFLIGHT: Final = (
    b"OPTIONS /v1/offers HTTP/1.1\r\nhost: shop\r\n"
    b"origin: x\r\naccess-control-request-method: POST\r\n\r\n"
)
UNUSUAL: Final = [
    in_chunks(BODY),
    post(BODY).replace(b"/v1/offers", b"/v1/offers?k=3"),
    post(BODY).replace(b"/v1/offers", b"/v1/%6fffers"),
    post(BODY).replace(b"POST", b"PUT"),
    post(BODY).replace(b"/v1/offers", b"/v1/nothing"),
    b"GET /v1/offers?placement=checkout&at=2025-12-01T12:00:00Z HTTP/1.1\r\nhost: shop\r\n\r\n",
    b"HEAD /livez HTTP/1.1\r\nhost: shop\r\n\r\n",
    PREFLIGHT,
]


class Way:
    """An app behind one protocol, in a loop that ends with each conversation."""

    def __init__(
        self, generation: Generation | None, protocol: type[HttpToolsProtocol], **flags: object
    ) -> None:
        usual = {"queue_target_ms": 10_000, "max_body_bytes": LIMIT, "snapshot": "/nowhere"}
        settings = settings_from(usual | {"allow_origins": "https://a.shop"} | flags, {})
        self.state = State(Counters(blank_rows()))
        if generation is not None:
            self.state.adopt(generation)
        self.app = create_app(self.state, settings)
        self.shortcut: Shortcut | None = self.app.shortcut
        self.n_through_asgi = 0
        self.config = server_config(self, settings, loop="uvloop")
        self.config.http = protocol
        self.config.load()
        self.server_state = ServerState()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.n_through_asgi += 1
        await self.app(scope, receive, send)

    def talk(self, pieces: Sequence[bytes], *, hang_up: bool = False) -> bytes:
        """All that is said to these pieces, each of which is read before the next is sent."""
        return self.run(self._talk(pieces, hang_up=hang_up))

    def run(self, story: Coroutine[Any, Any, Told]) -> Told:
        """What a story tells, in a loop of its own."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            return runner.run(story)

    async def _talk(self, pieces: Sequence[bytes], *, hang_up: bool) -> bytes:
        made, ours = await self.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        async with asyncio.timeout(PATIENCE_S):
            for piece in pieces:
                writer.write(piece)
                for _ in range(3):
                    await asyncio.sleep(0)
            if hang_up:
                made.transport.abort()
            said = await reader.read(-1)
        writer.close()
        return said

    async def accept(self) -> tuple[Any, socket.socket]:
        """The protocol of a connection in the running loop, and the caller's end of it."""
        ours, theirs = socket.socketpair()
        protocol: Any = self.config.http_protocol_class
        made = protocol(config=self.config, server_state=self.server_state, app_state={})
        await asyncio.get_running_loop().connect_accepted_socket(lambda: made, theirs)
        return made, ours

    @property
    def counts(self) -> tuple[object, ...]:
        totals = Totals([self.state.counters.row], ())
        return totals.codes, totals.levels, totals.tiers, totals.in_flight, totals.scored


def both(
    generation: Generation | None, pieces: Sequence[bytes], **flags: object
) -> tuple[Way, bytes]:
    """The direct way, and what it says; the way through ASGI says and counts the same."""
    ways = [Way(generation, one, **flags) for one in (DirectProtocol, HttpToolsProtocol)]
    said = [without_chance(way.talk(pieces)) for way in ways]
    assert said[0] == said[1]
    assert ways[0].counts == ways[1].counts
    assert ways[0].counts[3] == 0
    assert ways[0].server_state.total_requests == ways[1].server_state.total_requests
    return ways[0], said[0]


def without_chance(said: bytes) -> bytes:
    """What was said, without what differs from time to time."""
    for what in (rb"dur=[0-9.]+", rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", rb'n_id":"[0-9a-f]+'):
        said = re.sub(what, b"*", said)
    return said


def statuses(said: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1.1 (\d+)", said)]


def test_an_ordinary_request_goes_past_asgi(generation: Generation) -> None:
    way, said = both(generation, [*ORDINARY, LAST])

    assert statuses(said) == [200] * 6
    assert way.n_through_asgi == 0
    assert said.count(b"connection: close") == 1
    assert b"access-control-allow-origin: https://a.shop" in said


def test_a_head_that_came_before_is_not_read_again(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the body; what is said to it is the same."""
    asked = [post(), post(b'{"k":3}'), post(b"{"), post(b"[1]"), post()]
    too_long = post(b" " * (LIMIT + 1))
    read: list[bytes] = []
    feed = HttpToolsProtocol.data_received

    def reading(self: HttpToolsProtocol, data: bytes) -> None:
        read.append(data)
        feed(self, data)

    monkeypatch.setattr(HttpToolsProtocol, "data_received", reading)

    way, said = both(generation, [*asked, too_long])

    assert statuses(said) == [200, 200, 400, 422, 200, 413]
    assert way.n_through_asgi == 1
    assert b"".join(read) == b"".join([asked[0], too_long, *asked, too_long])


def test_a_caller_whose_heads_are_all_new_is_not_studied_for_ever(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    studied: list[bytes] = []
    of = KnownHead.of

    def studying(data: bytes, headers: HeaderList) -> KnownHead | None:
        studied.append(data)
        return of(data, headers)

    monkeypatch.setattr(KnownHead, "of", studying)
    _, said = both(generation, [*(post(BODY, b"x-no: %d" % n) for n in range(40)), LAST])

    assert statuses(said) == [200] * 41
    assert len(studied) == 6  # the 1st, 2nd, 4th … 32nd


def test_a_connection_is_kept_from_its_last_answer_on(generation: Generation) -> None:
    """Also when its time was set at an earlier one."""
    way = Way(generation, DirectProtocol)

    async def kept() -> tuple[bool, bool]:
        made, ours = await way.accept()
        made.data_received(post())
        first = made.timeout_keep_alive_task
        made.data_received(post())
        assert made.timeout_keep_alive_task is first
        made.timeout_keep_alive_handler()
        after_one = made.transport.is_closing()
        made.timeout_keep_alive = 0
        made.timeout_keep_alive_handler()
        ours.close()
        return after_one, made.transport.is_closing()

    assert way.run(kept()) == (False, True)


def test_what_is_refused_is_refused_past_asgi_as_well(generation: Generation) -> None:
    way, said = both(generation, [*MISFITS, LAST])

    assert statuses(said) == [400, 400, 422, 422, 415, 415, 200]
    assert way.n_through_asgi == 0


def test_what_is_unusual_takes_the_usual_way(generation: Generation) -> None:
    way, said = both(generation, [*UNUSUAL, LAST])

    assert way.n_through_asgi == len(UNUSUAL)
    assert len(statuses(said)) == len(UNUSUAL) + 1


@pytest.mark.parametrize("asked", [post(), UNUSUAL[0], UNUSUAL[1], UNUSUAL[5], UNUSUAL[6]])
def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(
    generation: Generation, asked: bytes
) -> None:
    """As if it had not been asked for, body and all; Java's client asks so unless told not to."""
    line, rest = asked.split(b"\r\n", 1)
    hopeful = b"\r\n".join([line, *UPGRADE, b"Connection: Upgrade, HTTP2-Settings", rest])
    usual = without_chance(Way(generation, DirectProtocol).talk([asked, asked, post(), LAST]))

    for cut in range(1, len(hopeful), 5):
        pieces = [hopeful[:cut], hopeful[cut:] + hopeful + post(), LAST]
        way = Way(generation, DirectProtocol)
        assert without_chance(way.talk(pieces)) == usual
        assert way.counts[-2] == 0


def test_requests_that_come_together_are_answered_in_their_order(generation: Generation) -> None:
    """Whichever way each takes."""
    named = [post(b'{"request_id":"%d"}' % number) for number in range(20)]
    named[3:3] = [in_chunks(b'{"request_id":"in chunks"}')]
    named[9:9] = [post(b"{", b"x-request-id: bad")]

    way, said = both(generation, [b"".join([*named, LAST])])

    found = re.findall(rb"x-request-id: (\S.*?)\r\n", said)
    before, after = [b"%d" % n for n in range(3)], [b"%d" % n for n in range(3, 20)]
    assert found == [*before, b"in%20chunks", *after[:5], b"bad", *after[5:], b"r"]
    assert way.n_through_asgi > 0


def test_a_request_in_two_pieces_is_waited_for(generation: Generation) -> None:
    """It is in flight meanwhile, and may be cut anywhere; too long a body is refused as ever."""
    whole = post(BODY, b"expect: nothing")
    for cut in range(1, len(whole), 7):
        way, said = both(generation, [whole[:cut], whole[cut:] + LAST])
        assert statuses(said) == [200, 200]
        assert way.n_through_asgi == 0
    _, said = both(generation, [post(b" " * (LIMIT + 1))])
    assert statuses(said) == [413]


def test_old_callers_are_hung_up_on(generation: Generation) -> None:
    way, said = both(generation, [post().replace(b"HTTP/1.1", b"HTTP/1.0")])

    assert statuses(said) == [200]
    assert b"connection: close\r\n" in said
    assert way.n_through_asgi == 0


def test_what_comes_before_nonsense_is_answered_first(generation: Generation) -> None:
    way = Way(generation, DirectProtocol)

    said = way.talk([post() + b"nonsense\r\n\r\n"])

    assert statuses(said) == [200, 400]


def test_without_a_snapshot_there_is_no_answer(generation: Generation) -> None:
    _, said = both(None, [post(), LAST])

    assert statuses(said) == [503, 503]
    assert said.count(b"retry-after: 1\r\n") == 2


def test_a_defect_is_told_and_hurts_nobody_else(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("edge.offers.answer", broken)
    with structlog.testing.capture_logs() as told:
        _, said = both(generation, [post(), LAST])

    assert statuses(said) == [500, 500]
    assert [one["event"] for one in told] == ["request failed"] * 4


def test_what_there_is_no_time_for_is_refused(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both ways, and with the same words."""
    said = []
    monkeypatch.setattr(Admission, "level", lambda _: REFUSED)
    for protocol in (DirectProtocol, HttpToolsProtocol):
        way = Way(generation, protocol)
        said.append(without_chance(way.talk([post(BODY, b"origin: https://a.shop"), LAST])))
        assert Totals([way.state.counters.row], ()).codes["503"] == 2
        assert way.state.counters.row[IN_FLIGHT] == 0

    assert said[0] == said[1]
    assert b"x-retry-after-us: " in said[0]
    assert b"access-control-allow-origin: https://a.shop" in said[0]


def test_a_server_that_ends_answers_first(generation: Generation) -> None:
    """What is decided but not written, and what came in part when the server said goodbye."""
    way = Way(generation, DirectProtocol)

    async def ended() -> bytes:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        made.data_received(post() + post()[:-9])
        made.shutdown()
        made.data_received(post()[-9:])
        said = await reader.read(-1)
        writer.close()
        return said

    said = way.run(ended())
    assert statuses(said) == [200, 200]
    assert said.count(b"connection: close") == 1


@pytest.mark.parametrize("asked", [post(), UNUSUAL[0], post().replace(b"1.1", b"1.0")])
def test_what_is_on_its_way_when_a_server_ends_is_answered(
    generation: Generation, asked: bytes
) -> None:
    """Over a connection that was used before, too; and its answer says that it is the last."""
    way = Way(generation, DirectProtocol)

    async def ended(before: bytes) -> bytes:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(before)
        for _ in range(9):
            await asyncio.sleep(0)
        writer.write(asked)
        made.shutdown()
        said = await reader.read(-1)
        writer.close()
        return said

    for before in (b"", post(), post() + UNUSUAL[0]):
        said = way.run(ended(before))
        assert statuses(said) == [200] * (1 + before.count(b"HTTP/1.1"))
        assert said.count(b"connection: close") == 1


def test_a_connection_at_rest_ends_with_the_server(generation: Generation) -> None:
    way = Way(generation, DirectProtocol)

    async def ended() -> bytes:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        made.shutdown()
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read(-1)
        writer.close()
        return said

    assert way.run(ended()) == b""


def test_whoever_was_refused_is_listened_to_but_not_when_the_server_ends(
    generation: Generation,
) -> None:
    """What is said meanwhile is neither read as a request nor answered."""
    way = Way(generation, DirectProtocol)

    async def refused() -> tuple[bytes, list[bool]]:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        async with asyncio.timeout(PATIENCE_S):
            writer.write(b"nonsense\r\n\r\n")
            said = await reader.read(-1)
            writer.write(post())
            await writer.drain()
            closing = [made.transport.is_closing()]
        made.shutdown()
        closing.append(made.transport.is_closing())
        writer.close()
        return said, closing

    said, closing = way.run(refused())
    assert statuses(said) == [400]
    assert closing == [False, True]


def test_whoever_was_refused_amid_much_is_listened_to_as_well(generation: Generation) -> None:
    """What is too much to be read at once is left with the caller, but not after a refusal."""
    way = Way(generation, DirectProtocol)

    async def refused() -> tuple[bytes, bool]:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        async with asyncio.timeout(PATIENCE_S):
            writer.write(b"GET /" + b"a" * 900_000)
            said = await reader.read(-1)
            is_heard = made.transport.is_reading()
        writer.transport.abort()  # not all of it may have been taken
        return said, is_heard

    said, is_heard = way.run(refused())
    assert statuses(said) == [431]
    assert is_heard


def test_who_hangs_up_in_the_middle_is_waited_for_no_longer(generation: Generation) -> None:
    way = Way(generation, DirectProtocol)
    in_flight: list[int] = []
    shortcut = way.shortcut
    assert shortcut is not None

    def waiting(change: int) -> None:
        shortcut.waiting(change)
        in_flight.append(way.state.counters.row[IN_FLIGHT])

    way.shortcut = replace(shortcut, waiting=waiting)
    way.talk([post()[:-9]], hang_up=True)

    assert in_flight == [1, 0]
    assert way.counts == Way(generation, DirectProtocol).counts


@pytest.mark.parametrize("flags", [{"root_path": "/api"}, {"limit_concurrency": 5}])
def test_settings_that_the_shortcut_would_not_heed_switch_it_off(
    generation: Generation, flags: dict[str, Any]
) -> None:
    way = Way(generation, DirectProtocol)
    for name, value in flags.items():
        setattr(way.config, name, value)

    way.talk([post(), LAST])

    assert way.n_through_asgi == 2


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(data=st.data(), asked=st.lists(st.sampled_from([*ORDINARY, *MISFITS, *UNUSUAL]), max_size=6))
def test_however_requests_are_cut_both_ways_say_the_same(
    generation: Generation, data: st.DataObject, asked: list[bytes]
) -> None:
    stream = b"".join([*asked, LAST])
    # Anywhere, and often where a request ends: one that comes whole may have a head that is known.
    ends = [0, *accumulate(map(len, asked))]
    places = st.integers(0, len(stream)) | st.sampled_from(ends)
    cuts = sorted(data.draw(st.lists(places, max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    both(generation, pieces)
