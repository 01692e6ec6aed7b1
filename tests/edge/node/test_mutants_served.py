"""A whole node that is given damaged documents, files and snapshots, one after the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from index.manifest import read_manifest
from index.shipping.chunks import object_key
from index.shipping.names import channel_key, manifest_key
from tests.edge.node.test_node import ASKED, expected
from tests.edge.node.test_resealed import LEAF, resealed
from tests.edge.node.world import BRAND, CHANNEL, World
from tests.edge.running import PATIENCE_S, TRUSTS_NOBODY, Edge, eventually, post
from tests.mutants import mutants
from tests.toys import N_OFFERS, SECRET

N_OF_EACH = 4


@pytest.fixture
def edge(world: World) -> Iterator[Edge]:
    secret_file = world.top / "secret"
    secret_file.write_bytes(SECRET)
    edge = Edge(
        store=world.address,
        brand="toy",
        state_dir=world.folder.top,
        node_id="node-7",
        poll_s=0.05,
        spread_s=0,
        watch_s=0,
        secret_file=secret_file,
    )
    yield edge
    edge.kill()


class Steady:
    """A node as it was when it served `a`, and as it should stay."""

    def __init__(self, edge: Edge, world: World, client: httpx2.Client) -> None:
        self._edge = edge
        self._world = world
        self._client = client
        self._right = expected(world.built("a"))
        self.until_it_follows()
        self._workers = self._told()["workers"]

    def _told(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"{self._edge.console}/status.json").json()
        return found

    def until_it_follows(self) -> None:
        def follows() -> bool:
            state = self._told()["sync"] or {"failure": "nothing heard yet"}
            return state["failure"] is None and state["phase"] == "following"

        eventually(follows)

    def until_it_fails(self) -> str:
        eventually(lambda: self._told()["sync"]["failure"] is not None)
        return str(self._told()["sync"]["failure"])

    def check(self) -> None:
        """The same processes answer from the same snapshot, which none of them ever left."""
        answer = self._client.post(f"{self._edge.url}/v1/offers", json=ASKED)
        assert answer.status_code == 200
        assert answer.json()["snapshot_id"] == self._world.ids["a"]
        assert answer.json()["offers"] == self._right
        told = self._told()
        for before, now in zip(self._workers, told["workers"], strict=True):
            assert (now["pid"], now["restarts"]) == (before["pid"], 0)
            assert now["ready"]
        assert told["swaps"] == {}


@pytest.fixture
def steady(edge: Edge, world: World) -> Iterator[Steady]:
    with httpx2.Client(verify=TRUSTS_NOBODY, timeout=PATIENCE_S) as client:
        yield Steady(edge, world, client)


def put(world: World, key: str, data: bytes) -> None:
    """Lay something into the store, so that no reader ever sees half of it."""
    aside = world.address / "aside"
    aside.write_bytes(data)
    aside.replace(world.address / key)


def test_cases_13_and_17_a_node_that_is_given_damaged_documents_and_files_goes_on_as_it_was(
    world: World, edge: Edge, steady: Steady
) -> None:
    """Channel, manifest and files are damaged on their way, and mended again."""
    rng = random.Random(17)
    files = {entry.name: entry.sha256 for entry in read_manifest(world.built("b")).files}
    keys = [channel_key(BRAND, CHANNEL), manifest_key(BRAND, world.ids["b"])]
    # The smaller one comes first: of the other nothing is fetched while this one is damaged.
    keys += [object_key(files[name]) for name in ("model.msgpack", "contexts.lmdb")]
    words: Counter[str] = Counter()
    for key in keys:
        genuine = (world.address / key).read_bytes()
        copies = mutants(rng, genuine)
        for _ in range(N_OF_EACH):
            way, mutant = next(copies)
            if way == "longer" and key in keys[2:]:
                continue  # no more is read than was promised: that is a sound file
            put(world, key, mutant)
            if key != keys[0]:
                world.announce("b")
            words[steady.until_it_fails()] += 1
            steady.check()
            if key == keys[0]:
                put(world, key, genuine)
            else:
                world.announce("a")
            steady.until_it_follows()
            put(world, key, genuine)
    steady.check()

    assert sum(words.values()) > 0.75 * len(keys) * N_OF_EACH
    assert set(words) <= {"no_document", "bad_signature", "damaged"}
    assert world.standing.quarantined == {}
    assert "sync process died" not in "".join(edge.lines)
    world.announce("b")
    eventually(lambda: edge.status()["swaps"] == {"swapped": 1})
    answer = post(f"{edge.url}/v1/offers", json=ASKED).json()
    assert answer["offers"] == expected(world.built("b"))


def astray(data: bytes) -> bytes:
    """Places of records that lie beyond the file: opening and golden decisions never look there."""
    end = LEAF + 16 + 2 * (1 + N_OFFERS)
    return data[: end - 10] + b"\xf0\xff" * 5 + data[end:]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "pages lead astray": ("items.lmdb", astray),
    "the last page is missing": ("offers.lmdb", lambda data: data[:-4096]),
    "a page of zeros": ("customers.lmdb", lambda data: data[:LEAF] + bytes(4096)),
    "no vectors": ("offers.faiss", lambda data: data[:40]),
    "no model": ("model.msgpack", lambda data: data[::-1]),
}


def test_case_25_a_node_that_is_given_damaged_snapshots_goes_on_as_it_was(
    world: World, steady: Steady
) -> None:
    """Each is rightly signed, and its files have the promised digests."""
    for number, (name, damage) in enumerate(DAMAGE.values()):
        letter = "efghi"[number]
        manifest = world.bent(letter, 4 + number)
        path = world.built(letter) / name
        data = damage(path.read_bytes())
        path.write_bytes(data)
        world.publish_as(letter, resealed(manifest, name, data))
        world.announce(letter)
        assert steady.until_it_fails() in {"not_proved", "quarantined"}
        steady.check()
        world.announce("a")
        steady.until_it_follows()

    assert list(world.standing.quarantined) == [world.ids[letter] for letter in "efghi"]
    assert all(why.startswith("not proved: ") for why in world.standing.quarantined.values())
