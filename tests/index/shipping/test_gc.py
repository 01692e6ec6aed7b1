"""Making room in a store: what is in use stays, whoever comes in between."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from almanac import main
from index.manifest import read_manifest
from index.shipping.chunks import object_key
from index.shipping.collection import collecting, wait_for_collection
from index.shipping.delta_list import delta_list_key, read_delta_list
from index.shipping.garbage import Keeping, find_garbage, sweep
from index.shipping.names import channel_key, manifest_key, overlay_key, past_channel_key
from index.shipping.publish import publish, ready_snapshot
from index.shipping.publish_deltas import publish_deltas
from index.shipping.published import files_of, read_published
from index.shipping.store import Store, open_store
from index.shipping.store_errors import NotInStore, Overtaken
from tests.toys import toy_customers, toy_model, write_toy

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six snapshots of one brand that share all tables but their models, by rising id."""
    folder = tmp_path_factory.mktemp("snapshots")
    paths = []
    for number in range(6):
        path = folder / str(number)
        write_toy(path, model=toy_model(repeat={"*": 0.1 + number / 10}))
        paths.append(path)
    return sorted(paths, key=lambda path: read_manifest(path).snapshot_id)


@dataclass(frozen=True)
class Shop:
    """A store in a folder, whose clock can be turned back, and the commands of its people."""

    folder: Path
    store: Store

    def run(self, *words: str) -> int:
        return main([*words, "--store", str(self.folder), "--insecure"])

    def channel(self, *words: str) -> int:
        return self.run(*words, "--brand", "toy")

    def publish(self, path: Path) -> str:
        assert self.run("publish", str(path)) == 0
        return read_manifest(path).snapshot_id

    def age(self, days: float) -> None:
        """Let everything in the store have been written earlier."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                written = path.stat().st_mtime - days * 86_400
                os.utime(path, (written, written))

    def gc(self, *words: str) -> int:
        return main(["gc", "--store", str(self.folder), *words])

    def snapshots(self) -> set[str]:
        return {Path(listed.key).stem for listed in self.store.list("manifests")}

    def is_whole(self, snapshot_id: str) -> bool:
        try:
            read_published(self.store, "toy", snapshot_id, None)
        except NotInStore:
            return False
        return True


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    folder = tmp_path / "store"
    return Shop(folder, open_store(folder))


def test_what_a_channel_names_stays_and_the_newest_and_all_their_files(
    shop: Shop, snapshots: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 12: the true backup is what a channel calls good, however old it is."""
    ids = [shop.publish(path) for path in snapshots]
    assert shop.channel("announce", ids[0]) == 0
    assert shop.channel("confirm") == 0
    assert shop.channel("announce", ids[2], "--ring", "100") == 0
    assert shop.channel("pin", ids[3], "--node", "n", "--until", "2099-01-01", "--reason", "x") == 0
    n_objects = len(list(shop.store.list("objects")))
    shop.age(days=30)
    capsys.readouterr()
    assert shop.gc("--newest", "1", "--dry-run", "--json", "--days", "0") == 0
    would = json.loads(capsys.readouterr().out)
    assert (would["deleted"], sorted(would["snapshots"])) == (False, [ids[1], ids[4]])
    assert shop.snapshots() == set(ids)

    assert shop.gc("--newest", "1", "--json", "--days", "0") == 0
    told = json.loads(capsys.readouterr().out)
    assert shop.snapshots() == {ids[0], ids[2], ids[3], ids[5]}
    assert {entry["snapshot_id"]: entry["why"] for entry in told["kept"]} == {
        ids[0]: ["last good of stable"],
        ids[2]: ["target of stable"],
        ids[3]: ["pin of stable"],
        ids[5]: ["one of the newest"],
    }
    # Tables are shared by all; of the two that are gone only the models were their own.
    assert len(list(shop.store.list("objects"))) == n_objects - 2
    assert (told["files"], told["bytes"]) == (would["files"], would["bytes"])
    assert all(map(shop.is_whole, shop.snapshots()))
    assert not list(shop.store.list("collection"))
    assert shop.channel("rollback", "--reason", "back") == 0


def test_whatever_is_young_stays(shop: Shop, snapshots: list[Path]) -> None:
    ids = [shop.publish(path) for path in snapshots]
    assert shop.gc("--newest", "1") == 0
    assert shop.snapshots() == set(ids)
    shop.age(days=30)
    shop.publish(snapshots[0])  # published again is not published anew
    assert shop.gc("--newest", "1") == 0
    assert shop.snapshots() == {ids[-1]}


def test_a_node_may_still_be_fetching_what_a_channel_named_lately(
    shop: Shop, snapshots: list[Path]
) -> None:
    """Case 12: objects that an edge is downloading."""
    first, second, third, *_ = [shop.publish(path) for path in snapshots[:4]]
    for snapshot_id in (first, second, third):
        assert shop.channel("announce", snapshot_id, "--ring", "100") == 0
        assert shop.channel("confirm") == 0
    shop.age(days=30)
    now = datetime.now(UTC)
    garbage = find_garbage(shop.store, now, Keeping(newest=1, days=1))
    assert garbage.gone == ()
    why = {snapshot.snapshot_id: snapshot.why for snapshot in garbage.kept}
    assert why[first] == ("last good of stable, lately", "target of stable, lately")
    # Two days later the documents that named them are history.
    later = find_garbage(shop.store, now + timedelta(days=2), Keeping(newest=1, days=1))
    assert {snapshot.snapshot_id for snapshot in later.gone} == {first, second}


def test_what_cannot_be_read_keeps_everything(shop: Shop, snapshots: list[Path]) -> None:
    ids = [shop.publish(path) for path in snapshots]
    assert shop.channel("announce", ids[0]) == 0
    shop.age(days=30)
    for key in (channel_key("toy", "stable"), manifest_key("toy", ids[-1])):
        path = shop.folder / key
        sound = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(sound[:-40])
        assert shop.gc("--newest", "1") == 3
        path.write_bytes(sound)
        os.utime(path, (0, 0))
    assert shop.snapshots() == set(ids)
    assert all(map(shop.is_whole, ids))


def test_what_cannot_be_read_is_named_with_its_remedy(
    shop: Shop, snapshots: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (shop.publish(path) for path in snapshots[:2])
    for snapshot_id in (first, second):
        assert shop.channel("announce", snapshot_id) == 0
    assert shop.channel("overlay", "kill", "a", "--reason", "why") == 0
    collect, places = ("gc", "--store", str(shop.folder)), ("--brand", "toy", "--insecure")
    asked = ("--store", str(shop.folder), *places)
    again = ("publish", str(snapshots[1]), "--store", str(shop.folder), "--insecure")
    for key, remedy, *commands in (
        (channel_key("toy", "stable"), "its history", collect, ("status", *asked)),
        (past_channel_key("toy", "stable", 1), "or delete it", collect, ("history", *asked)),
        (manifest_key("toy", second), "publish", collect, ("announce", second, *asked), again),
        (overlay_key("toy", "stable"), "the overlay key", ("overlay", "show", *asked)),
    ):
        path = shop.folder / key
        sound = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(sound[:-40])
        for words in commands:
            capsys.readouterr()
            assert main([*words]) == 3
            error, hint = capsys.readouterr().err.splitlines()[-2:]
            assert error.startswith(f"error: {key}: is no signed envelope")
            assert remedy in hint
        path.write_bytes(sound)


def test_two_do_not_collect_at_once_and_a_dead_one_holds_nobody_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting(shop.store), pytest.raises(Overtaken), collecting(shop.store):
        raise AssertionError("two at once")
    # Killed: its document stays, and its time runs out.
    with monkeypatch.context() as patched:
        patched.setattr(type(shop.store), "delete", lambda *_: None)
        with collecting(shop.store):
            pass
    assert wait_for_collection(shop.store, bound_s=-60.0)
    with pytest.raises(Overtaken), collecting(shop.store):
        raise AssertionError("its time is not over")
    shop.age(days=1)
    with collecting(shop.store) as collection:
        assert collection.may_delete
    assert not list(shop.store.list("collection/now.json"))


def test_nothing_is_deleted_after_its_time(shop: Shop, snapshots: list[Path]) -> None:
    ids = [shop.publish(path) for path in snapshots[:4]]
    shop.age(days=30)
    garbage = find_garbage(shop.store, datetime.now(UTC), Keeping(newest=1))
    turns = iter([True, True, False])
    swept = sweep(shop.store, garbage, lambda: next(turns))
    assert (swept.snapshots, swept.blobs, swept.is_whole) == (ids[:2], 0, False)
    assert shop.gc("--newest", "1") == 0
    assert shop.snapshots() == {ids[3]}
    assert shop.is_whole(ids[3])


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Lets something happen after a collection has looked and before it deletes."""
    monkeypatch.setattr("index.shipping.collection.time.sleep", _short)

    def arrange(act: Callable[[], Any]) -> None:
        def found(*words: Any) -> Any:
            garbage = find_garbage(*words)
            act()
            return garbage

        monkeypatch.setattr("index.shipping.gc_cli.find_garbage", found)

    return arrange


def test_what_is_published_meanwhile_is_whole_in_the_end(
    shop: Shop, snapshots: list[Path], between: Callable[[Callable[[], Any]], None]
) -> None:
    """Case 12: its tables are those of snapshots that go, found to be there and then deleted."""
    for path in snapshots[:1]:
        shop.publish(path)
    shop.age(days=30)
    newest = shop.publish(_other(shop.folder.parent))
    assert newest > read_manifest(snapshots[0]).snapshot_id
    shop.age(days=30)
    late = ready_snapshot(snapshots[1], ())
    waiting = threading.Event()
    publisher = threading.Thread(
        target=lambda: publish(shop.store, late, on_wait=waiting.set), daemon=True
    )

    def act() -> None:
        publisher.start()
        assert waiting.wait(30)

    between(act)
    assert shop.gc("--newest", "1") == 0
    publisher.join(30)
    assert not publisher.is_alive()
    assert shop.snapshots() == {newest, late.target.snapshot_id}
    assert shop.is_whole(late.target.snapshot_id)
    assert shop.is_whole(newest)


def test_who_announces_what_goes_meanwhile_is_told(
    shop: Shop, snapshots: list[Path], between: Callable[[Callable[[], Any]], None]
) -> None:
    first, second = (shop.publish(path) for path in snapshots[:2])
    shop.age(days=30)
    codes: list[int] = []
    announcer = threading.Thread(
        target=lambda: codes.append(shop.channel("announce", first)), daemon=True
    )

    def act() -> None:
        announcer.start()
        channel = shop.folder / channel_key("toy", "stable")
        while not channel.exists():
            threading.Event().wait(0.01)

    between(act)
    assert shop.gc("--newest", "1") == 0
    announcer.join(30)
    assert (codes, shop.snapshots()) == ([4], {second})
    assert shop.publish(snapshots[0]) == first
    assert shop.is_whole(first)


def test_deltas_stay_as_long_as_what_they_lead_to(shop: Shop, snapshots: list[Path]) -> None:
    ids = [shop.publish(path) for path in snapshots[:3]]
    for number in (1, 2):
        directory, parent = snapshots[number], snapshots[number - 1]
        assert publish_deltas(
            shop.store, directory, read_manifest(directory), [parent], least_bytes=0
        )
    before = {listed.key for folder in ("objects", "deltas") for listed in shop.store.list(folder)}
    lists = sorted(listed.key for listed in shop.store.list("deltas"))
    assert len(lists) == 2
    shop.age(days=30)
    assert shop.gc("--newest", "1") == 0
    assert shop.snapshots() == {ids[2]}
    (left,) = shop.store.list("deltas")
    model = next(entry for entry in read_manifest(snapshots[2]).files if "model" in entry.name)
    listed = read_delta_list(shop.store, model.sha256)
    assert (left.key, listed is not None) == (delta_list_key(model.sha256), True)
    assert listed is not None
    after = {listed.key for folder in ("objects", "deltas") for listed in shop.store.list(folder)}
    assert all(object_key(delta.sha256) in after for delta in listed.deltas)
    # Two models, a list, and the delta it named.
    assert len(before - after) == 4


def test_on_a_real_bucket(bucket: Store, snapshots: list[Path]) -> None:
    for path in snapshots[:3]:
        publish(bucket, ready_snapshot(path, ()))
    with collecting(bucket) as collection:
        now = collection.now + timedelta(days=30)
        garbage = find_garbage(bucket, now, Keeping(newest=1))
        assert len(garbage.gone) == 2
        assert sweep(bucket, garbage, lambda: collection.may_delete).is_whole
    kept = garbage.kept[0]
    assert read_published(bucket, "toy", kept.snapshot_id, None).manifest.snapshot_id
    left = {listed.key.rpartition("/")[2] for listed in bucket.list("objects")}
    manifest = read_manifest(snapshots[2])
    assert left == {entry.sha256 for entry in files_of(manifest)}
    assert not list(bucket.list("collection"))


def _short(_: float) -> None:
    threading.Event().wait(0.01)


def _other(folder: Path) -> Path:
    """A snapshot whose customers are others."""
    path = folder / "other"
    write_toy(
        path,
        customers={"zoe": next(iter(toy_customers().values()))},
        model=toy_model(n_customers=1),
    )
    return path
