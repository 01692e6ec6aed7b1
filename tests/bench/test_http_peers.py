"""Contenders with a server of their own: real ones where installed, else a stated reason."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from bench.http import Plan, measure_http
from bench.http_answers import offers_in
from bench.http_contenders import check_answers, exchange, load_lists, redis_server, served
from bench.http_figures import summary_of
from bench.http_ground import INTERPRETER, Ground, PeerMissing
from bench.http_peers import PeerName, peer
from bench.http_report import dependence_table, skipped_lines
from bench.http_requests import checkable_bodies
from bench.peers import nginx_files
from bench.synthetic import Shape
from index.generation import Generation

PEERS = os.environ.get(INTERPRETER, ".venv-peers/bin/python")
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
needs_peers = pytest.mark.skipif(
    shutil.which(PEERS) is None, reason=f"there is no {PEERS}: make peers"
)


@pytest.fixture
def ground(generation: Generation, shape: Shape, tmp_path: Path) -> Ground:
    return Ground(generation=generation, shape=shape, folder=tmp_path, socket=None)


@pytest.fixture
def open_ground(ground: Ground) -> Iterator[Ground]:
    """A folder that nginx's worker may look into, who may be another user; pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="almanac-test-") as name:
        yield replace(ground, folder=Path(name))


@needs_nginx
def test_nginx_sends_the_file_of_whoever_asks(open_ground: Ground, shape: Shape) -> None:
    ground = open_ground
    contender, server = peer("nginx", ground)

    with served(contender, server, folder=ground.folder) as (measured, port):
        before_ns = measured.cpu_ns()
        check_answers(contender, port, checkable_bodies(shape, 50))

        assert len(measured.pids) == 2  # a worker beside the one that watches it
        assert measured.cpu_ns() > before_ns
        assert exchange(port, nginx_files.request("nobody"))[0] == 404
    assert len(list((ground.folder / "nginx" / "lists").iterdir())) == shape.n_customers + 1


def test_nginx_is_asked_for_the_customer_or_for_the_popular_list() -> None:
    assert nginx_files.request("customer-7").startswith(b"GET /customer-7 HTTP/1.1\r\n")
    assert nginx_files.request(None).startswith(b"GET /popular HTTP/1.1\r\n")


@pytest.mark.parametrize("name", ["feast", "model", "nginx", "scikit"])
def test_an_absent_contender_says_what_is_missing_and_how_to_get_it(
    name: PeerName, ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(INTERPRETER, str(tmp_path / "python"))

    with pytest.raises(PeerMissing) as missing:
        peer(name, ground)

    assert missing.value.exit_code == 4
    assert missing.value.hint.startswith(("apt-get install nginx", "make peers"))


def test_a_run_goes_on_without_who_is_absent_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(INTERPRETER, str(tmp_path / "python"))
    plan = Plan(
        shape=Shape(n_customers=1000, n_offers=1000),
        rounds=1,
        requests=20,
        connections=2,
        rate=500.0,
        servers=("uvicorn",),
        with_redis=False,
        peers=("model",),
    )

    run = measure_http(plan)

    assert {one.contender for one in run.turns} == {"edge", "edge-heads", "edge-asgi", "no-op"}
    (line,) = skipped_lines(summary_of(run)["facts"]["skipped"])
    assert line.startswith("model took no part: there is no ")
    assert dependence_table(run.facts["depends_on"]).splitlines()[1].split() == ["edge"] + 3 * [
        "yes"
    ]


def test_offers_are_found_in_an_answer_and_in_what_is_essential_of_one() -> None:
    assert offers_in(b'{"offers":[{"offer_id":"a"},{"offer_id":"b"}]}') == ["a", "b"]
    assert offers_in(orjson.dumps(["a", "b"])) == ["a", "b"]


@pytest.mark.slow
@needs_peers
@pytest.mark.parametrize("name", ["model", "scikit"])
def test_a_model_answers_what_it_learned(name: PeerName, ground: Ground, shape: Shape) -> None:
    contender, server = peer(name, ground)

    with served(contender, server, folder=ground.folder) as (_, port):
        check_answers(contender, port, checkable_bodies(shape, 50))


@pytest.mark.slow
@needs_peers
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_feast_answers_the_lists_it_was_given(
    generation: Generation, shape: Shape, tmp_path: Path
) -> None:
    socket = tmp_path / "redis.sock"
    with redis_server(tmp_path):
        load_lists(generation, socket, shape)
        contender, server = peer(
            "feast", Ground(generation=generation, shape=shape, folder=tmp_path, socket=socket)
        )
        with served(contender, server, folder=tmp_path) as (measured, port):
            check_answers(contender, port, checkable_bodies(shape, 50))
            assert len(measured.pids) > 1


def test_feast_without_redis_says_that_it_stands_on_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    monkeypatch.setenv(INTERPRETER, str(python))

    with pytest.raises(PeerMissing, match="Feast stands on Redis"):
        peer("feast", ground)
