"""How a real edge lives: over sockets, with two workers, through signals and deaths."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.edge.running import Edge, called, eventually, get, limit_files, post, read_all

StartEdge = Callable[..., Edge]
BODY = b'{"customer_id": "ann", "k": 3}'
HEAD = (
    b"POST /v1/offers HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


def ask(edge: Edge, **body: Any) -> httpx2.Response:
    return post(f"{edge.url}/v1/offers", json=body)


def pids(edge: Edge) -> list[int]:
    return [worker["pid"] for worker in edge.status()["workers"]]


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def half_asked(edge: Edge) -> socket.socket:
    caller = called(edge)
    caller.sendall(HEAD + BODY[:10])
    return caller


def metric(edge: Edge, line: str) -> float:
    text = get(f"{edge.console}/metrics").text
    return sum(float(one.split()[-1]) for one in text.splitlines() if one.startswith(line))


def test_metrics_count_what_both_workers_answered(start_edge: StartEdge) -> None:
    """Counts over all workers equal what was sent, by status, placement and tier."""
    edge = start_edge()
    sent = 0

    def both_answered() -> bool:
        nonlocal sent
        assert ask(edge, customer_id="ann").status_code == 200
        assert ask(edge, placement="made up").status_code == 200
        assert ask(edge, k=0).status_code == 422
        sent += 1
        return all(worker["requests"] for worker in edge.status()["workers"])

    eventually(both_answered)

    assert metric(edge, 'almanac_requests_total{code="200"}') == 2 * sent
    assert metric(edge, 'almanac_requests_total{code="422"}') == sent
    ann = 'almanac_decisions_total{placement="default",tier="individual"}'
    assert metric(edge, ann) == sent
    assert metric(edge, 'almanac_decisions_total{placement="other"') == sent
    assert metric(edge, "almanac_decision_duration_seconds_count") == 2 * sent
    assert metric(edge, "almanac_requests_in_flight") == 0
    assert metric(edge, "almanac_worker_ready") == 2


def test_case_32_faiss_has_one_thread_in_each_worker(start_edge: StartEdge) -> None:
    """Set before anything is imported, whatever the environment of the edge says."""
    edge = start_edge()
    edge.event("serving")

    for pid in pids(edge):
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert [word for word in words if word.startswith(b"OMP_")] == [b"OMP_NUM_THREADS=1"]


def test_there_may_be_more_callers_than_files_are_open_by_default(
    start_edge: StartEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services begin with few, 1,024 as a rule, and may take what the system grants."""
    limit_files(monkeypatch, tmp_path, "-Sn 64")
    edge = start_edge(workers=1)

    with ExitStack() as callers:
        many = [callers.enter_context(called(edge)) for _ in range(200)]
        for caller in many:
            caller.sendall(HEAD + BODY)
        assert {caller.recv(12) for caller in many} == {b"HTTP/1.1 200"}


def test_an_edge_that_may_open_next_to_nothing_says_so(
    start_edge: StartEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_files(monkeypatch, tmp_path, "-n 127")

    code, said = start_edge(workers=1).ended()
    assert code == 2
    assert "a process may open 127 files here; an edge needs 128" in said
    assert "ulimit -Hn" in said
    assert "Traceback" not in said


def test_a_worker_s_own_memory_is_small(start_edge: StartEdge) -> None:
    """Tables are shared; what a worker has for itself is its interpreter and libraries."""
    edge = start_edge()
    assert ask(edge, customer_id="ann").status_code == 200

    for worker in edge.status()["workers"]:
        assert worker["private_bytes"] < 120e6
        assert worker["private_bytes"] + worker["shared_bytes"] == worker["resident_bytes"]


def test_termination_loses_no_request_in_flight(start_edge: StartEdge) -> None:
    """Requests half sent when SIGTERM comes are read to their end and answered; then exit 0."""
    edge = start_edge()
    callers = [half_asked(edge) for _ in range(8)]
    eventually(lambda: edge.status()["in_flight"] == len(callers))

    edge.terminate()
    edge.event("draining")
    for caller in callers:
        caller.sendall(BODY[10:])
    answers = [read_all(caller) for caller in callers]
    for caller in callers:
        caller.close()

    assert [answer.split(b" ")[1] for answer in answers] == [b"200"] * len(callers)
    assert all(b'"tier":"individual"' in answer for answer in answers)
    assert edge.ended()[0] == 0


def test_a_draining_edge_is_unready_and_still_answers(start_edge: StartEdge) -> None:
    """Load balancers get time to notice; a second signal cuts it short."""
    edge = start_edge(drain_delay_s=600)
    assert get(f"{edge.url}/readyz").status_code == 200

    edge.terminate()
    edge.event("draining")
    refused = get(f"{edge.url}/readyz?verbose")

    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    failed = [check["name"] for check in refused.json()["checks"] if not check["ok"]]
    assert failed == ["staying"]
    assert get(f"{edge.console}/readyz").status_code == 503
    assert ask(edge, customer_id="ann").status_code == 200
    edge.terminate()
    assert edge.ended()[0] == 0


def test_a_killed_worker_is_replaced(start_edge: StartEdge) -> None:
    """Kill -9 of one worker: the other goes on answering, a new one comes, counts stay."""
    edge = start_edge()
    before = pids(edge)
    assert all(ask(edge).status_code == 200 for _ in range(10))
    # A request is counted after its answer was sent; a killed worker would take the last with it.
    eventually(lambda: edge.status()["requests"]["total"] == 10)

    os.kill(before[0], signal.SIGKILL)
    edge.event("worker died")
    assert all(ask(edge).status_code == 200 for _ in range(10))
    eventually(lambda: all(worker["ready"] for worker in edge.status()["workers"]))

    after = edge.status()
    assert after["workers"][0]["pid"] not in {0, before[0]}
    assert after["workers"][1]["pid"] == before[1]
    assert [worker["restarts"] for worker in after["workers"]] == [1, 0]
    eventually(lambda: edge.status()["requests"]["total"] == 20)
    edge.terminate()
    code, said = edge.ended()
    assert code == 0
    assert "SIGKILL" in said


def test_workers_do_not_outlive_a_killed_supervisor(start_edge: StartEdge) -> None:
    """Orphans would hold the port."""
    edge = start_edge()
    workers = pids(edge)

    edge.process.kill()

    eventually(lambda: not any(is_alive(pid) for pid in workers))


def test_a_body_without_length_is_limited_too(start_edge: StartEdge) -> None:
    """A chunked body that grows past the limit gets a problem document a page can read."""
    edge = start_edge(max_body_bytes=2048)
    chunks = (b" " * 1000 for _ in range(20))
    headers = {"origin": "https://shop.example", "content-type": "application/json"}

    refused = post(f"{edge.url}/v1/offers", content=chunks, headers=headers)

    assert refused.status_code == 413
    assert refused.json()["status"] == 413
    assert refused.headers["access-control-allow-origin"] == "*"


def test_a_taken_port_is_wrong_use(start_edge: StartEdge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = start_edge(port=port).ended()

    assert code == 2
    assert f"127.0.0.1:{port} can't be listened on" in said


def test_of_two_that_begin_at_once_at_one_port_one_ends(start_edge: StartEdge) -> None:
    """Else both would come to listen there, and each would get half of what is asked."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    edges = [start_edge(port=port, workers=1) for _ in range(2)]

    eventually(lambda: any(edge.process.poll() is not None for edge in edges))
    late, first = sorted(edges, key=lambda edge: edge.process.poll() is None)
    code, said = late.ended()

    assert code == 2
    assert f"127.0.0.1:{port} can't be listened on: Address already in use" in said
    assert first.port == port
    assert ask(first, customer_id="ann").status_code == 200


def test_a_missing_snapshot_is_not_found(start_edge: StartEdge, tmp_path: Path) -> None:
    code, said = start_edge(snapshot=tmp_path / "missing").ended()

    assert code == 4
    assert "nothing is there" in said


def test_an_incomplete_snapshot_is_not_served(
    start_edge: StartEdge, toy_dir: Path, tmp_path: Path
) -> None:
    """The exit code is the one `almanac verify` would end with."""
    copy = tmp_path / "copy"
    shutil.copytree(toy_dir, copy)
    (copy / "model.msgpack").unlink()

    code, said = start_edge(snapshot=copy, workers=1).ended()

    assert code == 3
    assert "model.msgpack" in said


def test_a_file_of_the_settings_that_is_none_is_wrong_use(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    (tmp_path / "people.json").write_text("{")

    code, said = start_edge(storefront="yes", personas=tmp_path / "people.json", workers=1).ended()

    assert code == 2
    assert "people.json" in said


@pytest.mark.slow
def test_workers_that_never_live_end_the_edge(
    start_edge: StartEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some deaths in a row the edge gives up and says so, instead of restarting for ever."""
    (tmp_path / "lmdb.py").write_text("raise RuntimeError('no such engine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    code, said = start_edge().ended()

    assert code == 1
    assert "no worker stays alive" in said
    assert "no such engine" in said
    assert said.count('"event":"worker died"') >= 4


def test_another_brand_s_secret_is_refused(start_edge: StartEdge, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another secret entirely")

    code, said = start_edge(secret_file=tmp_path / "other", workers=1).ended()

    assert code == 3
    assert "hint: give the brand's secret" in said
