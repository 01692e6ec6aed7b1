"""Many requests over one connection before any answer: in order, in bounds, each as if alone."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from edge.direct import DirectProtocol
from index.generation import Generation
from tests.edge.test_direct import LAST, PATIENCE_S, UPGRADE, Way, both, in_chunks, post, statuses

LIVE = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n"
BATCH = b'{"requests":[%b]}' % b",".join([b'{"k":9}'] * 40)
POST_BATCH = post(BATCH).replace(b"/v1/offers", b"/v1/offers:batch")
BROKEN = b"POST /v1/offers HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n"
LAST_LIVE = LIVE.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests waited behind another one, whenever one was made ready to wait."""
    found: list[int] = []
    make = RequestResponseCycle.__init__
    protocols: list[DirectProtocol] = []
    made = DirectProtocol.connection_made

    def connection_made(self: DirectProtocol, transport: Any) -> None:
        protocols.append(self)
        made(self, transport)

    def init(self: RequestResponseCycle, *args: Any, **words: Any) -> None:
        make(self, *args, **words)
        found.extend(len(one.pipeline) for one in protocols)

    monkeypatch.setattr(DirectProtocol, "connection_made", connection_made)
    monkeypatch.setattr(RequestResponseCycle, "__init__", init)
    return found


def test_however_many_come_at_once_few_wait_and_all_are_answered(
    generation: Generation, waiting: list[int]
) -> None:
    """Else a few callers could make a worker hold, and everybody wait for, a million requests."""
    way = Way(generation, DirectProtocol)
    said = way.talk([LIVE * 4000 + LAST_LIVE])

    assert statuses(said) == [200] * 4001
    assert len(waiting) == 4001
    assert max(waiting) < 4096 / len(LIVE) + 1


def test_what_comes_on_and_on_is_left_with_the_caller(generation: Generation) -> None:
    """What is not read yet is not taken either, however often an answer goes out meanwhile."""
    way = Way(generation, DirectProtocol)
    most = 0

    async def flood() -> bytes:
        nonlocal most
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(LIVE * 30_000 + LAST_LIVE)
        said = []
        async with asyncio.timeout(3 * PATIENCE_S):
            while piece := await reader.read(1 << 16):
                said.append(piece)
                most = max(most, len(made._unread or b""))  # noqa: SLF001
        writer.close()
        return b"".join(said)

    assert len(statuses(way.run(flood()))) == 30_001
    assert most <= 1 << 19


def test_whichever_way_they_take_they_keep_their_order(generation: Generation) -> None:
    asked = []
    for number in range(150):
        body = b'{"request_id":"%d"}' % number
        ways = [post(body), in_chunks(body), post(b"{", b"x-request-id: %d" % number)]
        asked += [ways[number % 3], *([POST_BATCH] if number % 40 == 7 else [])]
    way, said = both(generation, [b"".join([*asked, LAST])])

    found = re.findall(rb"x-request-id: (\d+)\r\n", said)
    assert [int(number) for number in found] == list(range(150))
    assert way.n_through_asgi > 0


def test_a_long_body_is_read_as_one_piece(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is surely a body holds no requests, and need not wait its turn again and again."""
    long = b'{"requests":[%b]}' % b",".join([b'{"request_id":"%b"}' % (b"a" * 400)] * 100)
    asked = post(long).replace(b"/v1/offers", b"/v1/offers:batch")
    way = Way(generation, DirectProtocol)
    pieces: list[int] = []

    feed = HttpToolsProtocol.data_received

    def reading(self: HttpToolsProtocol, data: bytes) -> None:
        pieces.append(len(data))
        feed(self, data)

    monkeypatch.setattr(HttpToolsProtocol, "data_received", reading)

    async def read() -> bytes:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        made.data_received(asked + LIVE + LAST_LIVE)
        said = await reader.read(-1)
        writer.close()
        return said

    assert statuses(way.run(read())) == [200, 200, 200]
    assert len(pieces) == 3
    assert pieces[1] == len(asked) - 4096


def half_closed(generation: Generation, asked: bytes) -> bytes:
    """All that is said to somebody who asks this and says no more."""
    way = Way(generation, DirectProtocol)

    async def asking() -> bytes:
        _, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(asked)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read(-1)
        writer.close()
        return said

    return way.run(asking())


def test_who_says_no_more_behind_many_is_answered(generation: Generation) -> None:
    assert statuses(half_closed(generation, post() * 200 + LIVE * 200)) == [200] * 400


@pytest.mark.parametrize("before", [POST_BATCH, POST_BATCH + LIVE, LIVE + POST_BATCH + LIVE])
def test_what_breaks_off_takes_no_answer_of_those_before_it(
    generation: Generation, before: bytes
) -> None:
    """They came whole, and are answered; then the edge hangs up."""
    n_whole = before.count(b"HTTP/1.1")
    way = Way(generation, DirectProtocol)
    with structlog.testing.capture_logs() as told:
        said = way.talk([before + BROKEN])

    assert statuses(said) == [200] * n_whole
    assert said.count(b"connection: close") == 1
    codes: Any = way.counts[0]
    assert {code: n for code, n in codes.items() if n} == {"200": n_whole}
    assert told == []


def test_who_stops_in_the_middle_behind_others_gets_their_answers(generation: Generation) -> None:
    assert statuses(half_closed(generation, POST_BATCH + POST_BATCH[:-5])) == [200]


def test_behind_the_last_answer_nothing_is_decided(generation: Generation) -> None:
    """It would be counted and logged as shown, and nobody would see it."""
    way = Way(generation, DirectProtocol)

    async def ended() -> bytes:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        made.shutdown()
        made.data_received(post() * 8)
        said = await reader.read(-1)
        writer.close()
        return said

    said = way.run(ended())
    codes: Any = way.counts[0]
    assert (statuses(said), codes["200"]) == ([200], 1)


def test_an_old_caller_who_would_upgrade_is_hung_up_on_like_others(generation: Generation) -> None:
    line, rest = post().replace(b"HTTP/1.1", b"HTTP/1.0").split(b"\r\n", 1)
    hopeful = b"\r\n".join([line, *UPGRADE, b"Connection: Upgrade, HTTP2-Settings", rest])
    for asked in (hopeful, hopeful.replace(b"host: shop\r\n", b"")):
        said = Way(generation, DirectProtocol).talk([asked])
        assert statuses(said) == [200]
        assert b"connection: close" in said


def test_nobody_is_hung_up_on_while_an_answer_is_made(generation: Generation) -> None:
    """Though the answer before was given long ago."""
    way = Way(generation, DirectProtocol)

    async def kept() -> bytes:
        made, ours = await way.accept()
        reader, writer = await asyncio.open_connection(sock=ours)
        made.data_received(post() + POST_BATCH)
        made.timeout_keep_alive = 0
        made.timeout_keep_alive_handler()
        assert not made.transport.is_closing()
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read(-1)  # and then at once
        writer.close()
        return said

    assert statuses(way.run(kept())) == [200, 200]
