"""A node on an ordinary day: first boot, new snapshots, rollback, pins, restarts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge.node.folder import links_of
from edge.node.receipt import read_receipt, write_receipt
from index.manifest import read_manifest
from index.shipping import channel_changes as changes
from index.shipping.channel import Pin
from index.verify import verify_snapshot
from tests.edge.node.supervisor import PATIENCE_S
from tests.edge.node.world import DAY, NOW, World
from tests.edge.running import ROOT, eventually
from tests.index.shipping.web_servers import Answers, web_server

# A parent that dies without a word to the sync process it started.
PARENT = """
import os, sys
from multiprocessing import get_context
from pathlib import Path
from edge.cells import ROW_CELLS
from edge.node.messages import Serving
from edge.node.sync import follow
from edge.settings import settings_from

flags = {"state_dir": Path(sys.argv[1]), "store": sys.argv[2], "brand": "toy", "workers": 1}
context = get_context("spawn")
ours, theirs = context.Pipe()
cells = context.RawArray("Q", ROW_CELLS + 1)
process = context.Process(target=follow, args=(settings_from(flags, {}), theirs, cells))
process.start()
ours.send(Serving(snapshot_id=None))
ours.recv()
print(process.pid, flush=True)
os._exit(0)
"""


@pytest.fixture
def web(world: World) -> Iterator[Answers]:
    """A web server over the store."""
    with web_server(world.address) as answers:
        yield answers


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or is only waiting for whoever adopted it to notice."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def pin_of(world: World, node: str, letter: str) -> Pin:
    return Pin(
        node=node, target=world.targets[letter], owner="ann", reason="a test", until=NOW + DAY
    )


def test_case_10_a_first_boot_serves_what_was_announced_and_nothing_that_was_only_published(
    new_world: World,
) -> None:
    """Case 9."""
    with new_world.node() as node:
        node.until_failing("not_in_store")
        assert node.offers == []
        assert list(new_world.folder.snapshots.iterdir()) == []

        new_world.start("b")
        node.until(lambda: new_world.standing.is_confirmed)
        node.until(lambda: node.state.failure is None and node.state.phase == "following")

    b = new_world.ids["b"]
    assert node.offers == [b]
    assert [path.name for path in new_world.folder.snapshots.iterdir()] == [b]
    told = list(verify_snapshot(new_world.folder.snapshot(b), deep=True))
    assert "6 golden decisions repeated" in told
    receipt = read_receipt(new_world.folder.snapshot(b))
    assert receipt is not None
    assert (receipt.n_golden, receipt.trust, receipt.brand) == (6, "signed", "toy")
    assert receipt.manifest_sha256 == new_world.targets["b"].manifest_sha256
    assert (node.state.wanted, node.state.epoch, node.state.n_quarantined) == (b, 2, 0)
    assert node.state.bytes_fetched >= receipt.size


def test_a_new_snapshot_is_brought_watched_confirmed_and_the_old_one_swept(world: World) -> None:
    """Case 12."""
    with world.node() as node:
        world.announce("b")
        node.until(lambda: world.standing.last_good == world.ids["b"])
        world.change(changes.confirm)
        world.announce("c")
        node.until(lambda: world.standing.last_good == world.ids["c"])
        node.rounds(2)

    assert node.offers == [world.ids["b"], world.ids["c"]]
    # `b` is the channel's last good one, to go back to; `a` is nobody's any more.
    kept = {path.name for path in world.folder.kept()}
    assert kept == {world.ids["b"], world.ids["c"]}
    needed = set[str]().union(*map(links_of, world.folder.kept()))
    assert {path.name for path in world.folder.objects.iterdir()} == needed
    assert list(world.folder.tmp.iterdir()) == []


def test_going_back_to_what_is_still_on_disk_costs_no_download(world: World, web: Answers) -> None:
    with world.node(store=web.address) as node:
        world.announce("b")
        node.until(lambda: world.standing.last_good == world.ids["b"])
        web.asked.clear()
        world.change(changes.rollback, "empty lists")
        node.until(lambda: world.standing.last_good == world.ids["a"])

    assert node.offers == [world.ids["b"], world.ids["a"]]
    assert web.asked
    assert {path.split("/")[1] for path, _ in web.asked} <= {"trust", "channels", "overlays"}


def test_rings_and_pins_decide_what_a_node_wants(world: World) -> None:
    with world.node() as node:
        world.announce("b", percent=0)
        node.until(lambda: node.states[-1].epoch == 3)
        assert (node.state.wanted, node.state.pinned) == (world.ids["a"], False)

        world.change(changes.pin, pin_of(world, "node-7", "c"))
        node.until(lambda: world.standing.last_good == world.ids["c"])
        assert node.state.pinned
        world.change(changes.unpin, "node-7")
        node.until(lambda: world.standing.last_good == world.ids["a"])

    assert node.offers == [world.ids["c"], world.ids["a"]]


def test_what_is_wanted_may_change_while_it_is_being_fetched(world: World) -> None:
    size = read_manifest(world.built("b")).files
    rate = max(1024, sum(entry.size for entry in size) // 60)

    with world.node(max_bytes_per_s=rate) as node:
        world.announce("b")
        node.until(lambda: node.state.phase == "fetching" and node.state.wanted == world.ids["b"])
        world.change(changes.rollback, "a second thought")
        node.until(lambda: node.state.wanted == world.ids["a"])
        node.until(lambda: node.state.phase == "following")

    assert node.offers == []
    assert node.serving == world.ids["a"]


def test_all_nodes_of_a_fleet_do_not_begin_at_once(world: World) -> None:
    """Case 18."""
    with world.node(spread_s=3600) as node:
        world.announce("b")
        node.until(lambda: node.state.phase == "waiting")
        node.rounds(2)

    assert node.offers == []
    assert (node.state.wanted, node.state.failure) == (world.ids["b"], None)


def test_a_watched_snapshot_counts_as_good_only_when_its_time_is_over(world: World) -> None:
    with world.node(watch_s=3600) as node:
        world.announce("b")
        node.until(lambda: world.standing.active == world.ids["b"])
        node.until(lambda: node.state.phase == "watching")
        node.rounds(2)
        assert world.standing.last_good == world.ids["a"]
        # What it would go back to is kept meanwhile.
        assert {path.name for path in world.folder.kept()} == {world.ids["a"], world.ids["b"]}

    with world.node(watch_s=0) as node:
        node.until(lambda: world.standing.last_good == world.ids["b"])
    assert node.offers == []


def test_a_real_spawned_process_ends_with_its_pipe_and_with_its_parent(world: World) -> None:
    with world.node() as node:
        node.kill()
        node.method = "spawn"
        node.start()
        node.rounds(1)
        assert os.getpriority(os.PRIO_PROCESS, node.process.pid or 0) == 19
        node.pipe.close()
        node.process.join(PATIENCE_S)
        assert node.process.exitcode == 0

    orphan = subprocess.run(
        [sys.executable, "-c", PARENT, str(world.folder.top), str(world.address)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    eventually(lambda: has_ended(int(orphan.stdout)))


def test_two_processes_never_look_after_one_folder(world: World) -> None:
    with world.node() as node:
        node.until(lambda: node.state.last_success_s is not None)
        with world.node() as other:
            other.until_failing("folder_busy")
            node.kill()
            other.until(lambda: other.state.failure is None)


def test_a_snapshot_proved_by_other_software_is_proved_again_before_it_is_served(
    world: World,
) -> None:
    with world.node() as node:
        world.announce("b")
        node.until(lambda: world.standing.last_good == world.ids["b"])
        path = world.folder.snapshot(world.ids["a"])
        receipt = read_receipt(path)
        assert receipt is not None
        write_receipt(path, replace(receipt, software={"numpy": "1.0"}))
        world.change(changes.rollback, "empty lists")
        node.until(lambda: world.standing.last_good == world.ids["a"])

    again = read_receipt(path)
    assert again is not None
    assert again.software == receipt.software
    assert (again.manifest_sha256, again.n_golden) == (receipt.manifest_sha256, receipt.n_golden)
