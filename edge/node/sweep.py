"""Sweeping: what a node's folder holds and nobody needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from edge.node.folder import NodeFolder, links_of
from edge.node.install import discard
from edge.node.receipt import read_receipt
from index.folders import sync_folder
from index.shipping.disk import disk_failures
from index.shipping.part_file import PART_SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed."""

    snapshots: tuple[str, ...] = ()
    n_objects: int = 0
    n_bytes: int = 0


def clear_half_done(folder: NodeFolder) -> None:
    """Remove what a killed process was putting together; parts of objects stay, to go on with.

    Only for the one process that looks after the folder, before it begins.

    Raises:
        StoreFailed: the disk refuses.
    """
    with disk_failures(folder.tmp):
        for path in folder.tmp.iterdir():
            shutil.rmtree(path)
        for path in folder.kept():
            if read_receipt(path) is None:
                discard(folder, path)


def sweep(folder: NodeFolder, *, snapshots: Iterable[str], objects: Iterable[str]) -> Swept:
    """Remove all other snapshots, then all objects and parts that no snapshot left leads to.

    A snapshot is gone before the first of its objects is, so that none is ever there in part.
    Whoever has a removed file open or mapped keeps it.

    Args:
        folder: the node's folder.
        snapshots: ids of those to keep.
        objects: digests of those to keep besides, such as one that is being fetched.

    Raises:
        StoreFailed: the disk refuses.
    """
    keep_snapshots, keep_objects = set(snapshots), set(objects)
    removed: list[str] = []
    n_objects = n_bytes = 0
    with disk_failures(folder.top):
        for path in folder.kept():
            if path.name in keep_snapshots:
                keep_objects |= links_of(path)
            else:
                discard(folder, path)
                removed.append(path.name)
        for path in folder.objects.iterdir():
            if path.name.removesuffix(PART_SUFFIX) not in keep_objects:
                n_objects, n_bytes = n_objects + 1, n_bytes + path.stat().st_size
                path.unlink()
        sync_folder(folder.objects)
    return Swept(snapshots=tuple(removed), n_objects=n_objects, n_bytes=n_bytes)
