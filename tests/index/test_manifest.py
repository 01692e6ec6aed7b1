"""The manifest: read back as written, sealed, and refused when anything in it is not so."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import Corrupt, NotASnapshot, SnapshotError, SnapshotNotFound, WrongVersion
from index.layout import MANIFEST_NAME
from index.manifest import (
    MAX_MANIFEST_BYTES,
    FileEntry,
    Golden,
    Manifest,
    encode_manifest,
    model_id,
    read_manifest,
)
from index.request import Request

FILES = [
    FileEntry(name="b.lmdb", size=2, sha256="b" * 64, entries=5, last_pgno=2),
    FileEntry(name="a.faiss", size=1, sha256="a" * 64, entries=5, detail="Flat"),
]


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "snapshot_id": "20251201T0000Z-0123456789ab",
        "model_id": model_id(changes.get("files", FILES)),
        "brand": "Bäckerei",
        "secret_check": "0" * 16,
        "binding": "1" * 32,
        "platform": {"byte_order": "little"},
        "data": {"as_of_us": 1_764_547_200_000_000, "from_us": None},
        "counts": {"orders": 7},
        "invariants": {"share": 0.5},
        "build": {"seed": 3},
        "files": FILES,
        "golden": [
            Golden(key=None, request=Request(k=3), tier="prior", offer_rows=[1], scores=[-1.5])
        ],
    }
    return Manifest(**fields | changes)


def put(directory: Path, data: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / MANIFEST_NAME).write_bytes(data)
    return directory


def sealed(text: str) -> bytes:
    """Any text, sealed as a manifest is."""
    body = text.encode()
    digest = hashlib.sha256(body).hexdigest()
    return body + f',\n "manifest_sha256": "{digest}"\n}}\n'.encode()


def test_a_manifest_round_trips(tmp_path: Path) -> None:
    assert read_manifest(put(tmp_path, encode_manifest(manifest()))) == manifest()


def test_a_manifest_is_json_for_people() -> None:
    text = encode_manifest(manifest()).decode()

    assert text.startswith('{\n "format": "almanac-snapshot",\n "version": 1,\n')
    assert text.endswith('"\n}\n')
    assert json.loads(text)["brand"] == "Bäckerei"


def test_the_seal_is_the_digest_of_what_stands_before_it() -> None:
    data = encode_manifest(manifest())
    body = data[: data.index(b',\n "manifest_sha256"')]

    assert json.loads(data)["manifest_sha256"] == hashlib.sha256(body).hexdigest()


def test_the_model_id_does_not_depend_on_the_order_of_files() -> None:
    listing = f"{'a' * 64} 1 a.faiss\n{'b' * 64} 2 b.lmdb\n"

    assert model_id(FILES) == model_id(FILES[::-1])
    assert model_id(FILES) == hashlib.sha256(listing.encode()).hexdigest()


def test_unknown_members_are_left_alone(tmp_path: Path) -> None:
    """So that a later writer can add what an older reader may ignore."""
    body, _, _ = encode_manifest(manifest()).decode().rpartition(",\n")
    more = sealed(body + ',\n "later": [{"a": 1}]')

    assert read_manifest(put(tmp_path, more)) == manifest()


def test_a_flipped_bit_in_any_byte_is_refused(tmp_path: Path) -> None:
    data = encode_manifest(manifest())
    for place in range(len(data)):
        flipped = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
        put(tmp_path, flipped)
        with pytest.raises((Corrupt, NotASnapshot, WrongVersion)):
            read_manifest(tmp_path)


@pytest.mark.parametrize("cut", range(0, 900, 37))
def test_a_cut_manifest_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises((Corrupt, NotASnapshot)):
        read_manifest(put(tmp_path, encode_manifest(manifest())[:cut]))


GOOD = encode_manifest(manifest())
BODY = GOOD[: GOOD.index(b',\n "manifest_sha256"')].decode()


@pytest.mark.parametrize(
    ("data", "error", "complaint"),
    [
        pytest.param(b"", NotASnapshot, "is not our JSON", id="empty"),
        pytest.param(b"\xff\xfe{", NotASnapshot, "is not our JSON", id="binary"),
        pytest.param(b"[]", NotASnapshot, "is not our JSON", id="a list"),
        pytest.param(b"{}", NotASnapshot, "is not an almanac-snapshot manifest", id="no format"),
        pytest.param(b'{"format":"web-app"}', NotASnapshot, "is not an almanac", id="foreign"),
        pytest.param(
            GOOD.replace(b'"version": 1', b'"version": 2'), WrongVersion, "format 2, ", id="newer"
        ),
        pytest.param(
            b'{"format":"almanac-snapshot"}', WrongVersion, "format 0, this", id="no version"
        ),
        pytest.param(GOOD + b"x", Corrupt, "the manifest is damaged", id="garbage behind"),
        pytest.param(GOOD + b"\n", Corrupt, "its own digest differs", id="a line more"),
        pytest.param(GOOD.replace(b"7", b"8", 1), Corrupt, "its own digest differs", id="edited"),
        pytest.param(
            GOOD.replace(b'\n "manifest', b'\n  "manifest'), Corrupt, "digest differs", id="spaced"
        ),
        pytest.param(BODY.encode() + b"\n}\n", Corrupt, "digest differs", id="no seal"),
        pytest.param(
            sealed(BODY.replace('"model_id": "', '"model_id": "0')),
            Corrupt,
            "do not add up",
            id="another model id",
        ),
        pytest.param(
            sealed(BODY.replace('"size": 2', '"size": 3')), Corrupt, "do not add up", id="size"
        ),
        pytest.param(
            sealed(BODY.replace('"counts"', '"count"')), Corrupt, "`counts`", id="no counts"
        ),
        pytest.param(
            sealed(BODY.replace('"orders": 7', '"orders": "7"')), Corrupt, "Expected", id="type"
        ),
        pytest.param(
            sealed(BODY.replace('"k": 3', '"k": 101')), Corrupt, "golden", id="odd golden request"
        ),
        pytest.param(
            sealed(BODY + ', "bomb": ' + "[" * 200_000 + "]" * 200_000),
            Corrupt,
            "the manifest is damaged",
            id="deep bomb",
        ),
        pytest.param(b"[" * 200_000, NotASnapshot, "is not our JSON", id="deep foreign"),
        pytest.param(
            sealed(BODY.replace('"seed": 3', '"seed": 3' + "0" * 5000)),
            Corrupt,
            "out of range",
            id="long number",
        ),
        pytest.param(b" " * (MAX_MANIFEST_BYTES + 1), NotASnapshot, "has more than", id="endless"),
    ],
)
def test_what_is_no_sound_manifest_is_named(
    tmp_path: Path, data: bytes, error: type[SnapshotError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        read_manifest(put(tmp_path, data))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "", ".", "..", "a\0b"])
def test_a_listed_file_lies_in_the_directory(tmp_path: Path, name: str) -> None:
    files = [FileEntry(name=name, size=1, sha256="a" * 64)]

    with pytest.raises(Corrupt, match="no plain file name"):
        read_manifest(put(tmp_path, encode_manifest(manifest(files=files))))


def test_nothing_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFound, match="nothing is there"):
        read_manifest(tmp_path / "no")


def test_a_folder_without_manifest_is_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(NotASnapshot, match=r"has no manifest\.json") as raised:
        read_manifest(tmp_path)
    assert raised.value.hint is not None


def test_a_file_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotASnapshot, match="a snapshot is a directory"):
        read_manifest(tmp_path / "file")


def test_a_manifest_that_cannot_be_read_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).mkdir()

    with pytest.raises(NotASnapshot, match="cannot be read"):
        read_manifest(tmp_path)
