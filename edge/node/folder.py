"""A node's folder: objects by digest, and one folder of links into them for each snapshot.

objects/SHA256              whole files, read-only, never changed
snapshots/ID/               manifest.json, its envelope, one relative link per file, RECEIPT.json
trust/                      whom the node trusts
state/standing.json         what it serves, and what it must not
tmp/                        snapshots and objects on their way; rubbish after a restart
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge.errors import FolderUnusable
from edge.node.receipt import Receipt, read_receipt
from index.errors import SnapshotError
from index.manifest import Manifest, check_sizes, read_manifest
from index.shipping.disk import make_folder
from index.shipping.published import files_of


class NodeFolder:
    """Where things are below the folder.

    Args:
        top: the node's folder; nothing is made or read yet.
    """

    def __init__(self, top: Path) -> None:
        self.top = top.absolute()
        self.objects = self.top / "objects"
        self.snapshots = self.top / "snapshots"
        self.trust = self.top / "trust"
        self.state = self.top / "state"
        self.tmp = self.top / "tmp"

    def make(self) -> None:
        """Make what is missing.

        Raises:
            FolderUnusable: it can't be made.
        """
        try:
            for folder in (self.objects, self.snapshots, self.state, self.tmp):
                make_folder(folder)
        except OSError as problem:
            raise FolderUnusable(
                f"{self.top} can't be the node's folder ({problem.strerror})",
                hint="give a folder that this user can write to: --state-dir",
            ) from problem

    def snapshot(self, snapshot_id: str) -> Path:
        """Where a snapshot is, or will be."""
        return self.snapshots / snapshot_id

    def object(self, sha256: str) -> Path:
        """Where an object is, or will be."""
        return self.objects / sha256

    def receipt_of(self, snapshot_id: str) -> Receipt | None:
        """The receipt of a snapshot whose files are all there by size; None for any other."""
        directory = self.snapshot(snapshot_id)
        receipt = read_receipt(directory)
        if receipt is None:
            return None
        try:
            check_sizes(directory, files_of(read_manifest(directory)))
        except SnapshotError:
            return None
        return receipt

    def manifest_of(self, snapshot_id: str) -> Manifest:
        """The manifest of an installed snapshot.

        Raises:
            SnapshotError: there is none, or it is damaged.
        """
        return read_manifest(self.snapshot(snapshot_id))

    def kept(self) -> Iterator[Path]:
        """Folders of snapshots, half ones of older software included."""
        if self.snapshots.is_dir():
            yield from (path for path in sorted(self.snapshots.iterdir()) if path.is_dir())


def links_of(directory: Path) -> set[str]:
    """Digests of the objects that a snapshot's folder leads to."""
    return {
        Path(entry.path).readlink().name for entry in os.scandir(directory) if entry.is_symlink()
    }
