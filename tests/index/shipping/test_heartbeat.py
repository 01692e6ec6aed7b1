"""Heartbeats: written by each node, read all at once, told beside the channel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from almanac import INTERRUPTED, main
from index.shipping.channel import Channel, Pin, seal_channel
from index.shipping.channel_changes import Stamp, announce, confirm, pin, start_channel
from index.shipping.channel_store import write_channel
from index.shipping.documents import Role, moment_now
from index.shipping.fleet_told import standing_of
from index.shipping.heartbeat import Guards, Heartbeat, Swap, seal_heartbeat
from index.shipping.heartbeat_store import Heard, HeartbeatWriter, hear_fleet
from index.shipping.keyring import read_roots, role_keys
from index.shipping.names import channel_key, heartbeat_key
from index.shipping.rings import in_ring, place_in_rings
from index.shipping.root import Root
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore
from tests.index.shipping.processes import ROOT
from tests.index.shipping.repository import BRAND, CHANNEL, DAY, Repository, target

NODES = [f"edge-{number}" for number in range(1, 41)]


def beat(node_id: str, **changes: Any) -> Heartbeat:
    plain = Heartbeat(
        brand=BRAND,
        channel=CHANNEL,
        node_id=node_id,
        sent_at=moment_now(),
        interval_s=5.0,
        software="0.1.0",
        trust="signed",
        snapshot_id="tuesday",
        epoch=3,
        phase="idle",
        uptime_s=12.5,
        n_workers=2,
        n_ready=2,
        guards=Guards(window_s=60.0, requests=10, decisions=10, tiers={"prior": 10}),
        swaps=[Swap(at=moment_now(), snapshot_id="tuesday", what="activated")],
    )
    return replace(plain, **changes)


def open_channel(store: Store) -> None:
    """What a node followed before it tells how it is."""
    store.create(channel_key(BRAND, CHANNEL), b"any")


def heard(
    store: Store, roots: Sequence[Root] | None, now: datetime | None = None
) -> dict[str, Heard]:
    found = hear_fleet(store, BRAND, CHANNEL, roots, now or moment_now())
    return {one.node_id: one for one in found}


def test_every_node_is_heard_with_what_it_said_last(store: Store, repository: Repository) -> None:
    open_channel(store)
    writers = {name: HeartbeatWriter(store, repository.keys["node"]) for name in NODES[:5]}
    for epoch in (3, 4):
        for name, writer in writers.items():
            writer.write(beat(name, epoch=epoch))
    found = heard(store, [repository.newest])

    assert sorted(found) == NODES[:5]
    for name, one in found.items():
        assert one.heartbeat is not None
        assert (one.heartbeat.node_id, one.heartbeat.epoch) == (name, 4)
        assert (one.is_vouched, one.is_silent, one.problem) == (True, False, None)
    assert {writer.n_rivals for writer in writers.values()} == {0}
    assert heard(store, None)["edge-1"].is_vouched is False
    assert hear_fleet(store, BRAND, "other", None, moment_now()) == []


def test_a_node_that_comes_back_goes_on_and_a_rival_is_noticed(local: Store) -> None:
    open_channel(local)
    first = HeartbeatWriter(local, [])
    first.write(beat("edge-1", epoch=1))
    again = HeartbeatWriter(local, [])
    again.write(beat("edge-1", epoch=2))
    assert again.n_rivals == 0
    first.write(beat("edge-1", epoch=3))
    assert first.n_rivals == 1
    found = heard(local, None)["edge-1"].heartbeat
    assert found is not None
    assert found.epoch == 3
    again.write(beat("edge-1", epoch=4))
    first.write(beat("edge-1", epoch=5))
    assert (first.n_rivals, again.n_rivals) == (2, 1)


def test_a_store_that_was_tidied_or_brought_back_is_no_rival(local: Store) -> None:
    open_channel(local)
    writer, key = HeartbeatWriter(local, []), heartbeat_key(BRAND, CHANNEL, "edge-1")
    writer.write(beat("edge-1", epoch=1))
    copy = local.read(key, limit=1 << 20)
    writer.write(beat("edge-1", epoch=2))
    local.delete(key)
    writer.write(beat("edge-1", epoch=3))
    assert writer.n_rivals == 0
    local.replace(key, copy.data, expected=local.read(key, limit=1 << 20).token)
    writer.write(beat("edge-1", epoch=4))
    writer.write(beat("edge-1", epoch=5))
    assert writer.n_rivals == 0


def test_a_store_that_lost_its_channel_is_not_made_anew(local: Store, tmp_path: Path) -> None:
    with pytest.raises(NotInStore):
        HeartbeatWriter(local, []).write(beat("edge-1"))
    assert not (tmp_path / "store").exists()


def test_one_bad_document_hides_no_node(local: Store, repository: Repository) -> None:
    open_channel(local)
    roots, keys = [repository.newest], repository.keys
    HeartbeatWriter(local, keys["node"]).write(beat("edge-1"))
    HeartbeatWriter(local, []).write(beat("edge-2"))
    HeartbeatWriter(local, keys["release"]).write(beat("edge-3"))
    local.create(heartbeat_key(BRAND, CHANNEL, "edge-4"), b"nonsense")
    under_another = seal_heartbeat(beat("edge-1"), keys["node"])
    local.create(heartbeat_key(BRAND, CHANNEL, "edge-5"), under_another)
    local.create(heartbeat_key(BRAND, CHANNEL, "edge-6"), b"x" * (1 << 20))
    found = heard(local, roots)

    assert sorted(found) == NODES[:6]
    assert [found[name].heartbeat is not None for name in NODES[:6]] == [True, True] + [False] * 4
    assert [found[name].is_vouched for name in NODES[:6]] == [True] + [False] * 5
    assert [found[name].problem is None for name in NODES[:6]] == [True, True] + [False] * 4
    assert "may not sign for node" in (found["edge-3"].problem or "")


def test_silence_is_measured_by_the_clock_that_makes_a_node_older(
    local: Store, tmp_path: Path
) -> None:
    open_channel(local)
    now = moment_now()
    HeartbeatWriter(local, []).write(beat("edge-1", sent_at=now - timedelta(seconds=31)))
    HeartbeatWriter(local, []).write(beat("edge-2", sent_at=now + DAY))
    HeartbeatWriter(local, []).write(beat("edge-3", sent_at=now - timedelta(seconds=29)))
    HeartbeatWriter(local, []).write(beat("edge-4", sent_at=now + DAY))
    long_ago = time.time() - 600
    os.utime(tmp_path / "store" / heartbeat_key(BRAND, CHANNEL, "edge-4"), (long_ago, long_ago))
    found = heard(local, None, now)

    assert [found[name].is_silent for name in NODES[:4]] == [True, False, False, True]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    assert main(["keys", "init", str(tmp_path / "keys")]) == 0
    return tmp_path / "keys"


@pytest.fixture
def channel(local: Store, keys: Path) -> Channel:
    """Half of the nodes should serve tuesday, the others monday; edge-1 is pinned."""
    now = moment_now()
    stamp = Stamp(now=now, expires_at=now + DAY, root_version=1)
    one = start_channel(BRAND, CHANNEL, target("monday"), percent=100, stamp=stamp)
    one = announce(confirm(one, stamp=stamp), target("tuesday"), percent=50, stamp=stamp)
    wish = Pin(node="edge-1", target=target("monday"), owner="ann", reason="x", until=now + DAY)
    one = pin(one, wish, stamp=stamp)
    write_channel(local, None, one, _keys(keys, "release"))
    return one


def _keys(folder: Path, role: Role) -> list[Any]:
    return role_keys(folder, read_roots(folder)[-1], role)


def _wanted(channel: Channel, name: str) -> str:
    return "tuesday" if in_ring(name, channel.rollout.salt, 50) else "monday"


def test_status_tells_the_fleet_beside_the_channel(
    local: Store, keys: Path, channel: Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["status", "--store", local.name, "--brand", BRAND, "--keys", str(keys)]
    capsys.readouterr()
    assert main(where) == 0
    assert "nodes     none was heard of" in capsys.readouterr().out
    signers = _keys(keys, "node")
    for name in NODES:
        HeartbeatWriter(local, signers).write(beat(name, snapshot_id=_wanted(channel, name)))
    HeartbeatWriter(local, signers).write(beat("edge-1", snapshot_id="monday", pinned=True))
    HeartbeatWriter(local, signers).write(beat("edge-2", failure="full", detail="no room"))
    HeartbeatWriter(local, signers).write(beat("edge-3", snapshot_id="sunday"))
    HeartbeatWriter(local, _keys(keys, "release")).write(beat("edge-4"))
    late = moment_now() - timedelta(minutes=9)
    HeartbeatWriter(local, signers).write(beat("edge-5", sent_at=late))
    assert main([*where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    fleet = told["fleet"]

    assert (told["epoch"], told["signed_under"], told["fleet_problem"]) == (4, 1, None)
    assert fleet["n_nodes"] == 40
    assert fleet["standings"] == {
        "pinned": 1,
        "failing": 1,
        "behind": 1,
        "unheard": 1,
        "silent": 1,
        "current": 35,
    }
    assert sum(fleet["snapshots"].values()) == 40
    for node in fleet["nodes"]:
        assert node["place"] == place_in_rings(node["node_id"], channel.rollout.salt)
        if node["node_id"] != "edge-1":
            assert node["wanted"] == _wanted(channel, node["node_id"])
    assert main(where) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  nodes     40: 1 behind, 35 current, 1 failing, 1 pinned, 1 silent, 1 unheard" in lines
    assert "edge-2: no room" in lines
    (row,) = [line for line in lines if line.startswith("edge-5 ")]
    assert row.split()[:6] == ["edge-5", "silent", "tuesday", "3", "9", "min"]
    assert not any("(unsigned)" in line for line in lines)
    HeartbeatWriter(local, []).write(beat("edge-6"))
    assert main(where) == 0
    assert capsys.readouterr().out.count("(unsigned)") == 1


def test_watching_goes_on_while_the_channel_is_away_and_ends_when_interrupted(
    local: Store, keys: Path, channel: Channel
) -> None:
    where = ["status", "--store", local.name, "--brand", BRAND, "--keys", str(keys)]
    watching = subprocess.Popen(
        [sys.executable, "-m", "almanac", *where, "--watch"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        limit = threading.Timer(60, watching.kill)
        limit.start()
        first = watching.stdout.readline()
        key = channel_key(BRAND, CHANNEL)
        local.delete(key)
        missing = watching.stderr.readline()
        local.create(key, seal_channel(replace(channel, epoch=5), _keys(keys, "release")))
        again = next(line for line in watching.stdout if "epoch 5" in line)
        watching.send_signal(signal.SIGINT)
        code = watching.wait()
        limit.cancel()

    assert first == f"{BRAND}/{CHANNEL}, epoch 4, signed under root 1\n"
    assert again == f"{BRAND}/{CHANNEL}, epoch 5, signed under root 1\n"
    assert "has no channel" in missing
    assert code == INTERRUPTED


def test_a_channel_that_wants_nothing_leaves_nobody_behind(local: Store, channel: Channel) -> None:
    nothing = replace(channel, target=None, last_good=None, pins=[])
    HeartbeatWriter(local, []).write(beat("edge-9", snapshot_id=None))
    one = heard(local, None)["edge-9"]

    assert standing_of(one, nothing, moment_now()) == "current"
    assert standing_of(one, channel, moment_now()) == "behind"
