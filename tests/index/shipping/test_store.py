"""What every store promises, asked of a folder and of a real S3 server alike."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from index.shipping.probe import probe_conditional
from index.shipping.store import Store, open_store
from index.shipping.store_errors import (
    AlreadyThere,
    BadAddress,
    BadKey,
    CredentialsRefused,
    Damaged,
    NoBucket,
    NotInStore,
    Overtaken,
    StoreError,
    TooLarge,
    Unreachable,
)
from tests.index.shipping.processes import ROOT, closed, started
from tests.index.shipping.s3_servers import SECRET_KEY, free_ports, settings

LARGE = 20 << 20
RACE = """
import sys
from index.shipping.store import open_store
from index.shipping.store_errors import Overtaken

store, me, n_wins = open_store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
won = 0
while won < n_wins:
    found = store.read("counter", limit=1 << 20)
    try:
        store.replace("counter", found.data + f"{me}{won}\\n".encode(), expected=found.token)
    except Overtaken:
        continue
    won += 1
"""


def test_a_blob_reads_back_whole_and_in_parts(store: Store) -> None:
    assert store.create("folder/blob.json", b"0123456789")

    assert store.read("folder/blob.json", limit=10).data == b"0123456789"
    assert store.head("folder/blob.json") == 10
    assert store.read_range("folder/blob.json", 3, 4) == b"3456"
    assert store.read_range("folder/blob.json", 8, 100) == b"89"


def test_an_empty_blob_is_a_blob(store: Store) -> None:
    store.create("empty", b"")

    assert store.read("empty", limit=0).data == b""
    assert store.head("empty") == 0


def test_what_is_missing_is_said_to_be(store: Store) -> None:
    with pytest.raises(NotInStore) as caught:
        store.read("folder/nothing", limit=10)

    assert caught.value.exit_code == 4
    assert "folder/nothing" in str(caught.value)
    assert store.head("folder/nothing") is None
    with pytest.raises(NotInStore):
        store.read_range("folder/nothing", 0, 1)
    store.delete("folder/nothing")


def test_a_folder_is_no_blob(store: Store) -> None:
    store.create("folder/blob", b"x")

    assert store.head("folder") is None
    with pytest.raises(NotInStore):
        store.read("folder", limit=10)


def test_more_than_the_limit_is_refused(store: Store) -> None:
    store.create("blob", b"0123456789")

    with pytest.raises(TooLarge):
        store.read("blob", limit=9)


def test_creating_again_is_fine_with_the_same_bytes_only(store: Store) -> None:
    assert store.create("blob", b"first")

    assert not store.create("blob", b"first")
    for other in (b"other", b"first and more", b"f"):
        with pytest.raises(AlreadyThere) as caught:
            store.create("blob", other)
        assert caught.value.exit_code == 6
    assert store.read("blob", limit=100).data == b"first"


@pytest.mark.parametrize("size", [0, 5, LARGE], ids=["empty", "small", "large"])
def test_a_blob_is_created_from_parts(store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    step = 3 << 20
    parts = [data[start : start + step] for start in range(0, size, step)]

    assert store.create_from("objects/blob", iter(parts), size=size)
    assert store.head("objects/blob") == size
    assert store.read("objects/blob", limit=size).data == data
    assert not store.create_from("objects/blob", _never(), size=size)
    with pytest.raises(AlreadyThere):
        store.create_from("objects/blob", _never(), size=size + 1)


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("wrong", [-1, 1], ids=["short", "long"])
def test_parts_that_do_not_add_up_leave_nothing(store: Store, size: int, wrong: int) -> None:
    with pytest.raises(Damaged):
        store.create_from("objects/blob", iter([bytes(size + wrong)]), size=size)

    assert store.head("objects/blob") is None
    assert list(store.list()) == []


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "large"])
def test_a_failure_among_the_parts_travels_and_leaves_nothing(store: Store, size: int) -> None:
    def parts() -> Iterator[bytes]:
        yield bytes(size - 1)
        raise Damaged("the file changed")

    with pytest.raises(Damaged, match="the file changed"):
        store.create_from("objects/blob", parts(), size=size)

    assert list(store.list()) == []


def test_a_swap_needs_the_token_of_what_is_there(store: Store) -> None:
    first = store.replace("channel", b"one", expected=None)
    second = store.replace("channel", b"two", expected=first)

    assert store.read("channel", limit=9).token == second
    for stale in (first, None):
        with pytest.raises(Overtaken) as caught:
            store.replace("channel", b"three", expected=stale)
        assert caught.value.exit_code == 6
    assert store.read("channel", limit=9).data == b"two"


def test_a_swap_of_what_is_gone_is_refused(store: Store) -> None:
    token = store.replace("channel", b"one", expected=None)
    store.delete("channel")

    with pytest.raises(Overtaken):
        store.replace("channel", b"two", expected=token)
    assert store.head("channel") is None


def test_asking_for_the_same_swap_again_is_fine(store: Store) -> None:
    """A writer whose answer was lost asks again, and is not told that somebody was faster."""
    first = store.replace("channel", b"one", expected=None)
    second = store.replace("channel", b"two", expected=first)

    assert store.replace("channel", b"two", expected=first) == second


def test_a_listing_has_every_blob_below_a_folder(store: Store) -> None:
    keys = {"a/1", "a/b/2", "ab/3", "c"}
    for key in keys:
        store.create(key, key.encode())
    store.replace("a/b/2", b"changed", expected=store.read("a/b/2", limit=9).token)

    assert {found.key for found in store.list()} == keys
    assert {(found.key, found.size) for found in store.list("a")} == {("a/1", 3), ("a/b/2", 7)}
    assert {found.key for found in store.list("a/")} == {"a/1", "a/b/2"}
    assert list(store.list("nothing")) == []
    assert list(store.list("c")) == [], "a blob is no folder"
    assert all(
        abs(datetime.now(UTC) - found.modified_at) < timedelta(hours=1) for found in store.list()
    )


def test_what_is_deleted_is_gone(store: Store) -> None:
    store.create("a/1", b"x")
    store.delete("a/1")

    assert store.head("a/1") is None
    assert list(store.list()) == []


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/.b", "a b", "a\\b", "a\0", "ä", "-a", "a?b",
     "a%2fb", "a\n", "a" * 513],
    ids=repr,
)  # fmt: skip
def test_a_name_that_could_mean_two_things_is_refused(store: Store, key: str) -> None:
    for act in (
        lambda: store.read(key, limit=1),
        lambda: store.read_range(key, 0, 1),
        lambda: store.head(key),
        lambda: store.create(key, b""),
        lambda: store.create_from(key, [], size=0),
        lambda: store.replace(key, b"", expected=None),
        lambda: store.delete(key),
    ):
        with pytest.raises(BadKey):
            act()


def test_the_probe_finds_a_sound_store_sound_and_leaves_nothing(store: Store) -> None:
    probe_conditional(store)

    assert list(store.list()) == []


def test_of_two_processes_that_swap_none_loses_a_change(
    store: Store, request: pytest.FixtureRequest
) -> None:
    """Each round has one winner: what either wrote is there, in the order it wrote it."""
    n_wins = 40
    environ = {} if store.name.startswith("file:") else request.getfixturevalue("s3")
    store.create("counter", b"")
    racers = [started(RACE, store.name, me, n_wins, environ=environ) for me in "xy"]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.flush()

    assert [racer.wait(timeout=60) for racer in racers] == [0, 0]
    lines = store.read("counter", limit=1 << 20).data.decode().split()
    for me in "xy":
        assert [line for line in lines if line[0] == me] == [f"{me}{n}" for n in range(n_wins)]
    assert len(lines) == 2 * n_wins
    for racer in racers:
        closed(racer)


@pytest.mark.parametrize("address", ["plain", "file://"])
def test_addresses_of_a_folder(tmp_path: Path, address: str) -> None:
    folder = tmp_path / "with space"
    text = folder.as_uri() if address == "file://" else str(folder)
    open_store(text).create("a/b", b"x")

    assert (folder / "a" / "b").read_bytes() == b"x"


def test_a_folder_needs_nothing_of_what_networks_need(tmp_path: Path) -> None:
    code = (
        "import sys; from index.shipping.store import open_store;"
        "open_store(sys.argv[1]).create('blob', b'x'); print('obstore' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "address",
    ["ftp://host/x", "s3://", "s3:///x", "https://", "https:///x", "file://host/x", "", "gs://b",
     "https://user:password@host/x", "https://host/x?signature=1", "s3://key:password@bucket",
     "https://[::1", "s3://bucket/../x"],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_refused(address: str) -> None:
    with pytest.raises(BadAddress) as caught:
        open_store(address, environ={})

    assert caught.value.exit_code == 2
    assert "password" not in str(caught.value)
    assert "signature" not in str(caught.value)


def test_a_missing_bucket_is_not_a_missing_blob(s3: Mapping[str, str]) -> None:
    nowhere = open_store("s3://no-such-bucket/x", environ=s3)

    with pytest.raises(NoBucket) as caught:
        nowhere.read("blob", limit=1)
    assert caught.value.exit_code == 4
    with pytest.raises(NoBucket):
        list(nowhere.list())


def test_refused_credentials_are_said_to_be(s3: Mapping[str, str], bucket: Store) -> None:
    bucket.create("blob", b"x")
    wrong = {**s3, "AWS_SECRET_ACCESS_KEY": "wrong"}
    address = bucket.name
    stranger = open_store(address, environ=wrong)

    for act in (
        lambda: stranger.read("blob", limit=1),
        lambda: stranger.create("other", b"x"),
        lambda: stranger.replace("other", b"x", expected=None),
        lambda: list(stranger.list()),
        lambda: stranger.delete("blob"),
        lambda: stranger.head("blob"),
    ):
        with pytest.raises(CredentialsRefused) as caught:
            act()
        assert caught.value.exit_code == 2
        assert SECRET_KEY not in str(caught.value)
    assert bucket.read("blob", limit=1).data == b"x"


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_store_that_does_not_answer_may_be_tried_again(kind: str) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    address = "s3://bucket/x" if kind == "s3" else f"{endpoint}/x"
    store = open_store(address, environ=settings(endpoint))

    for act in (lambda: store.read("blob", limit=1), lambda: store.head("blob")):
        with pytest.raises(Unreachable) as caught:
            act()
        assert caught.value.exit_code == 75
        assert isinstance(caught.value, StoreError)
        assert address in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("AWS_ENDPOINT_URL", "http://a b"),
        ("AWS_ENDPOINT_URL", "http://{host}:9000"),
        ("AWS_ENDPOINT_URL_S3", "http://a:70000"),
        ("AWS_ACCESS_KEY_ID", "key\n"),
        ("AWS_SECRET_ACCESS_KEY", "hushed\n"),
        ("AWS_REGION", "ü"),
    ],
)
def test_settings_that_can_not_be_used_are_named(name: str, value: str) -> None:
    with pytest.raises(BadAddress) as caught:
        open_store("s3://bucket/x", environ={**settings("http://127.0.0.1:9"), name: value})

    assert caught.value.exit_code == 2
    assert name in str(caught.value)
    assert "hushed" not in str(caught.value)


def _never() -> Iterator[bytes]:
    return map(_untouched, [b""])


def _untouched(part: bytes) -> bytes:
    raise AssertionError("nothing should be read")
