"""The receipt: written last, it says that a snapshot is on this disk, whole and proved."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from edge.node.verdict import Verdict
from index.manifest import Manifest
from index.platform import library_versions
from index.shipping.documents import moment_now
from index.shipping.durable import replace_file
from index.shipping.published import files_of
from index.shipping.trust import Trust

RECEIPT_NAME: Final = "RECEIPT.json"
RECEIPT_FORMAT: Final = "almanac-receipt/1"


class Receipt(Struct, frozen=True, kw_only=True):
    """What was checked before a snapshot could be served.

    Attributes:
        format: always `almanac-receipt/1`.
        snapshot_id: which snapshot.
        brand: whose.
        manifest_sha256: hex digest of the bytes of its `manifest.json`.
        trust: whether somebody vouched for it.
        installed_at: when it was proved.
        size: bytes of all its files.
        n_golden: golden decisions that were repeated.
        private_bytes: memory of its own that the process of the trial needed for it.
        software: versions of what read it then; others prove it again before it is served.
    """

    format: str = RECEIPT_FORMAT
    snapshot_id: str
    brand: str
    manifest_sha256: str
    trust: Trust
    installed_at: datetime
    size: int
    n_golden: int
    private_bytes: int
    software: dict[str, str]


def receipt_for(manifest: Manifest, data: bytes, verdict: Verdict, trust: Trust) -> Receipt:
    """What is written down of a snapshot that was proved.

    Args:
        manifest: what it is made of.
        data: the bytes of its `manifest.json`.
        verdict: what the trial found.
        trust: whether somebody vouched for it.
    """
    return Receipt(
        snapshot_id=manifest.snapshot_id,
        brand=manifest.brand,
        manifest_sha256=hashlib.sha256(data).hexdigest(),
        trust=trust,
        installed_at=moment_now(),
        size=sum(entry.size for entry in files_of(manifest)),
        n_golden=verdict.n_golden,
        private_bytes=verdict.private_bytes,
        software=library_versions(),
    )


def write_receipt(directory: Path, receipt: Receipt) -> None:
    """Call a snapshot's folder complete, in a way that survives a power cut.

    Raises:
        OSError: the disk is full or refuses.
    """
    text = msgspec.json.format(msgspec.json.encode(receipt), indent=1)
    replace_file(directory / RECEIPT_NAME, text + b"\n", mode=0o444)


def read_receipt(directory: Path) -> Receipt | None:
    """The receipt of a folder; None when it has none that makes sense: then nothing is there."""
    try:
        receipt = msgspec.json.decode((directory / RECEIPT_NAME).read_bytes(), type=Receipt)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    sensible = receipt.format == RECEIPT_FORMAT and receipt.snapshot_id == directory.name
    return receipt if sensible else None
