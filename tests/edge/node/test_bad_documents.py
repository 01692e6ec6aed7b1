"""Channels and manifests that should not be followed: updating stops, serving goes on."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest
from msgspec.structs import replace

from edge.node import follower
from edge.node.standing import NodeState
from edge.node.sync import follow
from edge.settings import Settings
from index.manifest import read_manifest
from index.shipping import channel_changes as changes
from index.shipping.chunks import object_key
from index.shipping.names import channel_key, manifest_key
from index.shipping.signing import SigningKey
from tests.edge.node.supervisor import Supervisor
from tests.edge.node.world import BRAND, CHANNEL, DAY, NOW, World
from tests.index.shipping.web_servers import web_server


def follow_at(settings: Settings, connection: Connection, cells: Any, now: datetime) -> None:
    """The sync process on a machine whose clock stands still at another time."""
    follower.moment_now = lambda: now  # type: ignore[attr-defined] # imported there
    follow(settings, connection, cells)


def stays_with_a(world: World, node: Supervisor, word: str) -> None:
    """Updating fails for this reason, and what is served is not touched."""
    before = sorted(world.folder.snapshot(world.ids["a"]).iterdir())
    node.until_failing(word)
    assert node.offers == []
    assert node.serving == world.ids["a"]
    assert world.standing.last_good == world.standing.active == world.ids["a"]
    assert sorted(world.folder.snapshot(world.ids["a"]).iterdir()) == before


def test_case_16_a_frozen_channel_stops_updates_and_not_serving(world: World) -> None:
    with world.node() as node:
        world.announce("b", issued=NOW - 10 * DAY, lasts=DAY)
        stays_with_a(world, node, "expired")
        assert "ended at" in (node.state.detail or "")

        world.change(changes.renew)
        node.until(lambda: node.serving == world.ids["b"] and node.state.failure is None)


@pytest.mark.parametrize("years", [40, -40])
def test_case_22_a_clock_wrong_by_years_stops_no_more_than_updates(
    world: World, years: int
) -> None:
    world.announce("b")
    now = datetime.now(UTC) + timedelta(days=365 * years)
    with Supervisor(world.settings(), target=follow_at, arguments=(now,)) as node:
        if years > 0:
            stays_with_a(world, node, "expired")
        else:  # a document from the future is as likely a clock in the past
            node.until(lambda: node.serving == world.ids["b"])


def test_case_15_a_stale_cache_is_noticed_and_a_fresh_mirror_preferred(world: World) -> None:
    old = world.top / "old"
    shutil.copytree(world.address, old)
    world.announce("b", percent=0)
    with world.node() as node:
        node.until(lambda: node.state.epoch == 3)
    with web_server(old) as cache:
        with world.node(store=cache.address) as node:
            stays_with_a(world, node, "stale_epoch")
        with world.node(store=cache.address, mirrors=str(world.address)) as node:
            world.change(changes.promote, 100)
            node.until(lambda: node.serving == world.ids["b"])


def test_case_11_a_stolen_key_is_of_no_use_once_the_next_root_is_out(world: World) -> None:
    stranger = SigningKey.generate()
    with world.node() as node:
        world.announce("b", percent=0)
        node.until(lambda: node.state.epoch == 3)
        stamp = changes.Stamp(now=NOW, expires_at=NOW + DAY, root_version=1)
        forged = changes.promote(world.channel, 100, stamp=stamp)
        world.force(forged, [stranger])
        stays_with_a(world, node, "bad_signature")

        stolen = world.rotate("release")
        world.force(forged, [stolen])
        node.until(lambda: stolen.key_id[:12] in (node.state.detail or ""))
        stays_with_a(world, node, "bad_signature")

        world.force(forged, world.keys["release"])
        node.until(lambda: node.serving == world.ids["b"] and node.state.failure is None)


def test_two_documents_of_one_epoch_are_told_apart(world: World) -> None:
    with world.node() as node:
        node.rounds(1)
        world.force(replace(world.channel, target=world.targets["b"]), world.keys["release"])
        stays_with_a(world, node, "two_documents")


def test_case_17_a_manifest_of_another_snapshot_is_not_taken(world: World) -> None:
    keys = {letter: manifest_key(BRAND, world.ids[letter]) for letter in "bc"}
    place = world.address / keys["b"]
    place.unlink()
    shutil.copyfile(world.address / keys["c"], place)
    with world.node() as node:
        world.announce("b")
        stays_with_a(world, node, "mixed_up")


def test_case_34_a_snapshot_for_other_machines_is_refused_before_it_is_fetched(
    world: World,
) -> None:
    manifest = world.bent("e", 6, platform={"page_bytes": 65536})
    world.publish_as("e", manifest)
    key = object_key(next(entry for entry in manifest.files if entry.name == "items.lmdb").sha256)
    with web_server(world.address) as web, world.node(store=web.address) as node:
        world.announce("e")
        stays_with_a(world, node, "incompatible")
        assert "page_bytes 65536" in (node.state.detail or "")
        assert f"/{key}" not in [path for path, _ in web.asked]
        assert world.standing.quarantined == {}


def test_case_04_a_snapshot_beyond_its_own_limits_is_refused(world: World) -> None:
    counts = read_manifest(world.built("b")).counts
    world.publish_as("e", world.bent("e", 6, invariants={"max_customers": counts["customers"] - 1}))
    with world.node() as node:
        world.announce("e")
        stays_with_a(world, node, "unfit")
        assert "max_customers = 1" in (node.state.detail or "")


def test_a_snapshot_never_changes_its_manifest(world: World) -> None:
    with world.node() as node:
        world.announce("b")
        node.until(lambda: node.serving == world.ids["b"])
        manifest = read_manifest(world.built("b"))
        world.store.delete(manifest_key(BRAND, world.ids["b"]))
        shutil.copytree(world.built("b"), world.built("f"))
        world.publish_as("f", replace(manifest, build={"by": "somebody else"}))
        assert world.ids["f"] == world.ids["b"]
        twice = replace(world.channel, epoch=4, target=world.targets["f"])
        world.force(twice, world.keys["release"])
        node.until_failing("contradiction")
    assert node.offers == [world.ids["b"]]


def test_a_document_of_any_size_is_cut_off(world: World) -> None:
    """Case 14."""
    path = world.address / channel_key(BRAND, CHANNEL)
    path.unlink()
    path.write_bytes(os.urandom(1 << 20))
    with world.node() as node:
        stays_with_a(world, node, "too_large")


def test_a_node_boots_without_network_and_says_what_it_knew_last(world: World) -> None:
    begun = NodeState(world.folder.top).begin()
    assert begun is not None
    assert (begun.snapshot_id, begun.path) == (
        world.ids["a"],
        world.folder.snapshot(world.ids["a"]),
    )
    with world.node(store="http://127.0.0.1:9") as node:
        stays_with_a(world, node, "unreachable")
        assert (node.state.epoch, node.state.last_success_s) == (2, None)


def test_an_insecure_node_says_so_and_its_snapshots_are_not_taken_for_signed(
    new_world: World,
) -> None:
    new_world.start("a")
    with new_world.node(insecure=True) as node:
        node.until(lambda: new_world.standing.is_confirmed)
        assert node.state.trust == "insecure"
    with new_world.node() as node:
        node.until(lambda: len(node.offers) == 1)
        assert node.state.trust == "signed"
