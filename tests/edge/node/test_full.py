"""A node with as many callers as the system grants files."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.edge.node.test_node import serves
from tests.edge.node.world import World
from tests.edge.running import StartEdge, called, eventually, limit_files, read_all
from tests.edge.test_serve import BODY, HEAD, ask, metric


def test_case_41_a_snapshot_is_taken_also_where_callers_take_all_they_can(
    world: World, start_node: StartEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the node would refuse a good snapshot for the rest of its days, at the peak of them."""
    limit_files(monkeypatch, tmp_path, "-n 256")
    edge = start_node(world, workers=1, keep_alive_s=60)
    eventually(lambda: serves(edge, world.ids["a"]))

    with ExitStack() as callers:
        many = [callers.enter_context(called(edge)) for _ in range(300)]
        told = [read_all(caller) for caller in many[128:176]]
        assert {one[:12] for one in told} == {b"HTTP/1.1 503"}
        assert all(b"retry-after: 1" in one and b"as many connections" in one for one in told)
        assert {hung_up(caller) for caller in many[176:]} == {b""}

        world.announce("b")
        eventually(lambda: serves(edge, world.ids["b"]))
        assert not world.standing.quarantined

        for caller in many[:128]:
            caller.sendall(HEAD + BODY)
        assert {caller.recv(12) for caller in many[:128]} == {b"HTTP/1.1 200"}
    refused = metric(edge, 'almanac_requests_total{code="503"}')
    assert refused == 172

    eventually(lambda: ask(edge).status_code == 200)


def hung_up(caller: socket.socket) -> bytes:
    """What is said to somebody on whom the other side may have hung up already."""
    try:
        return read_all(caller)
    except ConnectionResetError:
        return b""


def test_case_42_where_there_is_no_memory_the_snapshot_rests_and_is_not_refused(
    world: World, start_node: StartEdge
) -> None:
    edge = start_node(world, workers=1)
    eventually(lambda: serves(edge, world.ids["a"]))
    (worker,) = edge.status()["workers"]
    pages = int(Path(f"/proc/{worker['pid']}/statm").read_text().split()[0])
    _, hard = resource.prlimit(worker["pid"], resource.RLIMIT_AS)
    # Room for an answer, not for another snapshot.
    room = pages * resource.getpagesize() + (64 << 10)
    resource.prlimit(worker["pid"], resource.RLIMIT_AS, (room, hard))

    world.announce("b")
    eventually(lambda: (edge.status()["sync"] or {}).get("failure") == "unfit")
    assert "Cannot allocate memory" in edge.status()["sync"]["detail"]
    assert not world.standing.quarantined
    assert serves(edge, world.ids["a"])
    assert ask(edge).status_code == 200
