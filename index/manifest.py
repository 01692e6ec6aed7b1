"""The manifest: what a snapshot is made of, so that a reader can refuse what is not whole."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct, field

from index.errors import (
    Corrupt,
    Incomplete,
    Mixed,
    NotASnapshot,
    SnapshotNotFound,
    WrongVersion,
)
from index.layout import FORMAT_NAME, FORMAT_VERSION, MANIFEST_NAME
from index.not_json import NOT_JSON
from index.request import Request, Tier

MAX_MANIFEST_BYTES: Final = 16 << 20
_SEAL: Final = b',\n "manifest_sha256": "'
_SEALED_END: Final = b'"\n}\n'


class FileEntry(Struct, frozen=True, kw_only=True):
    """One file of a snapshot.

    Attributes:
        name: file name inside the directory.
        size: bytes.
        sha256: hex digest of the whole file.
        entries: records of a table, vectors of a vector file; absent for other files.
        last_pgno: number of the last page an LMDB table uses.
        detail: the FAISS factory text of a vector file.
    """

    name: str
    size: int
    sha256: str
    entries: int | None = None
    last_pgno: int | None = None
    detail: str | None = None


class Golden(Struct, frozen=True, kw_only=True):
    """One decision every reader must reproduce.

    Attributes:
        key: hex customer key, or None for a visitor nobody knows.
        request: the question; it never names a customer id.
        tier: expected tier.
        offer_rows: expected offers in order.
        scores: their scores.
    """

    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")] | None
    request: Request
    tier: Tier
    offer_rows: list[int]
    scores: list[float]


class Manifest(Struct, frozen=True, kw_only=True):
    """Contents of `manifest.json`.

    Attributes:
        format: always `almanac-snapshot`.
        version: format version of every file.
        snapshot_id: `YYYYMMDDTHHMMZ-` of the data's end and 12 hex digits of the model id.
        model_id: SHA-256 over names, sizes and digests of all `files`: one id binds them.
        brand: whose snapshot this is.
        secret_check: fingerprint of the brand secret.
        binding: hex of the 16 bytes every table carries.
        platform: what a reader's machine must be like.
        data: window of the orders learned from, and the moment the tables stand for.
        counts: numbers of customers, items, offers, contexts and orders.
        invariants: bounds a reader may check before it trusts the tables.
        build: software, library versions, seed, settings and digests of the inputs.
        files: tables and model, by name.
        reports: report files; they do not count towards the model id.
        golden: decisions every reader must reproduce.
    """

    format: str = FORMAT_NAME
    version: int = FORMAT_VERSION
    snapshot_id: str
    model_id: str
    brand: str
    secret_check: str
    binding: str
    platform: dict[str, Any]
    data: dict[str, Any]
    counts: dict[str, int]
    invariants: dict[str, Any]
    build: dict[str, Any]
    files: list[FileEntry]
    reports: list[FileEntry] = field(default_factory=list)
    golden: list[Golden] = field(default_factory=list)


class _Head(Struct):
    format: str = ""
    version: int = 0


_HEAD: Final = msgspec.json.Decoder(_Head)
_MANIFEST: Final = msgspec.json.Decoder(Manifest)


def model_id(files: list[FileEntry]) -> str:
    """Hex SHA-256 that binds the files of one build.

    >>> model_id([]) == hashlib.sha256(b"").hexdigest()
    True
    """
    listing = "".join(
        f"{entry.sha256} {entry.size} {entry.name}\n"
        for entry in sorted(files, key=lambda e: e.name)
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    """Bytes of `manifest.json`: indented for people, keys in a fixed order, sealed.

    The last member, `manifest_sha256`, is the digest of every byte before it, so that a manifest
    changed by hand or by a bad disk is told from the one that was written.
    """
    text = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)
    body = text.removesuffix(b"\n}")
    return b"".join((body, _SEAL, _hex_digest(body), _SEALED_END))


def read_manifest(directory: Path) -> Manifest:
    """Read and check a snapshot's manifest.

    Raises:
        SnapshotNotFound: nothing is at the path.
        NotASnapshot: no manifest, or something else's.
        WrongVersion: a format this reader does not know.
        Corrupt: not the bytes that were written, or its ids contradict each other.
    """
    path = directory / MANIFEST_NAME
    return decode_manifest(_read_limited(path), path)


def decode_manifest(data: bytes, path: Path) -> Manifest:
    """Check the bytes of a manifest; errors name the path.

    Raises:
        NotASnapshot, WrongVersion, Corrupt: see `read_manifest`.
    """
    _check_head(data, path)
    _check_seal(data, path)
    try:
        manifest = _MANIFEST.decode(data)
    except NOT_JSON as problem:
        raise Corrupt(f"the manifest is damaged: {problem}", path=path) from problem
    if model_id(manifest.files) != manifest.model_id:
        raise Corrupt("the listed files do not add up to the model id", path=path)
    for entry in (*manifest.files, *manifest.reports):
        if entry.name in {"", ".", ".."} or "/" in entry.name or "\0" in entry.name:
            raise Corrupt(f"lists {entry.name!r}, which is no plain file name", path=path)
    return manifest


def check_sizes(directory: Path, entries: list[FileEntry]) -> None:
    """Check that each file is there with the size the manifest gives.

    Raises:
        Incomplete: missing or short. Corrupt: longer, or no file at all.
    """
    for entry in entries:
        path = directory / entry.name
        try:
            found = path.stat()
        except FileNotFoundError as problem:
            raise Incomplete("is missing", path=path, hint="copy the snapshot again") from problem
        except OSError as problem:
            raise Corrupt(f"cannot be looked at ({problem.strerror})", path=path) from problem
        if not stat.S_ISREG(found.st_mode):
            raise Corrupt("is no file", path=path, hint="copy the snapshot again")
        if found.st_size != entry.size:
            kind = Incomplete if found.st_size < entry.size else Corrupt
            raise kind(
                f"{found.st_size} bytes, the manifest says {entry.size}",
                path=path,
                hint="copy the snapshot again",
            )


def check_digest(directory: Path, entry: FileEntry) -> None:
    """Check one file's content against the manifest.

    Raises:
        Corrupt: the digest differs.
    """
    found = file_digest(directory / entry.name)
    if found != entry.sha256:
        raise Corrupt(
            f"sha256 {found[:12]}…, the manifest says {entry.sha256[:12]}…",
            path=directory / entry.name,
            hint="copy the snapshot again; do not serve this one",
        )


def require_binding(path: Path, found: bytes, expected: str) -> None:
    """Check that a file was made by the same build as the manifest.

    Raises:
        Mixed: it was not.
    """
    if found.hex() != expected:
        raise Mixed(
            f"belongs to build {found.hex()[:12]}…, the manifest to {expected[:12]}…",
            path=path,
            hint="copy all files of one snapshot together",
        )


def _read_limited(path: Path) -> bytes:
    directory = path.parent
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as problem:
        if not directory.exists():
            raise SnapshotNotFound("nothing is there", path=directory) from problem
        raise NotASnapshot(
            f"has no {MANIFEST_NAME}",
            path=directory,
            hint="give the directory that `almanac build --out` wrote",
        ) from problem
    except NotADirectoryError as problem:
        raise NotASnapshot("is a file; a snapshot is a directory", path=directory) from problem
    except OSError as problem:
        raise NotASnapshot(f"cannot be read ({problem.strerror})", path=path) from problem
    if len(data) > MAX_MANIFEST_BYTES:
        raise NotASnapshot(f"has more than {MAX_MANIFEST_BYTES} bytes", path=path)
    return data


def _check_head(data: bytes, path: Path) -> None:
    try:
        head = _HEAD.decode(data)
    except NOT_JSON as problem:
        if f'"{FORMAT_NAME}"'.encode() in data:
            raise Corrupt(f"the manifest is damaged: {problem}", path=path) from problem
        raise NotASnapshot(f"is not our JSON ({problem})", path=path) from problem
    if head.format != FORMAT_NAME:
        raise NotASnapshot(f"is not an {FORMAT_NAME} manifest", path=path)
    if head.version != FORMAT_VERSION:
        raise WrongVersion(
            f"snapshot format {head.version}, this software reads {FORMAT_VERSION}",
            path=path,
            hint="upgrade the side with the lower version",
        )


def _check_seal(data: bytes, path: Path) -> None:
    body, _, seal = data.rpartition(_SEAL)
    if seal != _hex_digest(body) + _SEALED_END:
        raise Corrupt(
            "the manifest is not what was written: its own digest differs",
            path=path,
            hint="copy the snapshot again; a snapshot is never edited",
        )


def _hex_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()
