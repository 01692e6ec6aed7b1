"""Thousands of damaged documents and files: each is refused by a name, or does no harm."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from edge.errors import Unfit
from edge.node.failures import PROBLEMS, failure_of
from edge.node.origins import Origins
from edge.node.overlay_watch import OverlayWatch
from index.manifest import read_manifest
from index.shipping import overlay_changes
from index.shipping.channel_changes import Stamp
from index.shipping.chunks import chunk_list_key, object_key
from index.shipping.fetch import fetch_object
from index.shipping.names import channel_key, manifest_key, overlay_key
from index.shipping.overlay_store import write_overlay
from index.shipping.trust import TrustStore
from tests.edge.node.world import BRAND, CHANNEL, DAY, NOW, World
from tests.index.shipping.origins import digest
from tests.mutants import N_MUTANTS, mutants

N_SHIPPED = round(0.95 * N_MUTANTS)
"""The others are sealed and signed anew, see `test_resealed.py`."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """One file of the store, which is damaged and mended in turn.

    Attributes:
        kind: what it is.
        key: where it is.
        genuine: what should be there.
        read: reads it as a node does; what was written, or one of `PROBLEMS`.
    """

    world: World
    kind: str
    key: str
    genuine: bytes
    read: Callable[[], object]

    def put(self, data: bytes) -> None:
        path = self.world.address / self.key
        path.unlink()
        path.write_bytes(data)


@pytest.fixture
def shelves(world: World) -> list[Shelf]:
    """The documents and files that lead a node to `b`, and how it reads each."""
    stamp = Stamp(now=NOW, expires_at=NOW + 30 * DAY, root_version=world.n_roots)
    killed = overlay_changes.kill(
        None, ["item-000"], reason="recalled", until=None, stamp=stamp, place=(BRAND, CHANNEL)
    )
    write_overlay(world.store, None, killed, world.keys["overlay"])
    world.announce("b")
    target = world.targets["b"]
    trust = TrustStore(world.folder.trust)
    origins = Origins([world.store], trust, BRAND, CHANNEL)

    def overlay() -> object:
        watch = OverlayWatch([world.store], trust, brand=BRAND, channel=CHANNEL)
        watch.poll(NOW)
        # What was accepted once is applied whatever the store has now.
        assert watch.overlay is None or watch.overlay == killed
        if watch.failure is not None:
            raise Unfit(watch.failure)
        return watch.overlay

    def file(sha256: str, size: int) -> object:
        path = fetch_object(world.store, sha256, size, world.top / "fetched").path
        data = path.read_bytes()
        path.unlink()
        return digest(data)

    readers: list[tuple[str, str, Callable[[], object]]] = [
        ("channel", channel_key(BRAND, CHANNEL), lambda: origins.channel(NOW).channel),
        ("manifest", manifest_key(BRAND, target.snapshot_id), lambda: origins.manifest(target)[0]),
        ("overlay", overlay_key(BRAND, CHANNEL), overlay),
    ]
    for entry in read_manifest(world.built("b")).files:
        read = partial(file, entry.sha256, entry.size)
        readers += [
            ("object", object_key(entry.sha256), read),
            ("chunk list", chunk_list_key(entry.sha256), read),
        ]
    return [
        Shelf(
            world=world,
            kind=kind,
            key=key,
            genuine=(world.address / key).read_bytes(),
            read=read,
        )
        for kind, key, read in readers
    ]


def test_cases_13_and_17_what_is_damaged_on_its_way_is_refused_by_name_or_read_as_written(
    world: World, shelves: list[Shelf]
) -> None:
    """Whoever can write to the store, and holds no key, can stop a node and not mislead it.

    Channels, manifests, overlays, files and their chunk lists are damaged, or lie in each other's
    place. A document whose signed bytes are untouched, and a file that only became longer, may
    still be read as written; chunk lists only help.
    """
    before = sorted(path.name for path in world.folder.snapshots.iterdir())
    written = [shelf.read() for shelf in shelves]
    rng = random.Random(11)
    copies = [damaged(rng, shelf, shelves) for shelf in shelves]
    told: Counter[tuple[str, str]] = Counter()
    for number in range(N_SHIPPED):
        place = number % len(shelves)
        shelf = shelves[place]
        shelf.put(next(copies[place]))
        try:
            assert shelf.read() == written[place]
            told[shelf.kind, "as written"] += 1
        except PROBLEMS as problem:
            told[shelf.kind, failure_of(problem).word] += 1
        shelf.put(shelf.genuine)

    kinds = Counter(shelves[number % len(shelves)].kind for number in range(N_SHIPPED))
    assert told["chunk list", "as written"] == kinds["chunk list"]
    assert told["object", "damaged"] > 0.8 * kinds["object"]
    assert told["object", "damaged"] + told["object", "as written"] == kinds["object"]
    assert told["overlay", "unfit"] + told["overlay", "as written"] == kinds["overlay"]
    for kind in ("channel", "manifest"):
        refused = told[kind, "no_document"] + told[kind, "bad_signature"]
        assert refused + told[kind, "as written"] == kinds[kind]
    for kind in ("channel", "manifest", "overlay"):
        assert told[kind, "as written"] < 0.1 * kinds[kind]
    assert [shelf.read() for shelf in shelves] == written
    assert sorted(path.name for path in world.folder.snapshots.iterdir()) == before
    assert world.standing.active == world.standing.last_good == world.ids["a"]


def damaged(rng: random.Random, shelf: Shelf, others: list[Shelf]) -> Iterator[bytes]:
    """Damaged copies of one file; every eighth is another one in its place."""
    copies = mutants(rng, shelf.genuine)
    while True:
        for _ in range(7):
            yield next(copies)[1]
        yield rng.choice([other.genuine for other in others if other.genuine != shelf.genuine])
