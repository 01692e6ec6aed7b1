"""The driver: as many requests arrive as were sent, and whatever goes wrong is counted."""

from __future__ import annotations

import pytest

from bench.http_answers import LOST, parsed_answer
from bench.http_load import Driver, drive
from bench.http_processes import free_port
from tests.bench.counting_server import CountingServer, request


@pytest.mark.parametrize("connections", [1, 2, 7])
def test_every_request_is_sent_once_and_answered_once(connections: int) -> None:
    wire = [request(b"fine"), request(b"pieces"), request(b"fine")]
    with CountingServer() as server:
        lap = drive(wire, server.port, connections=connections, start=1, n=31)

        # Numbers 1 to 31 of a list of three: eleven of them fall on the piecemeal one.
        assert server.asked == {b"pieces": 11, b"fine": 20}
        assert server.connections <= connections
    assert lap.errors == 0
    assert lap.statuses.tolist() == [200] * 31
    assert lap.sizes.tolist() == [3] * 31
    assert (lap.nanoseconds > 0).all()


def test_a_driver_of_its_own_does_the_same() -> None:
    with (
        CountingServer() as server,
        Driver({"one": [request(b"fine")], "other": [request(b"pieces")]}, ()) as driver,
    ):
        laps = [
            driver.lap(name, server.port, connections=3, start=0, n=20) for name in ("one", "other")
        ]

        assert server.asked == {b"fine": 20, b"pieces": 20}
    assert [lap.errors for lap in laps] == [0, 0]


def test_fewer_requests_than_connections_are_not_more() -> None:
    with CountingServer() as server:
        lap = drive([request(b"fine")], server.port, connections=8, start=0, n=3)

        assert server.asked == {b"fine": 3}
    assert lap.statuses.tolist() == [200] * 3


def test_refusals_are_errors_with_their_status() -> None:
    wire = [request(b"fine"), request(b"refuse")]
    with CountingServer() as server:
        lap = drive(wire, server.port, connections=1, start=0, n=4)

    assert lap.statuses.tolist() == [200, 503, 200, 503]
    assert lap.errors == 2


@pytest.mark.parametrize("bad", [b"vanish", b"endless", b"double"])
def test_what_is_no_answer_is_lost_and_the_next_connection_goes_on(bad: bytes) -> None:
    wire = [request(b"fine"), request(bad), request(b"fine")]
    with CountingServer() as server:
        lap = drive(wire, server.port, connections=1, start=0, n=6)

        assert server.asked == {b"fine": 4, bad: 2}
        assert server.connections == 3
    assert lap.statuses.tolist() == [200, LOST, 200, 200, LOST, 200]
    assert lap.errors == 2


def test_a_connection_that_the_server_ends_is_no_error() -> None:
    with CountingServer() as server:
        lap = drive([request(b"last")], server.port, connections=2, start=0, n=6)

        assert server.asked == {b"last": 6}
    assert lap.errors == 0


def test_a_dead_server_loses_every_request() -> None:
    lap = drive([request(b"fine")], free_port(), connections=2, start=0, n=10)

    assert lap.errors == 10


def test_an_answer_is_understood_only_when_it_is_whole() -> None:
    answer = (
        b"HTTP/1.1 404 Not Found\r\nServer-Timing: decide;dur=0.125\r\nContent-LENGTH:  2\r\n\r\n{}"
    )

    assert parsed_answer(answer) == (404, 2, 125.0, True)
    assert [parsed_answer(answer[:stop]) for stop in range(len(answer))] == [None] * len(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}",
    ],
)
def test_what_ends_nowhere_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"told|more than|invalid literal"):
        parsed_answer(answer)
