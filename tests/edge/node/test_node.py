"""A whole node: real processes that follow a signed channel and change over under load."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

import msgspec
import orjson

from index.decide import decide
from index.encode import decision_json
from index.request import Request
from index.shipping import channel_changes as changes
from index.shipping import overlay_changes
from index.shipping.channel_changes import Stamp
from index.shipping.overlay_store import write_overlay
from index.snapshot import open_snapshot
from tests.edge.node.world import BRAND, CHANNEL, DAY, NOW, World
from tests.edge.running import PATIENCE_S, Edge, StartEdge, eventually, get, post
from tests.toys import SECRET

ASKED = {"customer_id": "ann", "k": 8, "at": "2026-01-02T10:00:00Z", "request_id": "1"}


def served(edge: Edge) -> str | None:
    snapshot = edge.status()["snapshot"]
    return None if snapshot is None else str(snapshot["snapshot_id"])


def serves(edge: Edge, snapshot_id: str) -> bool:
    return served(edge) == snapshot_id


def expected(path: Path) -> list[dict[str, Any]]:
    """What a snapshot answers, decided in this process."""
    with open_snapshot(path, SECRET) as opened:
        decision = decide(opened, msgspec.convert(ASKED, Request))
        offers: list[dict[str, Any]] = orjson.loads(decision_json(decision))["offers"]
    return offers


class Load:
    """Callers that ask again a moment after each answer, and what they were answered.

    They speak plainly and leave time to others: to ask costs more than to answer.
    """

    def __init__(self, edge: Edge, n_callers: int = 3) -> None:
        self.port = edge.port
        self.answers: list[dict[str, Any]] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._callers = [threading.Thread(target=self._ask) for _ in range(n_callers)]

    def _ask(self) -> None:
        body, headers = orjson.dumps(ASKED), {"content-type": "application/json"}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            while not self._stop.wait(0.005):
                try:
                    connection.request("POST", "/v1/offers", body, headers)
                    found = connection.getresponse()
                    said = found.read()
                except (HTTPException, OSError) as error:
                    self.failed.append(repr(error))
                    return
                if found.status != 200:
                    self.failed.append(said.decode())
                else:
                    self.answers.append(orjson.loads(said))

    def __enter__(self) -> Self:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()

    def asked_again(self, n: int = 20) -> None:
        """Wait until so many more are answered."""
        wanted = len(self.answers) + n
        eventually(lambda: len(self.answers) >= wanted)


@contextmanager
def no_torn_answers(world: World, load: Load) -> Iterator[None]:
    with load:
        yield
    assert load.failed == []
    letters = {name: letter for letter, name in world.ids.items()}
    answers = {
        name: expected(world.built(letters[name]))
        for name in {answer["snapshot_id"] for answer in load.answers}
    }
    assert all(answer["offers"] == answers[answer["snapshot_id"]] for answer in load.answers)


def test_snapshots_change_under_load_and_no_request_is_lost(
    world: World, start_node: StartEdge
) -> None:
    """Case 37."""
    edge = start_node(world)
    eventually(lambda: served(edge) == world.ids["a"])
    load = Load(edge)
    with no_torn_answers(world, load):
        for letter in "bcd":
            world.announce(letter)
            eventually(partial(serves, edge, world.ids[letter]))
            load.asked_again()
        world.change(changes.rollback, "a drill")
        eventually(lambda: served(edge) == world.ids["a"])
        load.asked_again()

    assert set(Counter(answer["snapshot_id"] for answer in load.answers)) == {*world.ids.values()}
    assert edge.status()["swaps"]["swapped"] >= 4
    assert edge.status()["leaked"] == 0
    assert [worker["restarts"] for worker in edge.status()["workers"]] == [0, 0]


def test_a_retired_snapshot_is_unmapped(world: World, start_node: StartEdge) -> None:
    edge = start_node(world, workers=1)
    eventually(lambda: served(edge) == world.ids["a"])
    (pid,) = [worker["pid"] for worker in edge.status()["workers"]]

    def mapped() -> int:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        return sum(str(world.folder.top) in line for line in lines)

    before = mapped()
    for _ in range(3):
        for letter in "ba":
            world.announce(letter)
            eventually(partial(serves, edge, world.ids[letter]))
    assert before > 0
    eventually(lambda: mapped() == before)


def test_three_deaths_of_a_new_snapshot_bring_back_the_last_good_one(
    world: World, start_node: StartEdge
) -> None:
    """Case 36."""
    edge = start_node(world, watch_s=120)
    eventually(lambda: served(edge) == world.ids["a"])
    world.announce("b")
    eventually(lambda: served(edge) == world.ids["b"])
    n_killed = 0
    while served(edge) == world.ids["b"]:
        ready = [worker["pid"] for worker in edge.status()["workers"] if worker["ready"]]
        if ready and n_killed < 3:
            os.kill(ready[0], signal.SIGKILL)
            n_killed += 1
        time.sleep(0.2)

    assert served(edge) == world.ids["a"]
    assert world.ids["b"] in world.standing.quarantined
    assert edge.event("going back")["reason"].startswith("3 workers died of it")
    assert edge.status()["swaps"]["reverted"] == 1
    eventually(lambda: all(worker["ready"] for worker in edge.status()["workers"]))
    found = post(f"{edge.url}/v1/offers", json=ASKED)
    assert found.json()["snapshot_id"] == world.ids["a"]


def test_a_first_boot_waits_for_the_channel(new_world: World, start_node: StartEdge) -> None:
    edge = start_node(new_world)
    console = str(edge.event("following")["console"])
    eventually(lambda: "no snapshot yet" in get(f"{console}/readyz?verbose").text)
    assert get(f"{console}/readyz").status_code == 503
    new_world.start("a")
    assert edge.event("serving")["snapshot_id"] == new_world.ids["a"]
    assert get(f"{console}/readyz").status_code == 200
    assert "almanac_channel_epoch 2.0" in get(f"{console}/metrics").text


def test_a_node_begins_and_goes_on_without_its_store(world: World, start_node: StartEdge) -> None:
    """Case 21."""
    (world.top / "store").rename(world.top / "gone")
    edge = start_node(world)
    assert edge.event("serving")["snapshot_id"] == world.ids["a"]
    eventually(lambda: (edge.status()["sync"] or {}).get("failure") is not None)
    told = get(f"{edge.console}/readyz?verbose").json()

    assert told["status"] == "ready"
    assert post(f"{edge.url}/v1/offers", json=ASKED).status_code == 200
    shutil.rmtree(world.top / "store", ignore_errors=True)  # heartbeats go on
    (world.top / "gone").rename(world.top / "store")
    world.announce("b")
    eventually(lambda: served(edge) == world.ids["b"])


def test_a_killed_sync_process_is_replaced_and_nobody_notices(
    world: World, start_node: StartEdge
) -> None:
    edge = start_node(world)
    eventually(lambda: served(edge) == world.ids["a"] and edge.status()["sync"] is not None)
    with no_torn_answers(world, Load(edge)):
        (sync_process,) = edge.beside_workers()
        os.kill(sync_process, signal.SIGKILL)
        edge.event("sync process died")
        world.announce("b")
        eventually(lambda: served(edge) == world.ids["b"])


def test_an_overlay_takes_offers_away_on_all_workers_and_the_store_hears_of_it(
    world: World, start_node: StartEdge
) -> None:
    edge = start_node(world)
    eventually(lambda: served(edge) == world.ids["a"])

    def shown() -> set[str]:
        found: set[str] = set()
        for _ in range(6):  # connections of their own reach both workers
            answer = post(f"{edge.url}/v1/offers", json=ASKED).json()
            found |= {offer["offer_id"] for offer in answer["offers"]}
        return found

    first = "item-000"
    assert first in shown()
    stamp = Stamp(now=NOW, expires_at=NOW + 30 * DAY, root_version=world.n_roots)
    killed = overlay_changes.kill(
        None, [first], reason="recalled", until=None, stamp=stamp, place=(BRAND, CHANNEL)
    )
    write_overlay(world.store, None, killed, world.keys["overlay"])
    eventually(lambda: first not in shown())
    world.announce("b")
    eventually(lambda: served(edge) == world.ids["b"])
    assert first not in shown()
    for worker in edge.status()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)
    eventually(lambda: [one["restarts"] for one in edge.status()["workers"]] == [1, 1])
    eventually(lambda: all(one["ready"] for one in edge.status()["workers"]))
    assert first not in shown()

    def nodes() -> list[Any]:
        board = get(f"{edge.console}/fleet.json").json()["board"]
        return [] if board is None else list(board["fleet"]["nodes"])

    eventually(lambda: [node["node_id"] for node in nodes()] == ["node-7"])
