"""Verification: any flipped bit in any file is found, and a different decision too."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from index.errors import Corrupt, SnapshotError
from index.manifest import Golden, encode_manifest, model_id, read_manifest
from index.snapshot import open_snapshot
from index.verify import SCORE_TOLERANCE, check_golden, verify_snapshot

NAMES = [
    "contexts.lmdb",
    "customers.lmdb",
    "items.lmdb",
    "offers.lmdb",
    "model.msgpack",
    "offers.faiss",
    "manifest.json",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_anywhere_is_found(toy_copy: Path, name: str) -> None:
    """A hundred places of each file, its bits in turn; the manifest has its own test."""
    path = toy_copy / name
    data = path.read_bytes()
    step = max(1, len(data) // 100)
    for place in range(0, len(data), step):
        bit = 1 << place // step % 8
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        with pytest.raises(SnapshotError):
            list(verify_snapshot(toy_copy))
    path.write_bytes(data)
    assert list(verify_snapshot(toy_copy, deep=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 1, 0.5, 0.999])
def test_a_cut_anywhere_is_found(toy_copy: Path, name: str, kept: float) -> None:
    path = toy_copy / name
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept == 1 else kept * len(data))])

    with pytest.raises(SnapshotError):
        list(verify_snapshot(toy_copy))


def with_golden(directory: Path, **changes: object) -> Path:
    """Another expectation in the place of the first golden decision."""
    manifest = read_manifest(directory)
    first = msgspec.structs.replace(manifest.golden[0], **changes)
    changed = msgspec.structs.replace(manifest, golden=[first, *manifest.golden[1:]])
    (directory / "manifest.json").write_bytes(encode_manifest(changed))
    return directory


def first_golden(directory: Path) -> Golden:
    return read_manifest(directory).golden[0]


def test_golden_decisions_are_repeated(toy_dir: Path) -> None:
    with open_snapshot(toy_dir) as generation:
        assert check_golden(generation) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"tier": "thin"}, id="tier"),
        pytest.param({"offer_rows": list(range(9)), "scores": [-2.0] * 9}, id="one fewer"),
        pytest.param({"offer_rows": [*range(9), 39]}, id="another offer"),
        pytest.param({"offer_rows": [1, 0, *range(2, 10)]}, id="another order"),
        pytest.param({"scores": []}, id="no scores"),
        pytest.param({"scores": [-2.01, *[0.0] * 9]}, id="other scores"),
        pytest.param({"key": "00" * 15}, id="no key"),
        pytest.param({"key": "zz"}, id="no hex"),
    ],
)
def test_another_decision_is_found(toy_copy: Path, changes: dict[str, object]) -> None:
    with_golden(toy_copy, **changes)

    with pytest.raises(Corrupt):
        list(verify_snapshot(toy_copy, deep=True))


def test_scores_may_differ_as_processors_do(toy_copy: Path) -> None:
    scores = [score + SCORE_TOLERANCE / 2 for score in first_golden(toy_copy).scores]

    assert list(verify_snapshot(with_golden(toy_copy, scores=scores), deep=True))


def test_broken_structure_is_found_even_when_the_digest_holds(toy_copy: Path) -> None:
    """As if the builder's disk had lied: the manifest lists what was read back."""
    path = toy_copy / "offers.lmdb"
    data = bytearray(path.read_bytes())
    data[8192:8208] = bytes(16)
    path.write_bytes(data)
    manifest = read_manifest(toy_copy)
    files = [
        msgspec.structs.replace(entry, sha256=sha256(data).hexdigest())
        if entry.name == path.name
        else entry
        for entry in manifest.files
    ]
    changed = msgspec.structs.replace(manifest, files=files, model_id=model_id(files))
    (toy_copy / "manifest.json").write_bytes(encode_manifest(changed))

    with pytest.raises(Corrupt):
        list(verify_snapshot(toy_copy, deep=True))
