"""Deltas: what they make is the very file, or nothing at all."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import SnapshotError
from index.layout import CUSTOMERS
from index.manifest import file_digest
from index.shipping.delta import apply_delta, write_delta
from index.shipping.delta_list import (
    MAX_DELTAS,
    Delta,
    DeltaList,
    add_deltas,
    decode_delta_list,
    delta_list_key,
    encode_delta_list,
    read_delta_list,
)
from index.shipping.delta_ways import MAX_STEPS, WORTH, way_to
from index.shipping.store import Store
from index.shipping.store_errors import Damaged, StoreError
from index.tables import TableWriter

NAME: Final = "customers.lmdb"
TABLE = st.dictionaries(
    st.integers(0, 30).map(lambda number: number.to_bytes(16, "big")),
    st.sampled_from([b"", b"a", b"ab", b"ba", b"x" * 900, b"y" * 900, b"z" * 5000]),
    max_size=20,
)


def write_table(path: Path, records: dict[bytes, bytes], binding: bytes = bytes(16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum(len(key) + len(value) for key, value in records.items())
    with TableWriter(path, kind=CUSTOMERS, binding=binding, capacity_bytes=size) as writer:
        writer.append(sorted(records.items()))
        writer.finish(len(records))
    return path


def is_made(folder: Path, before: Path, after: Path) -> bytes:
    """Bytes that the delta between two files leads to."""
    delta, made = folder / "delta", folder / "made"
    assert write_delta(before, after, delta) == delta.stat().st_size
    size = after.stat().st_size
    apply_delta(delta, before, made, digest=file_digest(after), size=size)
    return made.read_bytes()


@settings(max_examples=60)
@given(before=TABLE, after=TABLE, is_rebound=st.booleans())
def test_a_table_is_made_byte_for_byte(
    before: dict[bytes, bytes], after: dict[bytes, bytes], *, is_rebound: bool
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        old = write_table(folder / "before" / NAME, before)
        new = write_table(folder / "after" / NAME, after, bytes([is_rebound]) * 16)
        assert is_made(folder, old, new) == new.read_bytes()


@given(before=st.binary(max_size=300), after=st.binary(max_size=300))
def test_another_file_is_made_byte_for_byte(before: bytes, after: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        old, new = folder / "before.faiss", folder / "after.faiss"
        old.write_bytes(before)
        new.write_bytes(after)
        assert is_made(folder, old, new) == after


def test_a_large_file_goes_piece_by_piece(tmp_path: Path) -> None:
    lots = random.Random(7)
    old, new = tmp_path / "before.faiss", tmp_path / "after.faiss"
    old.write_bytes(lots.randbytes((2 << 20) + 77))
    changed = bytearray(old.read_bytes() + lots.randbytes((1 << 20) + 3))
    changed[12345] ^= 1
    new.write_bytes(changed)
    assert is_made(tmp_path, old, new) == bytes(changed)
    # What stayed costs nearly nothing.
    assert (tmp_path / "delta").stat().st_size < (1 << 20) * 1.02


def test_a_delta_holds_what_changed(tmp_path: Path) -> None:
    lots = random.Random(7)
    records = {number.to_bytes(16, "big"): lots.randbytes(400) for number in range(1000)}
    old = write_table(tmp_path / "before" / NAME, records)
    changed = {**records, (2000).to_bytes(16, "big"): lots.randbytes(400)}
    for number in range(0, 1000, 100):
        key = number.to_bytes(16, "big")
        changed[key] = records[key][:-4] + b"last"
    del changed[(5).to_bytes(16, "big")]
    new = write_table(tmp_path / "after" / NAME, changed)
    assert is_made(tmp_path, old, new) == new.read_bytes()
    # One record in full, ten of which four bytes each are different, one that is gone.
    assert (tmp_path / "delta").stat().st_size < 400 + 11 * (16 + 60) + 500
    assert new.stat().st_size > 400_000


Pair = tuple[Path, Path, bytes]


@pytest.fixture(params=["table", "bytes"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """An earlier file, the later one, and their delta."""
    lots = random.Random(3)
    if request.param == "table":
        records = {number.to_bytes(16, "big"): lots.randbytes(100) for number in range(200)}
        old = write_table(tmp_path / "before" / NAME, records)
        records |= {number.to_bytes(16, "big"): lots.randbytes(100) for number in range(190, 210)}
        new = write_table(tmp_path / "after" / NAME, records)
    else:
        old, new = tmp_path / "before.faiss", tmp_path / "after.faiss"
        old.write_bytes(lots.randbytes(9000))
        new.write_bytes(old.read_bytes()[:5000] + lots.randbytes(5000))
    write_delta(old, new, tmp_path / "delta")
    return old, new, (tmp_path / "delta").read_bytes()


def test_a_damaged_delta_makes_nothing_else(pair: Pair, tmp_path: Path) -> None:
    old, new, delta = pair
    size, digest = new.stat().st_size, file_digest(new)
    lots = random.Random(11)
    bad, made = tmp_path / "bad", tmp_path / "made"
    n_refused = 0
    for turn in range(300):
        mutated = bytearray(delta)
        place = lots.randrange(len(mutated))
        if turn % 3 == 0:
            mutated[place] ^= 1 << lots.randrange(8)
        elif turn % 3 == 1:
            del mutated[place:]
        else:
            mutated[place : place + 40] = bytes(len(mutated[place : place + 40]))
        if bytes(mutated) == delta:
            continue
        bad.write_bytes(mutated)
        try:
            apply_delta(bad, old, made, digest=digest, size=size)
        except (StoreError, SnapshotError):
            n_refused += 1
        else:
            assert made.read_bytes() == new.read_bytes()
        made.unlink(missing_ok=True)
    assert n_refused > 280


def repacked(delta: bytes, change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> bytes:
    """A delta whose head and unpacked steps were changed."""
    head, _, packed = delta.partition(b"\n\n")
    head, steps = change(head + b"\n\n", zlib.decompress(packed))
    return head + zlib.compress(steps)


@pytest.mark.parametrize(
    "change",
    [
        lambda head, steps: (head, steps + bytes(50 << 20)),
        lambda head, steps: (head, steps + steps),
        lambda head, steps: (head, steps[:-1]),
        lambda head, steps: (head, b""),
        lambda head, steps: (head.replace(b"almanac-delta 1", b"almanac-delta 2"), steps),
        lambda head, steps: (head.replace(b"from ", b"from 0"), steps),
        lambda head, steps: (head[:-1] + b"x" * 5000 + b"\n\n", steps),
    ],
    ids=["bomb", "twice", "short", "nothing", "version", "words", "long head"],
)
def test_a_delta_made_by_somebody_else_makes_nothing_else(
    pair: Pair, tmp_path: Path, change: Callable[[bytes, bytes], tuple[bytes, bytes]]
) -> None:
    old, new, delta = pair
    (tmp_path / "bad").write_bytes(repacked(delta, change))
    with pytest.raises((StoreError, SnapshotError)):
        apply_delta(
            tmp_path / "bad",
            old,
            tmp_path / "made",
            digest=file_digest(new),
            size=new.stat().st_size,
        )


def test_a_delta_begins_with_the_right_file_and_leads_to_the_one_asked_for(
    pair: Pair, tmp_path: Path
) -> None:
    old, new, _ = pair
    wanted = {"digest": file_digest(new), "size": new.stat().st_size}
    with pytest.raises(Damaged, match="begins with another"):
        apply_delta(tmp_path / "delta", new, tmp_path / "made", **wanted)  # type: ignore[arg-type]
    with pytest.raises(Damaged, match="leads to another"):
        apply_delta(
            tmp_path / "delta",
            old,
            tmp_path / "made",
            digest=file_digest(old),
            size=old.stat().st_size,
        )


def named(number: int) -> str:
    return f"{number:064x}"


def one(number: int, size: int = 10) -> Delta:
    return Delta(from_sha256=named(number), sha256=named(1000 + number), size=size)


def test_lists_read_back_and_refuse_what_makes_no_sense() -> None:
    listed = DeltaList(sha256=named(9), size=100, deltas=(one(1), one(2)))
    data = encode_delta_list(listed)
    assert decode_delta_list(data, sha256=named(9), where="") == listed
    for bad in (b"", data[:-5], data + b"more\n", data.replace(b" 10\n", b" ten\n"), data * 2):
        with pytest.raises(Damaged):
            decode_delta_list(bad, sha256=named(9), where="")
    with pytest.raises(Damaged):
        decode_delta_list(data, sha256=named(8), where="")


def test_a_list_has_the_latest_ways_first_and_each_once(store: Store) -> None:
    assert read_delta_list(store, named(9)) is None
    add_deltas(store, named(9), 100, [one(1)])
    add_deltas(store, named(9), 100, [one(2), one(3)])
    add_deltas(store, named(9), 100, [one(1, size=5)])
    listed = read_delta_list(store, named(9))
    assert listed is not None
    assert listed.deltas == (one(1, size=5), one(2), one(3))
    add_deltas(store, named(9), 100, [one(number) for number in range(10, 10 + MAX_DELTAS)])
    listed = read_delta_list(store, named(9))
    assert listed is not None
    assert len(listed.deltas) == MAX_DELTAS
    assert store.head(delta_list_key(named(9))) is not None


def test_the_shortest_way_that_pays_is_gone() -> None:
    lists = {
        named(n): DeltaList(sha256=named(n), size=100, deltas=(one(n - 1), one(n - 2, size=30)))
        for n in range(2, 20)
    }

    def way(*here: int, size: int = 100) -> list[int] | None:
        at_hand = {named(number) for number in here}
        found = way_to(named(19), size, listed=lists.get, is_here=at_hand.__contains__)
        return [int(step.delta.from_sha256, 16) for step in found] if found else None

    assert way(18) == [18]
    assert way(17) == [17]  # one step of 30 bytes rather than two of 10
    assert way(16, 3) == [16, 18]
    assert way() is None
    assert way(19 - 2 * MAX_STEPS) is None  # four steps of 30 bytes are more than is worth it
    assert way(15) == [15, 17]
    for number, listed in lists.items():
        lists[number] = replace(listed, deltas=listed.deltas[:1])
    assert way(19 - MAX_STEPS) == [19 - step for step in range(MAX_STEPS, 0, -1)]
    assert way(19 - MAX_STEPS - 1) is None
    assert way(18, size=99) is None  # the list is of something else
    assert WORTH * 100 > 4 * 10
