"""A store in a folder: swaps under races, kills and a full disk."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from index.shipping.local_store import LocalStore
from index.shipping.store import Store
from index.shipping.store_errors import AlreadyThere, DiskFull, NotInStore, Overtaken, StoreFailed
from tests.index.shipping.origins import digest
from tests.index.shipping.processes import killed, started

KEYS = st.sampled_from(["a", "folder/a", "folder/b"])
CONTENTS = st.sampled_from([b"", b"one", b"two", b"three"])

REWRITE = """
import sys
from pathlib import Path
from index.shipping.local_store import LocalStore

store, number = LocalStore(Path(sys.argv[1])), 0
token = store.read("channel", limit=1 << 20).token
print("ready", flush=True)
while True:
    number += 1
    data = f"{number:08d}".encode() * 2000
    token = store.replace("channel", data, expected=token)
    store.create(f"objects/{number:08d}-{sys.argv[2]}", data)
"""


class SwapModel(RuleBasedStateMachine):
    """A dictionary and a folder are told the same, and must answer the same."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.store = LocalStore(Path(self.folder.name) / "store")
        self.model: dict[str, bytes] = {}
        self.tokens: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(key=KEYS, data=CONTENTS)
    def create(self, key: str, data: bytes) -> None:
        if self.model.setdefault(key, data) == data:
            self.store.create(key, data)
            return
        with pytest.raises(AlreadyThere):
            self.store.create(key, data)

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        if key not in self.model:
            with pytest.raises(NotInStore):
                self.store.read(key, limit=100)
            return
        found = self.store.read(key, limit=100)
        assert found.data == self.model[key]
        self.tokens[key] = found.token

    @rule(key=KEYS, data=CONTENTS, knows=st.booleans())
    def replace(self, key: str, data: bytes, knows: bool) -> None:  # noqa: FBT001
        expected = self.tokens.get(key) if knows else None
        found = self.model.get(key)
        holds = expected == (None if found is None else digest(found))
        if found == data or holds:
            self.tokens[key] = self.store.replace(key, data, expected=expected)
            self.model[key] = data
            return
        with pytest.raises(Overtaken):
            self.store.replace(key, data, expected=expected)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.model.pop(key, None)

    @invariant()
    def both_have_the_same(self) -> None:
        if hasattr(self, "store"):
            sizes = {key: len(data) for key, data in self.model.items()}
            assert {found.key: found.size for found in self.store.list()} == sizes


TestSwapModel = SwapModel.TestCase
TestSwapModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_writer_killed_at_any_moment_leaves_old_or_new(tmp_path: Path) -> None:
    store, moments = LocalStore(tmp_path / "store"), random.Random(20)
    store.create("channel", b"%08d" % 0 * 2000)
    for turn in range(20):
        writer = started(REWRITE, tmp_path / "store", str(turn))
        time.sleep(moments.uniform(0, 0.05))
        killed(writer)

        data = store.read("channel", limit=1 << 20).data
        assert data == data[:8] * 2000, "old or new, never mixed"
        for found in store.list("objects"):
            number = found.key.removeprefix("objects/")[:8].encode()
            assert store.read(found.key, limit=1 << 20).data == number * 2000
        token = store.read("channel", limit=1 << 20).token
        store.replace("channel", b"%08d" % 0 * 2000, expected=token)  # no lock is left behind


def test_blobs_are_read_only_files(local: Store, tmp_path: Path) -> None:
    local.create("a/blob", b"x")
    token = local.replace("a/channel", b"x", expected=None)
    local.replace("a/channel", b"y", expected=token)

    visible = [path for path in (tmp_path / "store" / "a").iterdir() if path.name[0] != "."]
    assert {path.stat().st_mode & 0o777 for path in visible} == {0o444}


def test_somebody_elses_files_are_not_listed(local: Store, tmp_path: Path) -> None:
    local.create("blob", b"x")
    (tmp_path / "store" / "notes (copy).txt").write_bytes(b"not ours")

    assert [found.key for found in local.list()] == ["blob"]


def test_what_a_killed_writer_left_is_swept_after_an_hour(local: Store, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    old, young = folder / ".writing-1-old", folder / ".writing-2-young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 4000,) * 2)

    local.create("blob", b"x")
    assert not old.exists()
    assert young.exists()
    assert [found.key for found in local.list()] == ["blob"]


def test_a_full_disk_leaves_nothing_half(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(256)
    store = LocalStore(disk / "store")
    store.create("channel", b"small")
    token = store.read("channel", limit=9).token
    large = bytes(1 << 20)

    for act in (
        lambda: store.create("large", large),
        lambda: store.create_from("large", [large], size=len(large)),
        lambda: store.replace("channel", large, expected=token),
    ):
        with pytest.raises(DiskFull) as caught:
            act()
        assert caught.value.exit_code == 75
    assert {found.key for found in store.list()} == {"channel"}
    assert store.read("channel", limit=9).data == b"small"
    assert store.create("medium", bytes(100 << 10)), "the room was given back"


def test_what_the_system_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = LocalStore(tmp_path / "file" / "store")

    with pytest.raises(StoreFailed, match="is no folder") as caught:
        store.create("blob", b"x")
    assert caught.value.exit_code == 1
