"""The sync process is killed at every step: then it is the old or the new, never a mixture."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from edge.node.folder import NodeFolder
from edge.node.receipt import read_receipt
from edge.node.standing import NodeState
from edge.node.sync import follow
from edge.settings import Settings
from index.manifest import check_digest, file_digest, read_manifest
from index.shipping.published import files_of
from tests.edge.node.supervisor import Supervisor, forkserver
from tests.edge.node.world import World

N_KILLS = int(os.environ.get("ALMANAC_TEST_KILLS", "20"))
LIVES = 6
"""How often a node is killed on its way to one snapshot."""

CHANGES = frozenset(
    {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "open"}
)


def follow_until(
    settings: Settings, connection: Connection, cells: Any, counted: Any, last: int
) -> None:
    """The sync process, which is killed just before it changes its folder for the n-th time."""
    top = str(settings.state_dir)

    def before(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or not str(arguments[0]).startswith(top):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        counted[0] += 1
        if counted[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(before)
    follow(settings, connection, cells)


def require_whole(world: World, *served: str) -> None:
    """What the node would serve now is one of these, and every snapshot it knows is whole."""
    folder = NodeFolder(world.folder.top)
    for path in folder.kept():
        receipt = read_receipt(path)
        if receipt is None:
            continue
        assert file_digest(path / "manifest.json") == receipt.manifest_sha256
        for entry in files_of(read_manifest(path)):
            check_digest(path, entry)
    standing = NodeState(world.folder.top).read()
    assert standing.active in served
    assert folder.receipt_of(standing.active) is not None
    assert standing.quarantined == {}


def test_case_20_killed_before_any_change_of_its_folder_it_is_the_old_or_the_new(
    world: World,
) -> None:
    counted = forkserver.RawArray("Q", 1)
    n_changes = changes_on_the_way(world.copied(world.top.with_name("measured")), counted)
    assert n_changes > 40
    moments, n_killed = random.Random(20), 0
    old, letters = world.ids["a"], "bcd" * N_KILLS
    for letter in letters:
        if n_killed >= N_KILLS:
            break
        new = world.ids[letter]
        world.announce(letter)
        for _ in range(LIVES):
            counted[0] = 0
            arguments = (counted, moments.randint(1, n_changes))
            with one_life(world, follow_until, arguments) as node:
                arrived = arrives(node, world, new)
            require_whole(world, old, new)
            if arrived:
                break
            n_killed += 1
        finish(world, new)
        old = new


@pytest.mark.slow
def test_case_20_killed_at_any_time_it_is_the_old_or_the_new(world: World) -> None:
    moments, n_killed, old = random.Random(21), 0, world.ids["a"]
    for letter in "bcd" * N_KILLS:
        if n_killed >= N_KILLS:
            break
        new = world.ids[letter]
        world.announce(letter)
        for _ in range(LIVES):
            with one_life(world, follow, ()) as node:
                end = time.monotonic() + moments.uniform(0, 0.6)
                while time.monotonic() < end:
                    node.hear(0.005)
                n_killed += world.standing.last_good != new
            require_whole(world, old, new)
        finish(world, new)
        old = new


def changes_on_the_way(world: World, counted: Any) -> int:
    """How often the folder is changed from one snapshot to the next, and in two rounds more.

    On the shortest way there are 39 changes, and each round more has two.
    """
    counted[0] = 0
    world.announce("b")
    with one_life(world, follow_until, (counted, 0)) as node:
        node.until(lambda: world.standing.last_good == world.ids["b"])
        node.rounds(2)
    return int(counted[0])


def one_life(world: World, target: Callable[..., None], arguments: tuple[Any, ...]) -> Supervisor:
    return Supervisor(world.settings(tries=100), target=target, arguments=arguments)


def arrives(node: Supervisor, world: World, new: str) -> bool:
    """Hear and answer until the new snapshot is confirmed, or the process is dead."""
    while node.hear(0.005):
        if world.standing.last_good == new:
            return True
    return False


def finish(world: World, new: str) -> None:
    """Left in peace, it arrives, and leaves nothing lying about."""
    with one_life(world, follow, ()) as node:
        node.until(lambda: world.standing.last_good == new and node.state.failure is None)
        node.until(lambda: node.state.phase == "following")
        node.rounds(1)
    assert node.serving == new
    require_whole(world, new)
    assert list(world.folder.tmp.iterdir()) == []
    assert [path for path in world.folder.objects.iterdir() if path.suffix == ".part"] == []
