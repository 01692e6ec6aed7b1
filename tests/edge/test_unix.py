"""A Unix socket beside the TCP address, and workers that stay on one core."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from edge.errors import AddressTaken
from edge.listeners import UnixSocket
from tests.edge.running import TRUSTS_NOBODY, Edge, eventually, post

StartEdge = Callable[..., Edge]
BODY = {"customer_id": "ann", "request_id": "r", "at": "2025-12-01T12:00:00Z"}


def ask(path: Path) -> httpx2.Response:
    there = httpx2.HTTPTransport(uds=str(path), verify=TRUSTS_NOBODY)
    with httpx2.Client(transport=there) as client:
        return client.post("http://shop/v1/offers", json=BODY)


def test_all_workers_answer_at_both_addresses(start_edge: StartEdge, tmp_path: Path) -> None:
    """Also one that took a dead one's place, and with the very same bytes.

    The file has the mode that was asked for, and is gone with the edge; each worker has one core.
    """
    path, cores = tmp_path / "almanac.sock", sorted(os.sched_getaffinity(0))
    edge = start_edge(unix=path, unix_mode="600", pin="yes")
    assert edge.event("serving")["unix"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.kill(edge.status()["workers"][0]["pid"], signal.SIGKILL)
    edge.event("worker died")
    eventually(lambda: all(worker["ready"] for worker in edge.status()["workers"]))
    workers = [worker["pid"] for worker in edge.status()["workers"]]

    os.kill(workers[1], signal.SIGSTOP)
    try:
        answers = [ask(path) for _ in range(5)]
    finally:
        os.kill(workers[1], signal.SIGCONT)

    assert [answer.status_code for answer in answers] == [200] * 5
    there = post(f"{edge.url}/v1/offers", json=BODY)
    assert {answer.content for answer in answers} == {there.content}
    assert [os.sched_getaffinity(pid) for pid in workers] == [{cores[0]}, {cores[1 % len(cores)]}]
    assert os.sched_getaffinity(edge.process.pid) == set(cores)
    edge.terminate()
    assert edge.ended()[0] == 0
    assert not path.exists()


def test_what_a_killed_edge_left_behind_is_replaced(start_edge: StartEdge, tmp_path: Path) -> None:
    path = tmp_path / "almanac.sock"
    first = start_edge(unix=path, workers=1)
    first.event("serving")
    first.kill()
    assert path.exists()
    eventually(lambda: not _is_answered(path))

    second = start_edge(unix=path, workers=1)
    second.event("serving")

    assert ask(path).status_code == 200


def test_somebody_else_s_socket_is_left_alone(start_edge: StartEdge, tmp_path: Path) -> None:
    path = tmp_path / "almanac.sock"
    with UnixSocket(path, 0o660):
        code, said = start_edge(unix=path, workers=1).ended()

    assert code == 2
    assert f"{path} can't be listened on: somebody listens there" in said
    assert not path.exists()


@pytest.mark.parametrize("what", ["a file", "no folder", "too long"])
def test_a_path_that_can_t_be_a_socket_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "almanac.sock"
    if what == "a file":
        path.write_text("mine")
    elif what == "no folder":
        path = tmp_path / "missing" / "almanac.sock"
    else:
        path = tmp_path / ("a" * 200)

    with pytest.raises(AddressTaken, match="can't be listened on"):
        UnixSocket(path, 0o660)

    assert what != "a file" or path.read_text() == "mine"


def test_closing_takes_away_one_s_own_socket_only(tmp_path: Path) -> None:
    path = tmp_path / "almanac.sock"
    mine = UnixSocket(path, 0o660)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))

        mine.close()

        assert path.exists()


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
