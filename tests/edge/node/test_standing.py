"""A node's memory: what it begins with, after whatever happened."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import FolderDamaged, FolderUnusable
from edge.node.folder import NodeFolder
from edge.node.install import give_name, put_together
from edge.node.receipt import receipt_for
from edge.node.standing import NodeState
from edge.node.verdict import Verdict
from index.manifest import encode_manifest, read_manifest
from tests.edge.node.world import World

PROVED = Verdict(outcome="proved")
IDS = ["one", "two", "three"]


@pytest.fixture(scope="module")
def folder(first_night: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's folder in which `one`, `two` and `three` are installed."""
    node = NodeFolder(tmp_path_factory.mktemp("standing"))
    node.make()
    for entry in read_manifest(first_night.built("a")).files:
        node.object(entry.sha256).write_bytes((first_night.built("a") / entry.name).read_bytes())
    for name in IDS:
        install(node, name, first_night)
    return node.top


def install(node: NodeFolder, name: str, world: World) -> None:
    manifest = read_manifest(world.built("a"))
    manifest = type(manifest)(
        **{field: getattr(manifest, field) for field in manifest.__struct_fields__}
        | {"snapshot_id": name, "reports": []}
    )
    data = encode_manifest(manifest)
    aside = put_together(node, manifest, data, b"an envelope")
    give_name(node, aside, receipt_for(manifest, data, PROVED, "signed"))


@pytest.fixture
def state(folder: Path) -> NodeState:
    (folder / "state" / "standing.json").unlink(missing_ok=True)
    return NodeState(folder)


def begun(state: NodeState) -> str | None:
    installed = state.begin()
    return None if installed is None else installed.snapshot_id


def good(state: NodeState, name: str) -> None:
    state.activating(name)
    state.activated(name)
    state.confirmed(name)


def test_a_node_that_never_served_begins_with_nothing(state: NodeState) -> None:
    assert state.begin() is None
    assert state.read().history == []


def test_what_was_confirmed_is_begun_with_for_ever(state: NodeState, folder: Path) -> None:
    good(state, "one")

    for _ in range(10):
        installed = state.begin()
        assert installed is not None
        assert (installed.snapshot_id, installed.path) == ("one", folder / "snapshots" / "one")
    assert state.read().tries == {}


def test_case_36_what_is_never_confirmed_gets_three_starts(state: NodeState) -> None:
    good(state, "one")
    state.activating("two")
    state.activated("two")

    assert [begun(state) for _ in range(5)] == ["two", "two", "two", "one", "one"]
    standing = state.read()
    assert standing.quarantined == {"two": "started 3 times and never confirmed"}
    assert (standing.active, standing.last_good, standing.is_confirmed) == ("one", "one", True)


def test_what_a_node_dies_of_while_changing_to_it_counts_as_tried(state: NodeState) -> None:
    good(state, "one")
    for _ in range(4):
        state.activating("two")
        assert begun(state) == "one"

    assert "two" in state.read().quarantined
    assert state.read().activating is None


def test_a_confirmation_forgives_earlier_starts(state: NodeState) -> None:
    state.activated("one")
    assert [begun(state) for _ in range(3)] == ["one"] * 3
    state.confirmed("one")

    assert [begun(state) for _ in range(5)] == ["one"] * 5


def test_case_40_it_goes_back_to_the_last_good_one_and_not_to_the_one_before(
    state: NodeState,
) -> None:
    good(state, "one")
    state.activated("two")
    state.activated("three")
    state.quarantine("three", "workers died")

    assert (state.read().active, state.read().previous) == ("one", None)
    assert begun(state) == "one"


def test_without_anything_good_a_refused_snapshot_is_not_begun_with(state: NodeState) -> None:
    state.activated("one")
    state.quarantine("one", "workers died")

    assert state.begin() is None


def test_a_quarantine_keeps_its_first_reason_until_it_is_forgotten(state: NodeState) -> None:
    good(state, "one")
    state.quarantine("two", "the cause")
    state.quarantine("two", "what followed")
    state.activated("two")
    assert state.read().quarantined == {"two": "the cause"}
    assert state.read().active == "one"

    assert state.forget("two", "mended")
    assert not state.forget("two", "mended")
    state.activated("two")
    assert state.read().active == "two"
    assert [swap.what for swap in state.read().history[2:]] == [
        "quarantined",
        "forgotten",
        "activated",
    ]


@pytest.mark.parametrize("lost", ["RECEIPT.json", "manifest.json", "object"])
def test_a_snapshot_without_receipt_or_with_a_file_missing_is_not_there(
    state: NodeState, folder: Path, first_night: World, lost: str
) -> None:
    good(state, "one")
    state.activated("two")
    path = folder / "snapshots" / "two"
    if lost == "object":
        (path / "model.msgpack").unlink()
    else:
        (path / lost).unlink()
    try:
        assert begun(state) == "one"
    finally:
        install(NodeFolder(folder), "two", first_night)


def test_a_damaged_memory_is_named_and_not_guessed_at(state: NodeState, folder: Path) -> None:
    (folder / "state" / "standing.json").write_bytes(b'{"active": 7}')

    with pytest.raises(FolderDamaged, match="not what was written") as refused:
        state.begin()
    assert refused.value.hint
    assert refused.value.exit_code == 3


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FolderUnusable, match="can't be the node's folder"):
        NodeState(tmp_path / "file").begin()


def test_whoever_changes_it_waits_for_another(state: NodeState, folder: Path) -> None:
    descriptor = os.open(folder / "state", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    waiting = Thread(target=state.activated, args=("one",))
    waiting.start()
    assert state.read().active is None
    os.close(descriptor)
    waiting.join()

    assert state.read().active == "one"


STEPS = st.sampled_from(["activating", "activated", "confirmed", "quarantine", "forget", "begin"])


@given(st.lists(st.tuples(STEPS, st.sampled_from(IDS)), max_size=30))
def test_whatever_happens_nothing_refused_is_begun_with(
    folder: Path, steps: list[tuple[str, str]]
) -> None:
    (folder / "state" / "standing.json").unlink(missing_ok=True)
    state, last_good = NodeState(folder), None
    for step, name in steps:
        before = state.read()
        if step == "begin":
            chosen = begun(state)
            assert chosen is None or chosen not in state.read().quarantined
            assert chosen in {before.active, before.last_good, None}
            assert chosen == state.read().active
        else:
            words = (name, "a reason") if step in {"quarantine", "forget"} else (name,)
            getattr(state, step)(*words)
        after = state.read()
        if step == "confirmed" and after.active == name:
            last_good = name
        assert after.last_good == last_good
        assert after.active is None or after.active in IDS
        assert all(tries <= 3 for tries in after.tries.values())
        assert not after.tries.keys() & after.quarantined.keys()
