"""Files that change under workers that have them mapped, as only root or a bad disk can do it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import orjson
import pytest

from index.decide import decide
from index.encode import decision_json
from index.manifest import check_digest, read_manifest
from index.request import Request
from index.snapshot import open_snapshot
from tests.edge.node.world import N_SHOPS, World
from tests.edge.running import Edge, StartEdge, eventually, post
from tests.toys import SECRET

TABLE = "contexts.lmdb"
"""Of the tables, the one that no two snapshots of the world share."""
ASKED = {
    "customer_id": "ann",
    "k": 8,
    "at": "2026-01-02T10:00:00Z",
    "request_id": "1",
    # A worker keeps decoded what it was asked before; the last shop it has to read.
    "context": {"device": "desktop", "store": f"shop-{N_SHOPS - 1}"},
    "cart": [{"item_id": "item-001", "category": "food > bread"}],
}


def expected(world: World) -> dict[str, Any]:
    """By snapshot id: what is answered, decided in this process."""
    found = {}
    for letter, snapshot_id in world.ids.items():
        with open_snapshot(world.built(letter), SECRET) as opened:
            decision = decide(opened, msgspec.convert(ASKED, Request))
            found[snapshot_id] = orjson.loads(decision_json(decision))["offers"]
    return found


def ask(edge: Edge) -> dict[str, Any] | None:
    """An answer over a connection of its own; None where the worker died of the question."""
    try:
        answer = post(f"{edge.url}/v1/offers", json=ASKED)
    except httpx2.HTTPError:
        return None
    assert answer.status_code == 200
    return dict(answer.json())


def serves(edge: Edge, snapshot_id: str) -> bool:
    status = edge.status()
    return bool(
        status["snapshot"]
        and status["snapshot"]["snapshot_id"] == snapshot_id
        and all(worker["ready"] for worker in status["workers"])
    )


def mapped(world: World, letter: str) -> Path:
    """The object that workers have mapped as this snapshot's table; anybody may write it now."""
    path = (world.folder.snapshot(world.ids[letter]) / TABLE).resolve()
    path.chmod(0o644)
    return path


def test_cases_23_and_36_a_file_cut_under_its_readers_sends_the_node_back_by_itself(
    world: World, start_node: StartEdge
) -> None:
    """Workers die of a real SIGBUS, and the store has lost its files: nothing can be mended."""
    right, a, b = expected(world), world.ids["a"], world.ids["b"]
    edge = start_node(world, watch_s=3600)
    eventually(lambda: serves(edge, a))
    world.announce("b")
    eventually(lambda: serves(edge, b))
    objects, away = world.address / "objects", world.address / "away"
    objects.rename(away)
    os.truncate(mapped(world, "b"), 0)
    answers: list[dict[str, Any] | None] = []

    def went_back() -> bool:
        answers.append(ask(edge))
        return bool(edge.status()["swaps"].get("reverted", 0) == 1)

    eventually(went_back)
    eventually(lambda: serves(edge, a))
    answers += [ask(edge) for _ in range(6)]

    told = edge.event("going back")
    assert (told["snapshot_id"], told["to"]) == (b, a)
    assert told["reason"].startswith("3 workers died of it")
    assert edge.event("worker died")["cause"] == "SIGBUS"
    assert list(world.standing.quarantined) == [b]
    assert [one and one["snapshot_id"] for one in answers[-6:]] == [a] * 6

    # Only this disk had it damaged: fetched anew, it gets another chance.
    away.rename(objects)
    eventually(lambda: serves(edge, b))
    answers += [ask(edge) for _ in range(6)]
    assert world.standing.quarantined == {}
    assert [one and one["snapshot_id"] for one in answers[-6:]] == [b] * 6
    assert all(one["offers"] == right[one["snapshot_id"]] for one in answers if one)


@pytest.mark.parametrize("watch_s", [0, 3600], ids=["proved good", "on trial"])
def test_case_23_a_file_cut_under_its_readers_is_fetched_anew(
    world: World, start_node: StartEdge, watch_s: int
) -> None:
    right, b = expected(world), world.ids["b"]
    edge = start_node(world, watch_s=watch_s)
    world.announce("b")
    eventually(lambda: serves(edge, b) and edge.status()["swaps"]["swapped"] == 1)
    path = mapped(world, "b")
    os.truncate(path, 0)

    first = ask(edge)
    eventually(lambda: edge.status()["swaps"]["swapped"] >= 2 and serves(edge, b))
    answers = [ask(edge) for _ in range(6)]

    assert first is None
    assert edge.event("worker died")["cause"] == "SIGBUS"
    assert [one and one["offers"] for one in answers] == [right[b]] * 6
    assert world.standing.quarantined == {}
    assert path.stat().st_mode & 0o777 == 0o444


def test_case_23_a_cut_file_that_can_not_be_fetched_is_mended_once_it_can(
    world: World, start_node: StartEdge
) -> None:
    """What proved good is all there is: without it nobody answers, and nobody need do anything."""
    right, a = expected(world), world.ids["a"]
    edge = start_node(world, watch_s=0)
    eventually(lambda: serves(edge, a))
    objects, away = world.address / "objects", world.address / "away"
    objects.rename(away)
    os.truncate(mapped(world, "a"), 0)

    def nobody_answers() -> bool:
        ask(edge)
        return not any(worker["ready"] for worker in edge.status()["workers"])

    eventually(nobody_answers)
    away.rename(objects)
    eventually(lambda: serves(edge, a))
    answers = [ask(edge) for _ in range(6)]

    assert [one and one["offers"] for one in answers] == [right[a]] * 6
    assert world.standing.quarantined == {}


def test_case_24_a_file_that_was_copied_over_in_place_is_replaced(
    world: World, start_node: StartEdge
) -> None:
    """Until the node has noticed, answers may be the other file's: LMDB has no checksums."""
    right, a = expected(world), world.ids["a"]
    edge = start_node(world, watch_s=0)
    eventually(lambda: serves(edge, a))
    path = mapped(world, "a")
    inode = path.stat().st_ino
    shutil.copyfile(world.built("b") / TABLE, path)
    assert path.stat().st_ino == inode

    eventually(lambda: path.stat().st_ino != inode)
    eventually(lambda: edge.status()["swaps"].get("swapped", 0) >= 1 and serves(edge, a))
    entry = next(e for e in read_manifest(world.built("a")).files if e.name == TABLE)
    check_digest(world.folder.snapshot(a), entry)
    for _ in range(6):
        answer = ask(edge)
        assert answer is not None
        assert answer["offers"] == right[a]
