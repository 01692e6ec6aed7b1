"""Objects by digest: put once, fetched part by part, right or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.shipping.chunks import (
    ChunkList,
    chunk_list_key,
    chunk_list_of,
    decode_chunk_list,
    encode_chunk_list,
    object_key,
)
from index.shipping.fetch import Fetched, Progress, fetch_object
from index.shipping.local_store import LocalStore
from index.shipping.pace import Pace
from index.shipping.put import Shipped, put_object
from index.shipping.store import Store, open_store
from index.shipping.store_errors import (
    AlreadyThere,
    BadKey,
    Damaged,
    DiskFull,
    NotInStore,
    StoreError,
    StoreFailed,
    Unreachable,
)
from tests.index.shipping.origins import Watched, digest
from tests.index.shipping.processes import started
from tests.index.shipping.s3_servers import free_ports
from tests.index.shipping.web_servers import Answers

CHUNK = 1000
DATA = random.Random(7).randbytes(10 * CHUNK + 1)
SHA = digest(DATA)
Write = Callable[[bytes], Path]

SHIP = """
import resource, sys
from pathlib import Path
from index.manifest import file_digest
from index.shipping.fetch import fetch_object
from index.shipping.put import put_object
from index.shipping.store import open_store

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

store, path = open_store(sys.argv[1]), Path(sys.argv[2])
sha256, before = file_digest(path), peak()
print("ready", flush=True)
put_object(store, path, sha256)
fetch_object(store, sha256, path.stat().st_size, Path(sys.argv[3]), reserve_bytes=0)
print(peak() - before)
"""


@pytest.fixture
def origin(tmp_path: Path, written: Write) -> Watched:
    """A store with one object of eleven chunks, the last of one byte."""
    store = Watched(tmp_path / "store")
    put_object(store, written(DATA), SHA, chunk_bytes=CHUNK)
    store.asked.clear()
    return store


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 << 20])
def test_what_is_put_is_fetched(store: Store, tmp_path: Path, written: Write, size: int) -> None:
    data = random.Random(size).randbytes(size)
    chunk_bytes = max(CHUNK, size // 5)
    shipped = put_object(store, written(data), digest(data), chunk_bytes=chunk_bytes)
    listing = store.head(chunk_list_key(digest(data)))
    fetched = fetch_object(store, digest(data), size, tmp_path / "objects", reserve_bytes=0)

    assert listing is not None
    assert shipped == Shipped(bytes_sent=size + listing, bytes_there=0)
    assert fetched.path == tmp_path / "objects" / digest(data)
    assert fetched.path.read_bytes() == data
    assert fetched.path.stat().st_mode & 0o777 == 0o444
    assert fetched.progress == Progress(size=size, bytes_done=size, bytes_received=size)
    assert [path.name for path in fetched.path.parent.iterdir()] == [digest(data)]


def test_a_large_object_is_never_whole_in_memory(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = {} if store.name.startswith("file:") else request.getfixturevalue("s3")
    path, piece = tmp_path / "large", random.Random(1).randbytes(1 << 20)
    with path.open("wb") as file:
        for number in range(96):
            file.write(number.to_bytes(4) + piece[4:])
    shipping = started(SHIP, store.name, path, tmp_path / "objects", environ=environ)
    told, _ = shipping.communicate()

    assert shipping.returncode == 0
    assert int(told) < 64 << 10, "KiB of memory that putting and fetching added"


def test_putting_again_sends_nothing(origin: Watched, written: Write) -> None:
    assert put_object(origin, written(DATA), SHA) == Shipped(bytes_sent=0, bytes_there=len(DATA))


@pytest.mark.parametrize("lost", ["list", "object"])
def test_putting_again_sends_what_is_missing(origin: Watched, written: Write, lost: str) -> None:
    keys = {"list": chunk_list_key(SHA), "object": object_key(SHA)}
    size = origin.head(keys[lost])
    origin.delete(keys[lost])

    assert put_object(origin, written(DATA), SHA, chunk_bytes=CHUNK).bytes_sent == size
    assert origin.read(object_key(SHA), limit=len(DATA)).data == DATA


def test_a_file_that_is_not_its_digest_is_not_put(store: Store, written: Write) -> None:
    with pytest.raises(Damaged) as caught:
        put_object(store, written(DATA + b"x"), SHA)

    assert caught.value.exit_code == 3
    assert list(store.list()) == []


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:]],
    ids=["shorter", "longer", "other"],
)  # fmt: skip
def test_a_file_that_changes_while_it_is_sent_is_not_put(
    local: Store, written: Write, change: Callable[[bytes], bytes]
) -> None:
    path = written(DATA)

    class Changing(LocalStore):
        def create(self, key: str, data: bytes) -> bool:
            path.write_bytes(change(DATA))  # the list is made, the object not yet sent
            return super().create(key, data)

    with pytest.raises(Damaged, match="while it was being sent"):
        put_object(Changing(local.folder), path, SHA, chunk_bytes=CHUNK)  # type: ignore[attr-defined]
    assert local.head(object_key(SHA)) is None


def test_an_object_of_another_size_is_not_overwritten(local: Store, written: Write) -> None:
    local.create(object_key(SHA), b"short")

    with pytest.raises(AlreadyThere):
        put_object(local, written(DATA), SHA)


def test_a_missing_file_is_named(local: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="nothing-here"):
        put_object(local, tmp_path / "nothing-here", SHA)


@given(data=st.binary(max_size=50), chunk_bytes=st.integers(1, 60))
def test_a_chunk_list_reads_back(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunked"
    path.write_bytes(data)
    chunks = chunk_list_of(path, chunk_bytes=chunk_bytes)
    parts = [data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes)]
    text = encode_chunk_list(chunks)

    assert chunks.digests == tuple(map(digest, parts))
    assert decode_chunk_list(text, sha256=digest(data), size=len(data), where="") == chunks
    for cut in range(len(text)):
        with pytest.raises(Damaged):
            decode_chunk_list(text[:cut], sha256=digest(data), size=len(data), where="")


def test_a_changed_chunk_list_is_refused_or_another_list(origin: Watched) -> None:
    text = origin.read(chunk_list_key(SHA), limit=1 << 20).data
    chunks = decode_chunk_list(text, sha256=SHA, size=len(DATA), where="")
    n_refused = 0
    for place in range(len(text)):
        for bit in (1, 4):
            changed = bytearray(text)
            changed[place] ^= 1 << bit
            try:
                found = decode_chunk_list(bytes(changed), sha256=SHA, size=len(DATA), where="")
            except Damaged:
                n_refused += 1
            else:
                assert found != chunks

    assert n_refused > len(text)


@pytest.mark.parametrize("sha256", ["", "ab", SHA.upper(), "../" + SHA[3:], SHA + "0"])
def test_what_is_no_digest_names_no_object(local: Store, tmp_path: Path, sha256: str) -> None:
    with pytest.raises(BadKey):
        fetch_object(local, sha256, 1, tmp_path / "objects")


def test_an_object_that_is_there_is_not_asked_for(origin: Watched, tmp_path: Path) -> None:
    fetched(origin, tmp_path)
    origin.asked.clear()
    again = fetched(origin, tmp_path)

    assert origin.asked == []
    assert again == Progress(size=len(DATA), bytes_done=len(DATA), bytes_kept=len(DATA))


def test_a_file_of_the_wrong_size_is_fetched_anew(origin: Watched, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / SHA).write_bytes(DATA[:-1])

    assert fetched(origin, tmp_path).bytes_received == len(DATA)


def test_an_object_nobody_has_is_not_found(local: Store, tmp_path: Path) -> None:
    with pytest.raises(NotInStore) as caught:
        fetch_object(local, SHA, len(DATA), tmp_path / "objects", reserve_bytes=0)

    assert caught.value.exit_code == 4
    assert not (tmp_path / "objects" / SHA).exists()


def test_only_what_is_missing_is_fetched_again(origin: Watched, tmp_path: Path) -> None:
    part = tmp_path / "objects" / f"{SHA}.part"
    part.parent.mkdir()
    half = bytearray(DATA)
    half[2 * CHUNK + 5] ^= 1  # one chunk damaged, one never written, and too long besides
    half[4 * CHUNK : 5 * CHUNK] = bytes(CHUNK)
    part.write_bytes(bytes(half) + b"more")
    progress = fetched(origin, tmp_path)

    assert [start for _, start, _ in origin.asked[1:]] == [2 * CHUNK, 4 * CHUNK]
    assert progress.bytes_kept == len(DATA) - 2 * CHUNK
    assert progress.bytes_received == 2 * CHUNK


def test_a_part_file_of_nonsense_does_no_harm(origin: Watched, tmp_path: Path) -> None:
    part = tmp_path / "objects" / f"{SHA}.part"
    part.parent.mkdir()
    part.write_bytes(random.Random(1).randbytes(len(DATA)))

    assert fetched(origin, tmp_path).bytes_kept == 0


def test_of_two_that_fetch_the_same_one_waits_for_the_other(
    origin: Watched, tmp_path: Path
) -> None:
    second, begun = Watched(origin.folder), Event()
    found: list[Progress] = []

    def fetch_second() -> None:
        begun.set()
        found.append(fetched(second, tmp_path))

    thread = Thread(target=fetch_second)

    def begin_second(start: int, data: bytes) -> bytes:
        if start == 5 * CHUNK:
            thread.start()
            begun.wait()
            thread.join(0.2)  # long enough for one that does not wait to ask
        return data

    path = brought(Watched(origin.folder, begin_second), tmp_path).path
    thread.join()

    # Looked at when both are done: the second takes the part's name for a moment, to see that
    # nothing is left to do.
    assert not path.with_name(f"{SHA}.part").exists()
    assert second.asked == []
    assert found == [Progress(size=len(DATA), bytes_done=len(DATA), bytes_kept=len(DATA))]


def test_a_damaged_part_comes_from_the_next_origin(origin: Watched, tmp_path: Path) -> None:
    def flip(start: int, data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:] if start == 3 * CHUNK else data

    bad = Watched(origin.folder, flip)
    progress = fetched(bad, tmp_path, mirrors=[origin])

    assert progress.n_bad == 1
    assert progress.bytes_received == len(DATA) + CHUNK
    assert [start for _, start, _ in origin.asked] == [n * CHUNK for n in range(3, 11)]


@pytest.mark.parametrize("sends", ["short", "long"])
def test_a_part_of_the_wrong_length_is_a_bad_one(
    origin: Watched, tmp_path: Path, sends: str
) -> None:
    bad = Watched(origin.folder, lambda _, data: data[:-1] if sends == "short" else data + b"x")

    assert fetched(bad, tmp_path, mirrors=[origin]).n_bad == 1


@pytest.mark.parametrize("tries", [1, 3, 5])
def test_damage_without_end_is_given_up(origin: Watched, tmp_path: Path, tries: int) -> None:
    bad = Watched(origin.folder, lambda _, data: bytes(len(data)))
    with pytest.raises(Damaged) as caught:
        fetched(bad, tmp_path, tries=tries)

    n_lists = n_whole = 1
    assert len(bad.asked) == n_lists + tries + n_whole
    assert caught.value.exit_code == 3
    assert SHA in str(caught.value)
    more = "1 more failed attempt" if tries == 1 else f"{tries} more failed attempts"
    assert caught.value.what.partition(" (and ")[2] == f"{more})"
    assert not (tmp_path / "objects" / SHA).exists()


def test_one_damaged_part_does_not_have_the_whole_fetched_in_vain(
    origin: Watched, tmp_path: Path
) -> None:
    bad = Watched(origin.folder, lambda start, data: data if start != CHUNK else bytes(len(data)))
    with pytest.raises(Damaged):
        fetched(bad, tmp_path, tries=3)
    assert [start for _, start, _ in bad.asked[1:]] == [0, CHUNK, CHUNK, CHUNK]

    assert fetched(origin, tmp_path).bytes_kept == CHUNK, "what was right is kept"


def test_without_a_chunk_list_the_whole_decides(origin: Watched, tmp_path: Path) -> None:
    origin.delete(chunk_list_key(SHA))
    n_seen = []

    def flip_last(start: int, data: bytes) -> bytes:
        n_seen.append(start)
        return bytes([data[0] ^ 1]) if start == 10 * CHUNK else data

    bad = Watched(origin.folder, flip_last)
    progress = fetched(bad, tmp_path, mirrors=[origin], piece_bytes=CHUNK)

    assert n_seen == [n * CHUNK for n in range(11)]
    assert progress.bytes_received == 2 * len(DATA)


@pytest.mark.parametrize("kind", ["nonsense", "wrong digests", "other object"])
def test_a_wrong_chunk_list_does_no_harm(origin: Watched, tmp_path: Path, kind: str) -> None:
    text = origin.read(chunk_list_key(SHA), limit=1 << 20).data
    chunks = decode_chunk_list(text, sha256=SHA, size=len(DATA), where="")
    wrong: dict[str, bytes | ChunkList] = {
        "nonsense": b"<html>",
        "wrong digests": replace(chunks, digests=("0" * 64, *chunks.digests[1:])),
        "other object": replace(chunks, sha256="0" * 64),
    }
    listing = wrong[kind]
    data = listing if isinstance(listing, bytes) else encode_chunk_list(listing)
    origin.delete(chunk_list_key(SHA))
    origin.create(chunk_list_key(SHA), data)

    assert fetched(origin, tmp_path).n_bad >= 1


def test_a_list_and_parts_that_agree_on_another_file_are_not_enough(
    origin: Watched, tmp_path: Path
) -> None:
    """An origin that forged both the list and the object is caught by the object's own digest."""
    forged = bytes(len(DATA))
    path = tmp_path / "forged"
    path.write_bytes(forged)
    listing = replace(chunk_list_of(path, chunk_bytes=CHUNK), sha256=SHA)
    forger = LocalStore(tmp_path / "forger")
    forger.create(chunk_list_key(SHA), encode_chunk_list(listing))
    forger.create(object_key(SHA), forged)

    with pytest.raises(Damaged):
        fetched(forger, tmp_path)
    assert not (tmp_path / "objects" / SHA).exists()
    fetched(forger, tmp_path, mirrors=[origin])


def test_an_origin_that_is_down_is_left_for_the_next(origin: Watched, tmp_path: Path) -> None:
    down = open_store(f"http://127.0.0.1:{free_ports(1)[0]}")

    fetched(down, tmp_path, mirrors=[origin])
    with pytest.raises(Unreachable):
        fetch_object(down, SHA, len(DATA), tmp_path / "other", reserve_bytes=0)


def test_progress_is_told_after_each_part(origin: Watched, tmp_path: Path) -> None:
    told: list[Progress] = []
    fetched(origin, tmp_path, on_progress=told.append)

    assert [progress.bytes_done for progress in told][-1] == len(DATA)
    assert sorted({progress.bytes_done // CHUNK for progress in told}) == list(range(11))


def test_a_full_disk_is_known_before_anything_is_asked_for(
    origin: Watched, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(64)
    (disk / "served").write_bytes(bytes(58 << 10))
    with pytest.raises(DiskFull) as caught:
        fetch_object(origin, SHA, len(DATA), disk / "objects", reserve_bytes=0)

    assert caught.value.exit_code == 75
    assert origin.asked == []
    assert list((disk / "objects").iterdir()) == []
    assert (disk / "served").stat().st_size == 58 << 10


def test_the_reserve_stays_free(origin: Watched, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(64)
    with pytest.raises(DiskFull, match="in reserve"):
        fetch_object(origin, SHA, len(DATA), disk / "objects", reserve_bytes=60 << 10)
    assert origin.asked == []

    fetch_object(origin, SHA, len(DATA), disk / "objects", reserve_bytes=40 << 10)


def test_a_part_file_that_has_its_room_needs_no_more(
    origin: Watched, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(64)
    stops = Watched(origin.folder, _stop_at(5 * CHUNK))
    with pytest.raises(KeyboardInterrupt):
        fetch_object(stops, SHA, len(DATA), disk / "objects", reserve_bytes=0)
    (disk / "served").write_bytes(bytes(48 << 10))

    found = fetch_object(origin, SHA, len(DATA), disk / "objects", reserve_bytes=0).progress
    assert found.bytes_kept == 5 * CHUNK


def test_objects_come_over_http(origin: Watched, web: Answers, tmp_path: Path) -> None:
    assert fetched(open_store(web.address), tmp_path).bytes_received == len(DATA)
    ranges = [asked for path, asked in web.asked if path.startswith("/objects/")]

    assert ranges[0] == f"bytes=0-{CHUNK - 1}"
    assert len(ranges) == 11


@pytest.mark.parametrize("lie", ["flips", "truncates", "endless", "ignores ranges", "cuts", "500"])
def test_a_web_server_that_lies_is_left_for_a_mirror(
    origin: Watched, web: Answers, tmp_path: Path, lie: str
) -> None:
    if lie == "flips":
        web.lie = lambda part: part[:-1] + bytes([part[-1] ^ 1])
    elif lie == "truncates":
        web.lie = lambda part: part[:-1]
    elif lie == "cuts":
        web.cut_after = 0
    elif lie == "500":
        web.status = 500
    web.endless, web.ignores_range = lie == "endless", lie == "ignores ranges"
    liar = open_store(web.address)

    progress = fetched(liar, tmp_path, mirrors=[origin])
    assert progress.n_bad >= 1
    with pytest.raises(StoreError):
        fetch_object(liar, SHA, len(DATA), tmp_path / "alone", reserve_bytes=0)
    assert not (tmp_path / "alone" / SHA).exists()


def test_the_pace_makes_bytes_take_their_time() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(1000, clock=lambda: now[0], sleep=sleep)
    pace.took(500)
    now[0] += 0.25  # time that passes anyway counts
    pace.took(500)
    now[0] += 3600  # an idle hour is worth one second
    pace.took(1500)

    assert slept == pytest.approx([0.5, 0.25, 0.5])


def test_the_pace_is_kept_while_fetching(origin: Watched, tmp_path: Path) -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    fetched(origin, tmp_path, pace=Pace(1000, clock=lambda: now[0], sleep=sleep))
    assert sum(slept) == pytest.approx(len(DATA) / 1000)


def fetched(store: Store, folder: Path, **options: object) -> Progress:
    """Fetch the object, look at every byte and at what is left, and say what it took."""
    found = brought(store, folder, **options)
    assert not found.path.with_name(f"{SHA}.part").exists()
    return found.progress


def brought(store: Store, folder: Path, **options: object) -> Fetched:
    """Fetch the object and look at every byte."""
    found = fetch_object(
        store,
        SHA,
        len(DATA),
        folder / "objects",
        reserve_bytes=0,
        **options,  # type: ignore[arg-type]
    )
    assert found.path.read_bytes() == DATA
    return found


def _stop_at(place: int) -> Callable[[int, bytes], bytes]:
    def change(start: int, data: bytes) -> bytes:
        if start == place:
            raise KeyboardInterrupt
        return data

    return change
