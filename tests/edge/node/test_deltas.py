"""A node that has an earlier snapshot fetches what is different, and whole files when it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.node.apart import run_apart
from edge.node.patch import patch
from index.manifest import file_digest, read_manifest
from index.shipping.delta_list import add_deltas, delta_list_key, read_delta_list
from index.shipping.names import manifest_key
from index.shipping.publish_deltas import DeltaMade, publish_deltas
from index.shipping.published import files_of
from index.shipping.store_errors import Damaged
from index.verify import verify_snapshot
from tests.edge.node.world import World


def ship_deltas(world: World, letter: str, *parents: str) -> list[DeltaMade]:
    directory = world.built(letter)
    earlier = [world.built(parent) for parent in parents]
    return publish_deltas(world.store, directory, read_manifest(directory), earlier, least_bytes=0)


def fetched_whole(world: World, letter: str, before: str) -> int:
    """Bytes of the files that the later snapshot does not share with the earlier one."""
    have = {entry.sha256 for entry in files_of(read_manifest(world.built(before)))}
    manifest = read_manifest(world.built(letter))
    return sum(entry.size for entry in files_of(manifest) if entry.sha256 not in have)


def followed(world: World, letter: str) -> tuple[int, int]:
    """Announce and follow; bytes fetched and bytes spared."""
    with world.node() as node:
        world.announce(letter)
        node.until(lambda: world.standing.last_good == world.ids[letter])
        node.rounds(1)
        state = node.state
    list(verify_snapshot(world.folder.snapshot(world.ids[letter]), deep=True))
    assert list(world.folder.tmp.iterdir()) == []
    return state.bytes_fetched, state.bytes_spared


def test_only_what_is_different_is_fetched(world: World) -> None:
    made = ship_deltas(world, "b", "a")
    kept = [delta for delta in made if delta.is_kept]
    assert {delta.name for delta in made} == {"contexts.lmdb", "model.msgpack"}
    assert "contexts.lmdb" in {delta.name for delta in kept}

    fetched, spared = followed(world, "b")
    assert spared == sum(delta.object_bytes - delta.delta_bytes for delta in kept)
    assert fetched + spared == fetched_whole(world, "b", "a")
    manifest = read_manifest(world.built("b"))
    for entry in files_of(manifest):
        assert file_digest(world.folder.object(entry.sha256)) == entry.sha256


def test_several_steps_lead_from_an_older_snapshot(world: World) -> None:
    """The node missed `b` and `c`: each delta begins where the one before ends."""
    for letter, parent in (("b", "a"), ("c", "b"), ("d", "c")):
        ship_deltas(world, letter, parent)
    fetched, spared = followed(world, "d")
    assert spared > 0
    assert fetched + spared == fetched_whole(world, "d", "a")


def test_a_way_through_what_is_gone_is_not_gone(world: World) -> None:
    ship_deltas(world, "b", "a")
    ship_deltas(world, "c", "b")
    for entry in read_manifest(world.built("b")).files:
        world.store.delete(delta_list_key(entry.sha256))
    fetched, spared = followed(world, "c")
    assert (fetched, spared) == (fetched_whole(world, "c", "a"), 0)


@pytest.mark.parametrize("harm", ["cut", "flipped", "missing", "list", "lies"])
def test_a_delta_of_no_use_costs_a_whole_file_and_no_more(world: World, harm: str) -> None:
    ship_deltas(world, "b", "a")
    entry = next(file for file in read_manifest(world.built("b")).files if "contexts" in file.name)
    listed = read_delta_list(world.store, entry.sha256)
    assert listed is not None
    (delta,) = listed.deltas
    path = world.address / "objects" / delta.sha256[:2] / delta.sha256
    path.chmod(0o644)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "flipped":
        data = bytearray(path.read_bytes())
        data[-20] ^= 4
        path.write_bytes(data)
    elif harm == "missing":
        path.unlink()
    elif harm == "list":
        target = world.address / delta_list_key(entry.sha256)
        target.chmod(0o644)
        target.write_text("almanac-deltas 1\nnonsense\n")
    else:  # rightly named, rightly read, and of another file
        other = next(file for file in read_manifest(world.built("b")).files if "model" in file.name)
        wrong = read_delta_list(world.store, other.sha256)
        assert wrong is not None
        (step,) = wrong.deltas
        world.store.delete(delta_list_key(entry.sha256))
        lying = [type(step)(from_sha256=delta.from_sha256, sha256=step.sha256, size=step.size)]
        add_deltas(world.store, entry.sha256, entry.size, lying)
    fetched, _ = followed(world, "b")
    assert fetched >= entry.size


def test_a_process_that_dies_of_a_delta_is_only_that(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier file that was cut on this disk kills whoever reads it; not the node."""
    before = tmp_path / "before"
    entry = next(file for file in read_manifest(world.built("a")).files if "contexts" in file.name)
    before.write_bytes((world.built("a") / entry.name).read_bytes()[:4096])
    delta = tmp_path / "delta"
    delta.write_bytes(b"almanac-delta 1\n")
    out = tmp_path / "out"
    with pytest.raises(Damaged, match="no head"):
        patch(delta, before, out, sha256="0" * 64, size=1, meanwhile=lambda: None)
    killer = tmp_path / "killer.py"
    killer.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGBUS)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "edge.node.patch.run_apart", lambda _, *words, **named: run_apart("killer", *words, **named)
    )
    with pytest.raises(Damaged, match="died of SIGBUS"):
        patch(delta, before, out, sha256="0" * 64, size=1, meanwhile=lambda: None)
    assert not out.exists()


def test_deltas_are_put_once_and_none_that_is_no_less(world: World) -> None:
    first = ship_deltas(world, "b", "a")
    objects = {listed.key for listed in world.store.list("objects")}
    lists = {listed.key for listed in world.store.list("deltas")}
    assert len(lists) == sum(delta.is_kept for delta in first)
    assert ship_deltas(world, "b", "a") == first
    assert {listed.key for listed in world.store.list("objects")} == objects
    directory = world.built("b")
    assert not publish_deltas(world.store, directory, read_manifest(directory), [world.built("a")])
    assert world.store.head(manifest_key("toy", world.ids["b"])) is not None
