"""Every contender as a real process: it answers rightly, and what it costs is really its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from almanac import main
from bench.http_contenders import (
    SERVERS,
    Contender,
    RedisMissing,
    ServerName,
    ask,
    check_answers,
    edge,
    load_lists,
    no_op,
    ready_list,
    redis_lists_of,
    redis_server,
    served,
)
from bench.http_processes import ServerFailed, running
from bench.http_requests import CART_ITEMS, checkable_bodies, request_bodies
from bench.http_wire import on_the_wire
from bench.synthetic import Shape
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.request import Request

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


@pytest.fixture(scope="session")
def redis_contender(
    generation: Generation, shape: Shape, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Contender]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_server(folder):
        load_lists(generation, folder / "redis.sock", shape)
        yield redis_lists_of(generation, folder / "redis.sock")


@pytest.mark.parametrize("server", SERVERS)
def test_the_edge_answers_what_is_decided(
    server: ServerName, generation: Generation, shape: Shape, tmp_path: Path
) -> None:
    with served(edge(generation), server, folder=tmp_path) as (_, port):
        for body in checkable_bodies(shape, 20):
            request = msgspec.json.decode(body, type=Request)

            assert ask(port, body) == (200, decision_json(decide(generation, request)))


@pytest.mark.parametrize("server", SERVERS)
def test_the_no_op_answers_the_same_whatever_it_reads(server: ServerName, tmp_path: Path) -> None:
    with served(no_op(b'{"always":1}', tmp_path), server, folder=tmp_path) as (_, port):
        assert ask(port, b"{}") == (200, b'{"always":1}')
        assert ask(port, b"x" * 300_000) == (200, b'{"always":1}')


@needs_redis
@pytest.mark.parametrize("server", SERVERS)
def test_redis_answers_the_stored_list_and_strangers_the_popular_one(
    server: ServerName, redis_contender: Contender, generation: Generation, tmp_path: Path
) -> None:
    bodies = {
        b'{"customer_id":"customer-11","cart":[{"item_id":"item-3"}]}': "customer-11",
        b'{"customer_id":"customer-999"}': "customer-999",
        b'{"customer_id":"nobody we know"}': None,
        b"{}": None,
    }
    with served(redis_contender, server, folder=tmp_path) as (_, port):
        for body, customer in bodies.items():
            assert ask(port, body) == (200, ready_list(generation, customer))


@needs_redis
def test_lists_of_customers_differ(generation: Generation) -> None:
    lists = {ready_list(generation, f"customer-{number}") for number in range(1, 10)}

    assert len({*lists, ready_list(generation, None)}) == 10


def test_a_wrong_answer_stops_the_measurement(tmp_path: Path) -> None:
    honest = no_op(b"{}", tmp_path)
    suspicious = Contender(
        name=honest.name, factory=honest.factory, env=honest.env, right_answer=lambda _: b"[]"
    )
    with (
        served(honest, "uvicorn", folder=tmp_path) as (_, port),
        pytest.raises(ServerFailed, match=r"no-op answers \{\} with 200"),
    ):
        check_answers(suspicious, port, [b"{}"])


@pytest.mark.parametrize("server", SERVERS)
def test_work_is_charged_to_the_processes_that_did_it(server: ServerName, tmp_path: Path) -> None:
    with served(no_op(b"{}", tmp_path), server, folder=tmp_path) as (measured, port):
        before_ns = measured.cpu_ns()
        for _ in range(50):
            ask(port, b"{}")

        assert measured.cpu_ns() > before_ns
        # Both clocks tell of the same work; one counts in hundredths of a second, per process.
        user_s, system_s = measured.user_and_system_s()
        assert measured.cpu_ns() / 1e9 == pytest.approx(user_s + system_s, abs=0.5)
    with pytest.raises(ServerFailed, match="ended while it was measured"):
        measured.cpu_ns()


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such snapshot')"]
    with (
        pytest.raises(ServerFailed, match="broken does not answer") as failed,
        running("broken", command, answers=lambda: False, folder=tmp_path),
    ):
        pytest.fail("it never ran")

    assert failed.value.hint == "it said: no such snapshot"


def test_a_process_runs_where_it_was_put_and_ends(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with running(
        "sleeper", command, answers=lambda: True, folder=tmp_path, cores={core}
    ) as measured:
        assert os.sched_getaffinity(measured.pids[0]) == {core}
    with pytest.raises(ProcessLookupError):
        os.kill(measured.pids[0], 0)


def test_without_redis_server_there_is_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RedisMissing, match="redis-server is not installed"):
        redis_server(tmp_path)


def test_the_verb_without_redis_server_ends_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["bench", "http", "--customers=1000"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: redis-server is not installed" in err
    assert "hint: apt-get install redis-server (Debian, Ubuntu), or leave" in err


def test_four_of_five_requests_know_their_customer(shape: Shape) -> None:
    bodies = [msgspec.json.decode(body) for body in request_bodies(shape, 2000)]

    assert 0.77 < sum("customer_id" in body for body in bodies) / 2000 < 0.83
    assert {len(body["cart"]) for body in bodies} == {CART_ITEMS}
    assert all(
        body["context"].keys() == {"device", "referrer_source", "country"} for body in bodies
    )
    assert request_bodies(shape, 2000) == request_bodies(shape, 2000)


def test_a_request_on_the_wire_declares_its_length() -> None:
    head, _, body = on_the_wire(b'{"k":3}').partition(b"\r\n\r\n")

    assert body == b'{"k":3}'
    assert head.endswith(b"content-length: 7")
