"""Snapshots that must not be served, and disks and workers that fail: the node stays whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from almanac import main
from edge.cells import row_of, shared_cells
from edge.counters import Counters
from edge.node.standing import NodeState
from index.manifest import FileEntry, check_digest, read_manifest
from index.shipping import channel_changes as changes
from index.shipping.chunks import object_key
from index.shipping.names import channel_key, manifest_key
from index.verify import verify_snapshot
from tests.edge.node.world import BRAND, CHANNEL, World
from tests.index.shipping.web_servers import web_server


def test_a_snapshot_that_decides_otherwise_than_promised_is_never_offered(world: World) -> None:
    manifest = world.bent("e", 6)
    first, *others = manifest.golden
    wrong = [replace(first, offer_rows=[39]), *others]
    world.publish_as("e", replace(manifest, golden=wrong))
    with world.node() as node:
        world.announce("e")
        node.until_failing("quarantined")
        node.rounds(2)
        reason = world.standing.quarantined[world.ids["e"]]
        assert reason.startswith("not proved: 1 golden decisions differ; decision 0: expected")
        assert (node.offers, node.state.n_quarantined) == ([], 1)
        # Only the snapshot before and what is served are on this disk.
        assert {path.name for path in world.folder.kept()} == {world.ids["a"]}

        world.announce("b")
        node.until(lambda: node.serving == world.ids["b"] and node.state.failure is None)


def test_an_operator_may_let_a_node_try_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    node_folder = f"--state-dir={world.folder.top}"
    with world.node() as node:
        node.answers = False
        world.announce("b")
        node.until(lambda: node.offers == [world.ids["b"]])
        node.refuse(world.ids["b"], "no memory")
        node.until_failing("quarantined")
        assert main(["node", "show", node_folder]) == 0
        told = capsys.readouterr().out
        assert f"active    {world.ids['a']} (confirmed)" in told
        assert f"refused   {world.ids['b']}: workers could not prepare it: no memory" in told

        assert main(["node", "forget", world.ids["b"], node_folder, "--dry-run"]) == 0
        assert world.ids["b"] in world.standing.quarantined
        node.answers = True
        assert main(["node", "forget", world.ids["b"], node_folder, "--reason=more memory"]) == 0
        node.until(lambda: world.standing.active == world.ids["b"])

    assert main(["node", "forget", world.ids["b"], node_folder]) == 4
    assert main(["node", "show", "--state-dir=/nonexistent"]) == 4
    whats = [(swap.what, swap.reason) for swap in world.standing.history[2:5]]
    assert whats == [
        ("quarantined", "workers could not prepare it: no memory"),
        ("forgotten", "more memory"),
        ("activated", ""),
    ]


def test_what_something_else_came_before_is_offered_again(world: World) -> None:
    """Going back from a bad snapshot, say, while the next one, which is to mend it, is prepared."""
    with world.node() as node:
        node.answers = False
        world.announce("b")
        node.until(lambda: node.offers == [world.ids["b"]])
        node.answers = True
        node.refuse(world.ids["b"], f"{world.ids['a']} was left meanwhile", blame="nobody")
        node.until(lambda: world.standing.active == world.ids["b"])

    assert node.offers == [world.ids["b"]] * 2
    assert not world.standing.quarantined


def test_case_42_what_there_was_no_room_for_rests_and_is_not_refused(world: World) -> None:
    with world.node() as node:
        node.answers = False
        world.announce("b")
        node.until(lambda: node.offers == [world.ids["b"]])
        node.refuse(world.ids["b"], "worker 1: too many open files", blame="machine")
        node.until_failing("unfit")
        node.answers = True
        node.rounds(2)
        assert (node.offers, node.serving) == ([world.ids["b"]], world.ids["a"])
        assert not world.standing.quarantined
        assert world.standing.activating is None
        assert "could not prepare it: worker 1: too many" in str(node.state.detail)

        # Nothing of it is remembered: it is a matter of minutes.
        node.kill()
        node.start()
        node.until(lambda: world.standing.active == world.ids["b"])


def test_case_35_one_worker_that_can_not_prepare_leaves_the_node_whole(world: World) -> None:
    with world.node() as node:
        node.answers = False
        world.announce("b")
        node.until(lambda: node.offers == [world.ids["b"]])
        assert world.standing.activating == world.ids["b"]
        node.refuse(world.ids["b"], "worker 1 of 2 could not open it")
        node.until_failing("quarantined")
        node.rounds(2)

    standing = world.standing
    assert (standing.active, standing.last_good, standing.activating) == (
        world.ids["a"],
        world.ids["a"],
        None,
    )
    assert node.offers == [world.ids["b"]]


def test_case_40_after_two_bad_nights_in_a_row_it_is_the_last_good_one(world: World) -> None:
    with world.node(watch_s=3600) as node:
        world.announce("b")
        node.until(lambda: world.standing.active == world.ids["b"])
        world.announce("c")
        node.until(lambda: world.standing.active == world.ids["c"])
        # The supervisor goes back to what it has open: `b`, which has not proved good.
        node.revert(world.ids["c"], world.ids["b"], "3 workers died of SIGBUS")
        node.until(lambda: world.standing.active == world.ids["a"])
        node.until(lambda: node.state.failure == "quarantined")
        node.rounds(2)

    assert node.offers == [world.ids[letter] for letter in "bca"]
    assert world.standing.quarantined == {world.ids["c"]: "3 workers died of SIGBUS"}


def test_case_36_what_killed_workers_is_not_offered_again(world: World) -> None:
    with world.node() as node:
        world.announce("b")
        node.until(lambda: node.serving == world.ids["b"])
        node.revert(world.ids["b"], world.ids["a"], "3 workers died of SIGSEGV")
        node.until_failing("quarantined")
        node.rounds(2)
        node.kill()
        node.start()
        node.rounds(2)

    assert node.offers.count(world.ids["b"]) == 1
    assert world.standing.active == world.standing.last_good == world.ids["a"]
    begun = NodeState(world.folder.top).begin()
    assert begun is not None
    assert begun.snapshot_id == world.ids["a"]


def test_answers_that_fail_while_a_snapshot_is_watched_end_it(world: World) -> None:
    with world.node(watch_s=3600) as node:
        world.announce("b")
        node.until(lambda: node.state.phase == "watching")
        cells = shared_cells(node.cells)
        counters = Counters(row_of(cells, 0))
        for code in [200] * 60 + [500] * 40:
            counters.arrived()
            counters.answered(code)
        node.until(lambda: node.serving == world.ids["a"])

    assert world.standing.quarantined[world.ids["b"]].startswith("40 of 100 answers failed")


def test_what_is_revoked_is_left_for_what_is_wanted_and_kept_if_there_is_nothing_else(
    new_world: World,
) -> None:
    with new_world.node() as node:
        new_world.change(changes.start_channel, BRAND, CHANNEL, new_world.targets["a"], percent=100)
        node.until(lambda: new_world.standing.is_confirmed)
        new_world.change(changes.revoke, new_world.ids["a"], "wrong prices")
        node.until_failing("revoked")
        node.rounds(2)
        assert node.serving == new_world.ids["a"]

        new_world.announce("b")
        node.until(lambda: node.serving == new_world.ids["b"] and node.state.failure is None)

    assert node.offers == [new_world.ids["a"], new_world.ids["b"]]


def test_case_13_a_damaged_object_is_fetched_elsewhere_or_not_at_all(world: World) -> None:
    with web_server(world.address) as liar:
        liar.lie = lie
        world.announce("b")
        with world.node(store=liar.address) as node:
            node.until_failing("damaged")
            assert node.offers == []
            assert {path.name for path in world.folder.kept()} == {world.ids["a"]}
        with world.node(store=liar.address, mirrors=str(world.address)) as node:
            node.until(lambda: world.standing.last_good == world.ids["b"])
    assert list(verify_snapshot(world.folder.snapshot(world.ids["b"])))


def test_what_can_not_be_brought_is_asked_for_again_after_a_pause_only(world: World) -> None:
    """Case 18."""
    world.announce("b")
    with web_server(world.address) as web:
        web.lie = lie
        with world.node(store=web.address, poll_s=600) as node:
            node.until_failing("damaged")
            for _ in range(20):
                node.hear(0.05)
        asked = [path for path, _ in web.asked]

    # Once to follow it, and once to find that there is no place for heartbeats.
    assert asked.count(f"/{channel_key(BRAND, CHANNEL)}") == 2
    assert asked.count(f"/{manifest_key(BRAND, world.ids['b'])}") == 1


def lie(data: bytes) -> bytes:
    """Documents stay, of everything else the first bit is another."""
    return data if data[:1] == b"{" else bytes([data[0] ^ 1]) + data[1:]


def test_an_object_that_is_gone_from_the_store_is_named(world: World) -> None:
    entry = next(e for e in read_manifest(world.built("b")).files if e.name == "model.msgpack")
    with world.node() as node:
        world.store.delete(object_key(entry.sha256))
        world.announce("b")
        node.until_failing("not_in_store")
    assert node.offers == []


def test_case_19_a_full_disk_stops_updates_and_not_serving(
    world: World, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(80 << 10)
    shutil.copytree(world.folder.top, disk / "node", symlinks=True)
    filler = disk / "filler"
    with world.node(state_dir=disk / "node") as node:
        room = os.statvfs(disk)
        filler.write_bytes(bytes(room.f_bavail * room.f_frsize - (64 << 20)))
        world.announce("b")
        node.until_failing("disk_full")
        assert (node.offers, node.serving) == ([], world.ids["a"])

        # Now it is so full that not even a state can be written.
        filler.write_bytes(bytes(filler.stat().st_size))
        fill(disk / "rest")
        node.kill()
        begun = NodeState(disk / "node").begin()
        assert begun is not None
        assert begun.snapshot_id == world.ids["a"]
        node.start()
        node.until_failing("disk_full")
        assert node.serving == world.ids["a"]

        (disk / "rest").unlink()
        filler.unlink()
        node.until(lambda: node.serving == world.ids["b"] and node.state.failure is None)


def test_case_27_bit_rot_of_what_is_served_is_found_and_mended(world: World) -> None:
    path = damage(world, "a", "items.lmdb")
    inode = path.stat().st_ino
    with world.node() as node:
        node.until(lambda: node.offers == [world.ids["a"]])
        node.until(lambda: node.state.phase == "following")

    assert path.stat().st_ino != inode
    check_digest(world.folder.snapshot(world.ids["a"]), entry_of(world, "a", "items.lmdb"))
    assert world.standing.is_confirmed


def test_an_object_of_an_older_snapshot_is_not_believed_unread(world: World) -> None:
    entries = {entry.name: entry for entry in read_manifest(world.built("b")).files}
    assert entries["items.lmdb"] == entry_of(world, "a", "items.lmdb")  # both share the object
    damage(world, "a", "items.lmdb")
    with world.node() as node:
        world.announce("b")
        node.until(lambda: world.standing.last_good == world.ids["b"])
    assert list(verify_snapshot(world.folder.snapshot(world.ids["b"])))


def test_a_snapshot_that_only_this_disk_has_damaged_is_given_another_chance(world: World) -> None:
    with world.node(watch_s=3600) as node:
        world.announce("b")
        node.until(lambda: node.state.phase == "watching")
        damage(world, "b", "model.msgpack")
        node.revert(world.ids["b"], world.ids["a"], "a second page could not be read")
        node.until(lambda: node.offers.count(world.ids["b"]) == 2)

    assert world.standing.quarantined == {}
    assert "forgotten" in [swap.what for swap in world.standing.history]
    check_digest(world.folder.snapshot(world.ids["b"]), entry_of(world, "b", "model.msgpack"))


def test_what_was_mended_before_the_workers_went_back_from_it_gets_its_chance_too(
    world: World,
) -> None:
    """A file that is cut counts as not installed: it is fetched anew before anybody complains."""
    with world.node(watch_s=3600) as node:
        world.announce("b")
        node.until(lambda: node.state.phase == "watching")
        path = (world.folder.snapshot(world.ids["b"]) / "model.msgpack").resolve()
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-7] + b"x" * 6)
        node.until(lambda: node.offers.count(world.ids["b"]) == 2)
        node.revert(world.ids["b"], world.ids["a"], "a second page could not be read")
        node.until(lambda: node.offers.count(world.ids["b"]) == 3)

    assert world.standing.quarantined == {}
    check_digest(world.folder.snapshot(world.ids["b"]), entry_of(world, "b", "model.msgpack"))


def test_a_lost_object_of_what_is_served_is_fetched_again(world: World) -> None:
    with world.node() as node:
        node.rounds(1)
        (world.folder.snapshot(world.ids["a"]) / "offers.lmdb").resolve().unlink()
        node.until(lambda: node.offers == [world.ids["a"]])
    assert list(verify_snapshot(world.folder.snapshot(world.ids["a"])))


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))


def damage(world: World, letter: str, name: str) -> Path:
    """Flip one bit of an installed file, as a bad disk does: size and name stay."""
    path = (world.folder.snapshot(world.ids[letter]) / name).resolve()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.chmod(0o644)
    with path.open("r+b") as file:  # never shorter, not even for a moment
        file.write(data)
    return path


def entry_of(world: World, letter: str, name: str) -> FileEntry:
    return next(entry for entry in read_manifest(world.built(letter)).files if entry.name == name)
