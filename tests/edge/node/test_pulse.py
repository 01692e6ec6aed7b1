"""What a node does each second: one thing that can't be done leaves the others going."""

from __future__ import annotations

from pathlib import Path

from edge.node.folder import NodeFolder
from index.overlay import read_overlay
from index.shipping import overlay_changes
from index.shipping.channel_changes import Stamp
from index.shipping.documents import HEARTBEAT, unseal_document
from index.shipping.key_files import write_key
from index.shipping.names import heartbeat_key
from index.shipping.overlay_store import read_overlay_in_force, write_overlay
from tests.edge.node.world import BRAND, CHANNEL, DAY, NOW, World


def kill(world: World, *offers: str) -> None:
    before = read_overlay_in_force(world.store, BRAND, CHANNEL, None)
    after = overlay_changes.kill(
        None if before is None else before.overlay,
        offers,
        reason="wrong terms",
        until=None,
        stamp=Stamp(now=NOW, expires_at=NOW + DAY, root_version=1),
        place=(BRAND, CHANNEL),
    )
    write_overlay(world.store, before, after, world.keys["overlay"])


def has_signed(world: World) -> bool:
    """Whether the node's heartbeat in the store is one that a key vouches for."""
    data = world.store.read(heartbeat_key(BRAND, CHANNEL, "node-7"), limit=1 << 20).data
    return bool(unseal_document(HEARTBEAT, data).signed_by)


def test_overlays_arrive_without_a_key_for_heartbeats_and_these_begin_with_it(
    world: World, tmp_path: Path
) -> None:
    key = tmp_path / "node.pem"
    with world.node(node_key=key) as node:
        kill(world, "item-001")
        node.until(lambda: bool(node.overlays))
        assert set(read_overlay(node.overlays[-1]).kills) == {"item-001"}
        assert not has_signed(world)
        write_key(key, world.keys["node"][0])
        node.until(lambda: has_signed(world))


def test_overlays_arrive_while_the_node_s_own_record_is_damaged(world: World) -> None:
    with world.node() as node:
        node.rounds(1)
        (record,) = NodeFolder(world.folder.top).state.glob("*.json")
        record.write_bytes(b"{")
        kill(world, "item-001")
        node.until(lambda: bool(node.overlays))
        n_before = len(node.overlays)
        node.until_failing("folder_damaged")
        # A heartbeat has been tried by now, and could not be made.
        kill(world, "item-002")
        node.until(lambda: len(node.overlays) > n_before)
