"""Callers who speak HTTP badly, slowly, or not at all, at a real edge."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.edge.running import Edge, StartEdge, called, eventually, read_all

POST = b"POST /v1/offers HTTP/1.1\r\nhost: shop\r\n"
GET = b"GET /v1/offers HTTP/1.1\r\nhost: shop\r\n\r\n"


def said_to(edge: Edge, *pieces: bytes) -> bytes:
    """All that is said until the edge hangs up."""
    with called(edge) as caller:
        for piece in pieces:
            caller.sendall(piece)
        return read_all(caller)


def problem_in(said: bytes) -> dict[str, Any]:
    """The problem document of an answer that ends the connection."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"\r\ncontent-type: application/problem+json" in head
    assert b"\r\nconnection: close" in head
    found: dict[str, Any] = json.loads(body)
    assert int(head.split(b" ")[1]) == found["status"]
    return found


@pytest.fixture(scope="module")
def shared_edge(start_shared_edge: StartEdge) -> Edge:
    return start_shared_edge(workers=1)


@pytest.fixture(scope="module")
def hasty_edge(start_shared_edge: StartEdge) -> Edge:
    """It waits for nobody longer than a second."""
    return start_shared_edge(workers=1, keep_alive_s=1)


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    """It is done with whoever came before."""
    eventually(lambda: shared_edge.status()["in_flight"] == 0)
    return shared_edge


def test_what_is_not_http_gets_a_problem_document(edge: Edge) -> None:
    """Also a length that is said in two ways, which others in between may read differently."""
    for asked in (
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"hello\r\n\r\n",
        POST + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        POST + b"x-folded: a\r\n b\r\ncontent-length: 2\r\n\r\n{}",
        POST + b"content-length : 2\r\n\r\n{}",
        POST + b"transfer-encoding: chunked\r\n\r\nno number\r\n",
    ):
        found = problem_in(said_to(edge, asked))
        assert found["type"] == "urn:almanac:problem:bad-request"
        assert "Content-Length or by Transfer-Encoding" in found["detail"]


def test_whoever_asks_says_once_whom(edge: Edge) -> None:
    """Who stands in between could read another one of two hosts than we do."""
    before = edge.answered()
    post = POST + b"content-length: 2\r\n\r\n{}"
    for asked in (post, GET):
        unnamed = asked.replace(b"host: shop\r\n", b"")
        for wrong in (unnamed, asked.replace(b"shop\r\n", b"shop\r\nHost: shop\r\n")):
            assert "by Host" in problem_in(said_to(edge, wrong))["detail"]
        # Probes of balancers speak like that.
        old = said_to(edge, unnamed.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert old.startswith(b"HTTP/1.1 200 OK\r\n")
    # Not even where the same head came before, but for that.
    twice = POST + b"Host: shop\r\ncontent-length: 2\r\n\r\n{}"
    assert said_to(edge, post, post, twice).count(b"HTTP/1.1 400 ") == 1

    assert edge.answered() - before == {"200": 4, "400": 5}


def test_nonsense_takes_nobody_s_answer(edge: Edge) -> None:
    """What came before it is answered; then the edge hangs up."""
    said = said_to(edge, GET + b"nonsense\r\n\r\n")

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in said


def test_who_asks_much_and_reads_nothing_is_no_failure_of_ours(start_edge: StartEdge) -> None:
    """When such a caller hangs up, nothing is counted as failed and nothing stays in flight."""
    edge = start_edge(workers=1)
    asked = (POST + b"content-length: 2\r\n\r\n{}") * 50
    with called(edge) as caller, suppress(TimeoutError):
        caller.settimeout(1)
        while True:
            caller.sendall(asked)

    eventually(lambda: edge.status()["in_flight"] == 0)
    assert edge.status()["requests"]["codes"].keys() == {"200"}
    edge.terminate()
    assert "request failed" not in edge.ended()[1]


def test_who_asks_for_http_2_is_answered_in_http_1(start_edge: StartEdge) -> None:
    """The request is whole although the server can't grant the wish, which it need not."""
    edge = start_edge(workers=1)
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    last = POST + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
    for pieces in ((b'{"k":2}',), (b"", b'{"k":2}')):
        asked = POST + wish + b"content-length: 7\r\n\r\n" + pieces[0]
        said = said_to(edge, asked, *pieces[1:], last)
        assert said.count(b"HTTP/1.1 200 OK\r\n") == 2
    edge.terminate()
    assert "pgrade" not in edge.ended()[1]


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"GET /", b"a"),
        (b"GET /livez HTTP/1.1\r\nx-long: ", b"a"),
        (b"GET /livez HTTP/1.1\r\n", b"x-many: a\r\n"),
        (POST + b"transfer-encoding: chunked\r\n\r\n1;", b"a"),
        (POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"x-behind: a\r\n"),
    ],
    ids=["path", "header", "headers", "chunk", "behind the body"],
)
def test_what_is_beside_a_body_has_a_bound(edge: Edge, begun: bytes, more: bytes) -> None:
    """Its bytes are kept until the request is whole, and some callers never come to an end."""
    piece = more * (20_000 // len(more))
    with called(edge) as caller, suppress(ConnectionError):
        caller.sendall(begun)
        for _ in range(1000):
            caller.sendall(piece)
        pytest.fail("20 MB of it were taken")

    long = b"x-long: " + b"a" * 60_000
    usual = POST + long + b"\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
    assert said_to(edge, usual[:100], usual[100:]).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_head_without_end_is_refused(edge: Edge) -> None:
    before = edge.answered()
    found = problem_in(said_to(edge, b"GET /", b"a" * 400_000))

    assert found["title"] == "Request Header Fields Too Large"
    assert "more than 65536 bytes besides its body" in found["detail"]
    assert edge.answered() - before == {"431": 1}


def test_who_is_refused_while_saying_more_can_read_why(edge: Edge) -> None:
    """A connection that is closed with something unread takes back what was said over it."""
    before = edge.answered()
    with called(edge) as caller:
        caller.sendall(b"GET /" + b"a" * 300_000)
        eventually(lambda: edge.answered() - before == {"431": 1})
        for _ in range(2):
            caller.sendall(b"a" * 50_000)
        said = read_all(caller)

    assert problem_in(said)["status"] == 431
    eventually(lambda: edge.status()["in_flight"] == 0)


def test_an_id_of_any_length_is_cut_in_answers_and_refusals_alike(edge: Edge) -> None:
    """A refusal says it twice, and in three or six letters where a header can't carry it."""
    head = POST + b"connection: close\r\nx-request-id: " + b"\xe4" * 60_000
    ids = set()
    for body in (b"{}", b"[]", b""):
        said = said_to(edge, head + b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        (line,) = (one for one in said.split(b"\r\n") if one.startswith(b"x-request-id: "))
        ids.add(line.partition(b": ")[2])

    assert ids == {b"%C3%A4" * 128}


def test_who_says_no_more_and_listens_is_answered(edge: Edge) -> None:
    """Whatever takes several turns, or waits for something that does."""
    batch = b'{"requests":[%b]}' % b",".join([b'{"k":40,"explain":true}'] * 100)
    asked = POST.replace(b" HTTP", b":batch HTTP") + b"content-length: %d\r\n\r\n" % len(batch)
    usual = POST + b"content-length: 2\r\n\r\n{}"
    for stream, n_answers in (
        (asked + batch, 1),
        (usual + GET * 5 + usual, 7),
        (GET + usual[:-1], 1),
    ):
        with called(edge) as caller:
            caller.sendall(stream)
            caller.shutdown(socket.SHUT_WR)
            said = read_all(caller)
        assert said.count(b"HTTP/1.1 200 OK\r\n") == n_answers
        assert said.endswith(b"}")
    eventually(lambda: edge.status()["in_flight"] == 0)


def test_what_comes_behind_a_body_is_no_header(edge: Edge) -> None:
    """Nobody in between has looked at it."""
    body = b"2\r\n{}\r\n0\r\nx-request-id: behind\r\ncontent-type: text/html\r\n\r\n"
    head = POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"

    said = said_to(edge, head + body)

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"behind" not in said


def test_who_does_not_go_on_is_hung_up_on(hasty_edge: Edge) -> None:
    """Else each would keep a connection, and a request in flight, for ever."""
    before = hasty_edge.answered()
    with ExitStack() as callers:
        silent, *others = (callers.enter_context(called(hasty_edge)) for _ in range(5))
        for caller, begun in zip(
            others,
            (
                POST[:-9],
                POST + b"content-length: 2\r\n\r\n{",
                POST + b"content-length: 9999999\r\n\r\n{",
                POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
            ),
            strict=True,
        ):
            caller.sendall(begun)
        assert read_all(silent) == b""
        for caller in others:
            assert problem_in(read_all(caller))["title"] == "Request Timeout"

    eventually(lambda: hasty_edge.status()["in_flight"] == 0)
    assert hasty_edge.answered() - before == {"408": 4}


def test_who_does_not_read_is_hung_up_on(hasty_edge: Edge) -> None:
    asked = (POST + b"content-length: 2\r\n\r\n{}") * 50

    with called(hasty_edge) as caller, suppress(ConnectionError):
        while True:
            caller.sendall(asked)

    eventually(lambda: hasty_edge.status()["in_flight"] == 0)


def test_who_asks_now_and_then_is_not_hung_up_on(start_edge: StartEdge) -> None:
    """Also in pieces, and over a connection that is older than an idle one may be."""
    edge = start_edge(workers=1, keep_alive_s=2)
    asked = POST + b"content-length: 2\r\n\r\n{}"

    with called(edge) as caller:
        for _ in range(4):
            caller.sendall(asked[:-1])
            time.sleep(1)
            caller.sendall(asked[-1:])
            assert caller.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
