"""Publishing deltas: from the files of earlier snapshots to those of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from index.errors import Mixed
from index.manifest import FileEntry, Manifest, file_digest, read_manifest
from index.shipping.delta import apply_delta, write_delta
from index.shipping.delta_list import Delta, add_deltas, read_delta_list
from index.shipping.delta_ways import WORTH
from index.shipping.put import put_object
from index.shipping.store import Store

LEAST_BYTES: Final = 64 << 10
"""A smaller object is one request, as its delta would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaMade:
    """What was done for one file.

    Attributes:
        name: of the file.
        parent: id of the snapshot it begins with.
        object_bytes: of the whole file.
        delta_bytes: of the delta.
        is_kept: whether it is small enough to be of use, and is in the store now.
    """

    name: str
    parent: str
    object_bytes: int
    delta_bytes: int
    is_kept: bool


def publish_deltas(
    store: Store,
    directory: Path,
    manifest: Manifest,
    parents: Sequence[Path],
    *,
    least_bytes: int = LEAST_BYTES,
    on_delta: Callable[[DeltaMade], None] = lambda _: None,
) -> list[DeltaMade]:
    """Put deltas from earlier snapshots into a store, where each pays, and list them.

    Every delta is applied before it is put: only those are that lead to the very bytes.

    Args:
        store: where to.
        directory: the new snapshot.
        manifest: what it is made of.
        parents: directories of earlier snapshots that nodes may have, the likeliest first.
        least_bytes: smaller files get none.
        on_delta: told of each.

    Raises:
        SnapshotError: an earlier snapshot is none, or another brand's.
        Damaged: a delta does not lead to the new file; nothing of it was put.
        StoreError: whatever the store or the disk has against it.
    """
    made = []
    earlier = [_earlier(path, manifest) for path in parents]
    with TemporaryDirectory(prefix="almanac-delta-") as scratch:
        for entry in (file for file in manifest.files if file.size >= least_bytes):
            found: list[Delta] = []
            for parent_id, path, sha256 in _same_file(entry, earlier):
                delta_path = Path(scratch) / f"{entry.name}.delta"
                size = write_delta(path, directory / entry.name, delta_path)
                is_kept = size < WORTH * entry.size
                if is_kept:
                    digest = _proved(delta_path, path, entry)
                    put_object(store, delta_path, digest)
                    found.append(Delta(from_sha256=sha256, sha256=digest, size=size))
                delta_path.unlink()
                told = DeltaMade(
                    name=entry.name,
                    parent=parent_id,
                    object_bytes=entry.size,
                    delta_bytes=size,
                    is_kept=is_kept,
                )
                made.append(told)
                on_delta(told)
            if found and not _are_listed(store, entry, found):
                add_deltas(store, entry.sha256, entry.size, found)
    return made


def _earlier(path: Path, manifest: Manifest) -> tuple[Path, Manifest]:
    earlier = read_manifest(path)
    if earlier.brand != manifest.brand:
        raise Mixed(f"is of {earlier.brand}, and no node of {manifest.brand} has it", path=path)
    return path, earlier


def _same_file(
    entry: FileEntry, earlier: Sequence[tuple[Path, Manifest]]
) -> Iterator[tuple[str, Path, str]]:
    """Earlier files of the same name and other bytes: snapshot id, path and digest."""
    for path, manifest in earlier:
        for old in manifest.files:
            if old.name == entry.name and old.sha256 != entry.sha256:
                yield manifest.snapshot_id, path / old.name, old.sha256


def _proved(delta: Path, before: Path, entry: FileEntry) -> str:
    """Digest of a delta that leads to what it should."""
    made = delta.with_suffix(".made")
    try:
        apply_delta(delta, before, made, digest=entry.sha256, size=entry.size)
    finally:
        made.unlink(missing_ok=True)
    return file_digest(delta)


def _are_listed(store: Store, entry: FileEntry, found: Sequence[Delta]) -> bool:
    listed = read_delta_list(store, entry.sha256)
    return listed is not None and set(found) <= set(listed.deltas)
