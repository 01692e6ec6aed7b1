"""The operator's commands, from keys to rollback, on a folder and on a real S3 server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from almanac import main
from index.manifest import read_manifest
from index.shipping import channel_cli
from index.shipping.channel_store import read_channel, require_channel, write_channel
from index.shipping.chunks import object_key
from index.shipping.heartbeat import Guards, Heartbeat
from index.shipping.heartbeat_store import HeartbeatWriter
from index.shipping.keyring import read_roots, role_keys
from index.shipping.names import channel_key, manifest_key, past_channel_key
from index.shipping.published import read_published
from index.shipping.store import open_store
from index.shipping.store_errors import NotInStore, Overtaken
from tests.index.shipping.processes import ROOT
from tests.toys import toy_model, write_toy

Run = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three snapshots of one brand that differ in their model alone."""
    folder = tmp_path_factory.mktemp("snapshots")
    found = []
    for number in range(3):
        path = folder / str(number)
        write_toy(path, model=toy_model(repeat={"*": 0.1 + number / 10}))
        found.append(path)
    return found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "toy"
    assert main(["keys", "init", str(folder)]) == 0
    return folder


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that operators write to."""
    if request.param == "folder":
        return str(tmp_path / "store")
    settings: Mapping[str, str] = request.getfixturevalue("s3")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return f"s3://tests/{uuid4().hex}"


@pytest.fixture
def run(address: str, keys: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the store, as JSON; gives exit code and what it told."""

    def run(*words: str, brand: bool = True, signed: bool = True) -> tuple[int, Any]:
        capsys.readouterr()
        whole = [*words, "--store", address, "--json"]
        whole += ["--brand", "toy"] if brand else []
        whole += ["--keys", str(keys)] if signed else ["--insecure"]
        code = main(whole)
        told = capsys.readouterr()
        return code, json.loads(told.out) if code == 0 else told.err

    return run


def ids(snapshots: list[Path]) -> list[str]:
    return [read_manifest(path).snapshot_id for path in snapshots]


def test_a_rollout_from_the_first_snapshot_to_a_rollback(run: Run, snapshots: list[Path]) -> None:
    first, second, third = ids(snapshots)
    for path in snapshots:
        assert run("publish", str(path), brand=False)[0] == 0
    assert run("status")[0] == 4

    _, told = run("announce", first)
    assert (told["change"], told["channel"]["epoch"]) == (
        f"{first} at 100 % of the nodes, last good none",
        1,
    )
    assert run("rollback", "--reason", "none")[0] == 2
    assert run("confirm")[1]["change"] == f"last good is {first}"
    assert run("announce", second)[1]["change"] == f"announced {second} at 10 % of the nodes"
    assert run("confirm")[0] == 2
    assert run("promote", "--ring", "50%")[1]["channel"]["rollout"]["percent"] == 50
    assert run("promote", "--ring", "40")[0] == 2
    assert run("pause", "--reason", "odd lists")[1]["change"] == "paused: odd lists"
    assert run("promote", "--ring", "60")[0] == 2
    assert run("resume")[1]["change"] == "resumed"
    assert run("rollback", "--reason", "empty lists")[1]["change"] == (
        f"rolled back to {first}: empty lists"
    )
    assert run("revoke", second, "--reason", "empty lists")[0] == 0
    assert run("announce", second)[0] == 2

    pinned = ("pin", third, "--until", "2099-01-01T00:00:00", "--reason", "trial")
    assert run(*pinned)[0] == 2
    assert run(*pinned, "--node", "edge-1", "--owner", "ann")[1]["change"] == (
        f"pinned edge-1 to {third} (ann: trial)"
    )
    assert run("unpin", "--node", "edge-1")[1]["change"] == "unpinned edge-1"
    assert run("renew")[1]["change"] == "renewed"

    _, channel = run("status")
    assert (channel["epoch"], channel["target"]["snapshot_id"], channel["expired"]) == (
        11,
        first,
        False,
    )
    assert [entry["snapshot_id"] for entry in channel["revoked"]] == [second]
    _, past = run("history")
    assert [document["epoch"] for document in past] == list(range(11, 0, -1))


def test_what_is_published_comes_back_as_it_was(
    run: Run, snapshots: list[Path], tmp_path: Path
) -> None:
    (snapshot_id, *_), out = ids(snapshots), tmp_path / "back"
    assert run("fetch", snapshot_id, "--out", str(out))[0] == 4
    run("publish", str(snapshots[0]), brand=False)
    assert run("fetch", snapshot_id, "--out", str(out))[0] == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in snapshots[0].iterdir()
    }
    assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == ["back"]
    assert run("fetch", snapshot_id, "--out", str(out))[0] == 6


def test_a_night_s_deltas_go_with_it(
    run: Run, snapshots: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run("publish", str(snapshots[0]), brand=False)
    _, told = run("publish", str(snapshots[1]), "--delta-from", str(snapshots[0]), brand=False)
    assert told["deltas"] == []  # files of a few kilobytes go whole
    code, error = run("publish", str(snapshots[1]), "--delta-from", "nowhere", brand=False)
    assert (code, "nowhere" in error) == (4, True)


def test_only_what_the_store_lacks_is_sent(run: Run, snapshots: list[Path]) -> None:
    path, later = snapshots[:2]
    _, would = run("publish", str(path), "--dry-run", brand=False)
    assert not would["published"]
    files = read_manifest(path)
    assert would["bytes_missing"] == sum(e.size for e in (*files.files, *files.reports))
    _, told = run("publish", str(path), brand=False)
    assert (told["is_new"], told["bytes_there"], told["new_roots"]) == (True, 0, 1)
    _, again = run("publish", str(path), brand=False)
    assert (again["is_new"], again["bytes_sent"], again["new_roots"]) == (False, 0, 0)
    _, second = run("publish", str(later), "--dry-run", brand=False)
    ours = {entry.sha256 for entry in (*files.files, *files.reports)}
    assert second["would_send"] == [
        entry.name
        for entry in (*read_manifest(later).files, *read_manifest(later).reports)
        if entry.sha256 not in ours
    ]


def test_a_dry_run_changes_nothing(run: Run, snapshots: list[Path], address: str) -> None:
    run("publish", str(snapshots[0]), brand=False)
    code, told = run("announce", ids(snapshots)[0], "--dry-run")

    assert (code, told["changed"]) == (0, False)
    assert open_store(address).head(channel_key("toy", "stable")) is None


def test_an_unsound_snapshot_is_not_sent(
    run: Run, snapshots: list[Path], tmp_path: Path, address: str
) -> None:
    path = tmp_path / "damaged"
    shutil.copytree(snapshots[0], path)
    table = path / "items.lmdb"
    table.chmod(0o644)
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    code, told = run("publish", str(path), brand=False)

    assert code == 3
    assert "items.lmdb" in told
    assert open_store(address).head(manifest_key("toy", ids(snapshots)[0])) is None


def test_a_brand_that_no_store_takes_is_named(run: Run, tmp_path: Path) -> None:
    """It may be built and served from a folder; where it is published it needs a plain name."""
    write_toy(tmp_path / "local", model=toy_model(brand="My Shop Österreich"))
    code, told = run("publish", str(tmp_path / "local"), brand=False)

    assert code == 3
    assert "its brand 'My Shop Österreich' can't be the name of anything in a store" in told
    assert "regex" not in told


def test_what_can_not_be_fetched_whole_is_not_announced(
    run: Run, snapshots: list[Path], address: str
) -> None:
    """Case 6."""
    assert run("announce", ids(snapshots)[0])[0] == 4
    run("publish", str(snapshots[0]), brand=False)
    lost = read_manifest(snapshots[0]).files[0]
    open_store(address).delete(object_key(lost.sha256))
    code, told = run("announce", ids(snapshots)[0])

    assert code == 4
    assert lost.name in told
    assert "publish the snapshot again" in told


def test_a_snapshot_under_the_name_of_another_is_not_announced(
    run: Run, snapshots: list[Path], address: str
) -> None:
    """Though a builder key signed it: that is no reason to serve it instead."""
    first, second, _ = ids(snapshots)
    run("publish", str(snapshots[0]), brand=False)
    store = open_store(address)
    data = store.read(manifest_key("toy", first), limit=1 << 20).data
    store.create(manifest_key("toy", second), data)
    code, told = run("announce", second)

    assert code == 3
    assert first in told
    assert store.head(channel_key("toy", "stable")) is None


def test_what_nobody_signed_is_announced_by_nobody_who_asks_for_trust(
    run: Run, snapshots: list[Path]
) -> None:
    assert run("publish", str(snapshots[0]), brand=False, signed=False)[0] == 0
    assert run("announce", ids(snapshots)[0])[0] == 3
    assert run("announce", ids(snapshots)[0], signed=False)[0] == 0
    assert run("status")[0] == 3
    assert run("status", signed=False)[0] == 0


def test_what_is_signed_is_never_replaced_by_what_is_not(run: Run, snapshots: list[Path]) -> None:
    """Nodes would refuse it, and so would every command that could mend it."""
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    run("overlay", "kill", "a", "--reason", "why")
    for words in (["pause"], ["overlay", "kill", "b"]):
        code, told = run(*words, "--reason", "why", signed=False)
        assert (code, "give --keys" in told) == (2, True)
    assert run("status")[1]["epoch"] == 1
    assert run("overlay", "show")[1]["sequence"] == 1


def test_a_key_under_the_name_of_another_signs_nothing(
    tmp_path: Path, snapshots: list[Path], keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(keys, mixed)
    (release,), (builder,) = (
        (mixed / "keys").glob(f"{role}-*.pem") for role in ("release", "builder")
    )
    where = ["--store", str(tmp_path / "store"), "--brand", "toy"]
    main(["publish", str(snapshots[0]), *where[:2], "--keys", str(keys)])
    main(["announce", ids(snapshots)[0], *where, "--keys", str(keys)])
    release.write_bytes(builder.read_bytes())
    capsys.readouterr()
    assert main(["renew", *where, "--keys", str(mixed)]) == 2
    assert "not the one it is named after" in capsys.readouterr().err
    assert main(["renew", *where, "--keys", str(keys)]) == 0


def test_an_old_document_that_was_put_back_is_changed_above_all_that_were_seen(
    run: Run, snapshots: list[Path], address: str
) -> None:
    """Whatever stood there, put there by whomever, the brake works again at once."""
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    for _ in range(3):
        run("renew")
    store, key = open_store(address), channel_key("toy", "stable")
    old = store.read(past_channel_key("toy", "stable", 2), limit=1 << 20).data
    store.replace(key, old, expected=store.read(key, limit=1 << 20).token)
    _, told = run("pause", "--reason", "why")
    assert told["channel"]["epoch"] == run("status")[1]["epoch"] == 5
    assert run("resume")[1]["channel"]["epoch"] == 6
    assert [one["epoch"] for one in run("history")[1]] == [6, 5, 3, 2, 1]


def test_of_two_who_change_a_channel_at_once_one_finds_out(
    run: Run, snapshots: list[Path], address: str, keys: Path
) -> None:
    """Case 7."""
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    store, roots = open_store(address), read_roots(keys)
    signers = role_keys(keys, roots[-1], "release")
    before = require_channel(store, "toy", "stable", roots)
    assert run("pause", "--reason", "first")[0] == 0
    after = replace(before.channel, epoch=before.channel.epoch + 1)
    with pytest.raises(Overtaken):
        write_channel(store, before, after, signers)

    found = read_channel(store, "toy", "stable", roots)
    assert found is not None
    assert found.channel.rollout.reason == "first"


def test_replaced_keys_are_followed_by_new_signatures(
    tmp_path: Path, snapshots: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    keys, store = str(tmp_path / "keys"), str(tmp_path / "store")
    where = ["--store", store, "--keys", keys]
    channel = [*where, "--brand", "toy"]
    assert main(["keys", "init", keys]) == 0
    assert main(["publish", str(snapshots[0]), *where]) == 0
    assert main(["announce", ids(snapshots)[0], *channel]) == 0
    for role in ("release", "builder"):
        assert main(["keys", "rotate", keys, "--role", role]) == 0
    capsys.readouterr()
    assert main(["status", *channel]) == 0
    assert "SIGNED UNDER ROOT 1" in capsys.readouterr().out
    for words in (["confirm"], ["rollout"], ["rollout", "--dry-run"]):
        assert main([*words, *channel]) == 2
        assert "almanac renew" in capsys.readouterr().err
    assert main(["renew", *channel]) == 0
    assert main(["confirm", *channel]) == 0
    pinned = ["pin", ids(snapshots)[0], "--all", "--until", "2099-01-01", "--reason", "trial"]
    assert main([*pinned, *channel]) == 3
    assert main(["publish", str(snapshots[0]), *where]) == 0
    assert main([*pinned, *channel]) == 0
    capsys.readouterr()
    assert main(["status", *channel]) == 0
    assert "epoch 4, signed under root 3" in capsys.readouterr().out


def test_nothing_that_is_told_moves_the_cursor_or_begins_a_line(
    run: Run, snapshots: list[Path], address: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A heartbeat needs no signature to be shown, so its words may be anybody's."""
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    evil = "red\x1b[31m\nnode-9  current\u2028\x9b2J\u202e"
    assert run("pause", "--reason", evil)[1]["channel"]["rollout"]["reason"] == evil
    assert run("overlay", "kill", "item-1\x1b[2J", "--reason", evil)[0] == 0
    now = datetime.now(UTC)
    beat = Heartbeat(
        brand="toy",
        channel="stable",
        node_id="node-1",
        sent_at=now,
        interval_s=5,
        software="x",
        trust="signed",
        snapshot_id=None,
        epoch=None,
        phase=evil,
        failure=evil,
        detail=evil,
        verdict=evil,
        uptime_s=0,
        n_workers=1,
        n_ready=1,
        guards=Guards(window_s=1),
    )
    HeartbeatWriter(open_store(address), []).write(beat)
    where = ["--store", address, "--brand", "toy", "--keys", str(keys)]
    capsys.readouterr()
    for words in (["status"], ["history"], ["overlay", "show"], ["promote", "--ring", "100"]):
        main([*words, *where])
        told = "".join(capsys.readouterr())
        assert "node-9  current" in told
        assert all(line.isprintable() for line in told.split("\n"))
        assert not any(line.startswith("node-9") for line in told.split("\n"))


def test_a_revocation_of_what_is_not_there_is_noted(
    run: Run, snapshots: list[Path], address: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody in a hurry mistypes an id, and would believe that the bad one is gone."""
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    where = ["--store", address, "--brand", "toy", "--keys", str(keys), "--reason", "why"]
    capsys.readouterr()
    noted = []
    for name in (f"{ids(snapshots)[0]}1", ids(snapshots)[0]):
        assert main(["revoke", name, *where]) == 0
        noted.append("is it the one you mean?" in capsys.readouterr().err)
    assert noted == [True, False]


def test_a_rollback_to_what_can_not_be_fetched_is_noted(
    run: Run, snapshots: list[Path], address: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes back all the same: nodes that have it need no store."""
    for path in snapshots[:2]:
        run("publish", str(path), brand=False)
    run("announce", ids(snapshots)[0])
    run("confirm")
    lost = object_key(read_manifest(snapshots[0]).files[0].sha256)
    where = ["--store", address, "--brand", "toy", "--keys", str(keys), "--reason", "why"]
    noted = []
    for is_lost in (False, True):
        run("announce", ids(snapshots)[1])
        if is_lost:
            open_store(address).delete(lost)
        capsys.readouterr()
        assert main(["rollback", *where]) == 0
        noted.append(lost in capsys.readouterr().err)
    assert noted == [False, True]


def test_an_overlay_that_no_node_reads_is_noted(
    run: Run, snapshots: list[Path], address: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody in a hurry mistypes a channel, and would believe that the offer is gone."""
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    where = ["--store", address, "--keys", str(keys), "--reason", "why"]
    capsys.readouterr()
    noted = []
    for place in (["--brand=toys"], ["--brand=toy", "--channel=stabel"], ["--brand=toy"]):
        assert main(["overlay", "kill", "a", *place, *where]) == 0
        noted.append("is it the one you mean?" in capsys.readouterr().err)
    assert noted == [True, True, False]


def test_a_rollout_that_is_only_asked_for_changes_nothing(run: Run, snapshots: list[Path]) -> None:
    first, second, _ = ids(snapshots)
    for path in snapshots[:2]:
        run("publish", str(path), brand=False)
    run("announce", first)
    run("confirm")
    run("announce", second)
    hasty = ("rollout", "--bake-s", "0", "--patience-s", "0", "--every-s", "0.01")
    for how, paused in ((["--dry-run"], False), ([], True)):
        code, told = run(*hasty, *how)
        assert (code, "are heartbeats signed?" in told) == (75, True)
        assert run("status")[1]["rollout"]["paused"] is paused


def test_who_pins_need_not_have_a_name(
    run: Run, snapshots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the number of a user often has none."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(channel_cli, "getuser", nobody)
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    why = ("--until", "2099-01-01", "--reason", "why")
    _, told = run("pin", ids(snapshots)[0], "--node", "node-1", *why)
    assert told["channel"]["pins"][0]["owner"] == f"uid {os.getuid()}"


@pytest.mark.parametrize("node", ["*", "a b", "..", ""])
def test_a_pin_is_of_a_node_or_says_that_it_is_of_all(
    run: Run, snapshots: list[Path], node: str
) -> None:
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    why = ("--until", "2099-01-01", "--reason", "why")
    code, told = run("pin", ids(snapshots)[0], "--node", node, *why)
    assert (code, "can't be a node's name" in told, "--all" in told) == (2, True, True)


@pytest.mark.parametrize("ring", ["12.5%", "a tenth", "%"])
def test_a_ring_is_a_whole_number_of_percent(run: Run, ring: str) -> None:
    code, told = run("promote", "--ring", ring)
    assert (code, "no whole number of percent, such as 10%" in told) == (2, True)


def test_people_are_told_in_lines(
    run: Run, snapshots: list[Path], address: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("publish", str(snapshots[0]), brand=False)
    run("announce", ids(snapshots)[0])
    where = ["--store", address, "--brand", "toy", "--keys", str(keys)]
    assert main(["status", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "toy/stable, epoch 1, signed under root 1"
    assert lines[2] == f"  target    {ids(snapshots)[0]} at 100 % of the nodes"
    assert main(["history", *where]) == 0
    assert capsys.readouterr().out.rstrip().endswith("at 100 % of the nodes, last good none")
    assert main(["status", "--store", address, "--brand", "toy"]) == 2
    assert "--insecure" in capsys.readouterr().err


def test_a_killed_publisher_leaves_all_of_a_snapshot_or_none(
    tmp_path: Path, snapshots: list[Path], keys: Path
) -> None:
    """Case 8: killed twenty times, then run to its end: no manifest names what is not there."""
    root = read_roots(keys)[-1]
    snapshot_id = ids(snapshots)[0]
    n_unfinished = 0
    for moment in range(20):
        address = tmp_path / f"store-{moment}"
        store = open_store(address)
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(snapshots[0]), str(address), str(keys)],
            cwd=ROOT,
            env={**os.environ, "DIES_AFTER": str(moment)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if process.wait() == -9:
            n_unfinished += 1
        if store.head(manifest_key("toy", snapshot_id)) is None:
            with pytest.raises(NotInStore):
                read_published(store, "toy", snapshot_id, root)
            words = ["publish", str(snapshots[0]), "--store", str(address), "--keys", str(keys)]
            assert main(words) == 0
        assert read_published(store, "toy", snapshot_id, root).manifest.snapshot_id == snapshot_id

    assert n_unfinished > 5


# It dies at one of the moments when something was just made to last.
_KILLED = """
import os, signal, sys
left = [int(os.environ["DIES_AFTER"])]
fsync = os.fsync
def dying(descriptor):
    fsync(descriptor)
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = dying
from almanac import main
sys.exit(main(["publish", sys.argv[1], "--store", sys.argv[2], "--keys", sys.argv[3]]))
"""


def test_a_store_that_ignores_conditions_gets_no_channel(
    tmp_path: Path, snapshots: list[Path], keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that always succeeds would lose changes."""
    address = str(tmp_path / "store")
    words = ["--store", address, "--keys", str(keys)]
    assert main(["publish", str(snapshots[0]), *words]) == 0
    store = open_store(address)
    monkeypatch.setattr(type(store), "replace", _careless)
    assert main(["announce", ids(snapshots)[0], "--brand", "toy", *words]) == 2
    assert store.head(channel_key("toy", "stable")) is None


def _careless(store: Any, key: str, data: bytes, *, expected: str | None) -> str:
    store.delete(key)
    store.create(key, data)
    return "token"
