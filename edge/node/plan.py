"""Planning: may this snapshot be fetched at all? Asked before the first byte of it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edge.errors import Unfit
from edge.node.folder import NodeFolder
from edge.node.install import ENVELOPE_NAME
from edge.node.receipt import RECEIPT_NAME
from index.errors import Corrupt
from index.layout import MANIFEST_NAME
from index.manifest import FileEntry, Manifest, decode_manifest
from index.platform import require_platform
from index.shipping.chunks import object_key
from index.shipping.disk import disk_failures, free_bytes, missing_bytes
from index.shipping.fetch import RESERVE_BYTES
from index.shipping.part_file import PART_SUFFIX
from index.shipping.published import files_of
from index.shipping.store_errors import DiskFull

MAX_FILES: Final = 10_000
_OURS: Final = frozenset({MANIFEST_NAME, ENVELOPE_NAME, RECEIPT_NAME})


def checked_manifest(data: bytes, path: Path) -> Manifest:
    """Read a manifest and hold it against this machine and against its own limits.

    Args:
        data: the bytes of `manifest.json`.
        path: what errors call it.

    Raises:
        WrongVersion: another format, or another kind of machine.
        Corrupt, NotASnapshot: no manifest that makes sense.
        Unfit: more than its own limits or this software allow.
    """
    manifest = decode_manifest(data, path)
    require_platform(manifest.platform, path)
    _require_invariants(manifest)
    files = files_of(manifest)
    if len(files) > MAX_FILES:
        raise Unfit(f"it has {len(files)} files, at most {MAX_FILES} are taken")
    for entry in files:
        object_key(entry.sha256)
        if entry.size < 0 or entry.name in _OURS:
            raise Corrupt(f"lists {entry.name!r} with {entry.size} bytes", path=path)
    if len({entry.name for entry in files}) < len(files):
        raise Corrupt("lists a file twice", path=path)
    return manifest


def objects_of(manifest: Manifest) -> dict[str, FileEntry]:
    """The objects a snapshot is made of, by digest, the smallest first."""
    entries = sorted(files_of(manifest), key=lambda entry: entry.size)
    return {entry.sha256: entry for entry in entries}


def require_room(folder: NodeFolder, objects: Iterable[FileEntry]) -> None:
    """Check that all that is missing fits at once, so that no fetch begins that can't end.

    Raises:
        DiskFull: it does not; nothing was asked for.
    """
    missing = sum(_missing(folder.object(entry.sha256), entry.size) for entry in objects)
    with disk_failures(folder.objects):
        free = free_bytes(os.statvfs(folder.objects))
    if free < missing + RESERVE_BYTES:
        raise DiskFull(
            f"the snapshot needs {missing} bytes more and {RESERVE_BYTES} in reserve,"
            f" {free} are free",
            where=str(folder.top),
            hint="make room on the disk of the node's folder; what is served stays",
        )


def _missing(path: Path, size: int) -> int:
    with disk_failures(path):
        if path.exists() and path.stat().st_size == size:
            return 0
        part = path.with_name(path.name + PART_SUFFIX)
        return missing_bytes(part.stat(), size) if part.exists() else size


def _require_invariants(manifest: Manifest) -> None:
    """Hold counts against the bounds that the builder promised: `max_NAME` and `min_NAME`."""
    for promise, bound in manifest.invariants.items():
        kind, _, name = promise.partition("_")
        count = manifest.counts.get(name)
        if count is None or kind not in {"max", "min"}:
            continue
        if count > bound if kind == "max" else count < bound:
            raise Unfit(
                f"it has {count} {name}, and its own limit is {promise} = {bound}",
                hint="find out what the build learned from; announce another snapshot",
            )
