"""Putting a snapshot together from objects: aside first, under its name when all of it holds."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.node.folder import NodeFolder
from edge.node.receipt import Receipt, write_receipt
from index.folders import sync_folder
from index.layout import MANIFEST_NAME
from index.manifest import Manifest
from index.shipping.chunks import file_chunks
from index.shipping.disk import disk_failures
from index.shipping.durable import create_file
from index.shipping.published import files_of

ENVELOPE_NAME: Final = "manifest.sealed.json"
_PIECE_BYTES: Final = 1 << 20


def put_together(folder: NodeFolder, manifest: Manifest, data: bytes, envelope: bytes) -> Path:
    """A folder aside that looks as the snapshot will: manifest, envelope and links into objects.

    Raises:
        DiskFull, StoreFailed: what the disk said.
    """
    aside = folder.tmp / f"{manifest.snapshot_id}.{secrets.token_hex(4)}"
    with disk_failures(aside):
        aside.mkdir()
        for entry in files_of(manifest):
            # As far up from here as from where it will be.
            (aside / entry.name).symlink_to(f"../../objects/{entry.sha256}")
        create_file(aside / ENVELOPE_NAME, envelope, mode=0o444)
        create_file(aside / MANIFEST_NAME, data, mode=0o444)
    return aside


def give_name(folder: NodeFolder, aside: Path, receipt: Receipt) -> Path:
    """Write the receipt and give the folder its name, both in a way that survives a power cut.

    Raises:
        DiskFull, StoreFailed: what the disk said; there is no snapshot of that name then.
    """
    path = folder.snapshot(receipt.snapshot_id)
    with disk_failures(path):
        write_receipt(aside, receipt)
        if path.exists():  # one that lost a file since, or that nobody vouched for
            discard(folder, path)
        aside.rename(path)
        sync_folder(folder.snapshots)
    return path


def discard(folder: NodeFolder, path: Path) -> None:
    """Remove a snapshot's folder: at once by name, then bit by bit.

    Raises:
        OSError: the disk refuses.
    """
    aside = folder.tmp / f"old.{secrets.token_hex(4)}"
    path.rename(aside)
    sync_folder(path.parent)
    shutil.rmtree(aside)


def digest_of(path: Path, meanwhile: Callable[[], None]) -> str:
    """Hex SHA-256 of a file, read piece by piece.

    Args:
        path: the file.
        meanwhile: called after each piece.

    Raises:
        StoreFailed: it can't be read.
    """
    digest = hashlib.sha256()
    for piece in file_chunks(path, _PIECE_BYTES):
        digest.update(piece)
        meanwhile()
    return digest.hexdigest()


def put_in_place(folder: NodeFolder, fetched: Path) -> None:
    """Put a sound object over a damaged one: who has the old one mapped keeps it.

    Raises:
        DiskFull, StoreFailed: what the disk said.
    """
    path = folder.object(fetched.name)
    with disk_failures(path):
        fetched.replace(path)
        sync_folder(folder.objects)
