"""A published snapshot, as a store has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from index.manifest import FileEntry, Manifest, decode_manifest
from index.shipping.channel import Target
from index.shipping.chunks import object_key
from index.shipping.documents import MANIFEST, document_at, unseal_document
from index.shipping.names import manifest_key
from index.shipping.root import Root
from index.shipping.signed_manifest import open_manifest, target_of
from index.shipping.store import Store
from index.shipping.store_errors import Damaged, NotInStore
from index.shipping.trust_errors import WrongManifest

MANIFEST_REMEDY: Final = "delete it, and publish the snapshot again"
"""What mends a manifest that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InStore:
    """What a store has of a snapshot.

    Attributes:
        target: what a channel says to point at it.
        manifest: what it is made of.
    """

    target: Target
    manifest: Manifest


def read_published(store: Store, brand: str, snapshot_id: str, root: Root | None) -> InStore:
    """A published snapshot, of which every object is in the store.

    Args:
        store: where it is.
        brand: whose snapshot.
        snapshot_id: which.
        root: whose builder keys count; None trusts anyone.

    Raises:
        NotInStore: it was not published, or an object is missing.
        Damaged: an object has another size than its manifest says.
        TrustError: its manifest is not what a builder key of the root signed, or another's.
        SnapshotError: the manifest is none this software can read.
        StoreError: whatever the store has against it.
    """
    key = manifest_key(brand, snapshot_id)
    try:
        data = store.read(key, limit=MANIFEST.max_bytes).data
    except NotInStore as problem:
        raise NotInStore(
            f"snapshot {snapshot_id} of {brand} is not published",
            where=problem.where,
            hint="publish it first: almanac publish SNAPSHOT --store URL",
        ) from problem
    with document_at(key, MANIFEST_REMEDY):
        target = target_of(unseal_document(MANIFEST, data).payload)
        payload = open_manifest(data, root, brand=brand, target=target)
        if target.snapshot_id != snapshot_id:
            raise WrongManifest(
                f"under the name of {snapshot_id} the store has the manifest of"
                f" {target.snapshot_id}",
                hint=f"find out who put it there; {MANIFEST_REMEDY}",
            )
    manifest = decode_manifest(payload, Path(key))
    require_objects(store, manifest)
    return InStore(target=target, manifest=manifest)


def files_of(manifest: Manifest) -> list[FileEntry]:
    """All files that are shipped."""
    return [*manifest.files, *manifest.reports]


def require_objects(store: Store, manifest: Manifest) -> None:
    """Refuse a snapshot that could not be fetched whole.

    Raises:
        NotInStore: an object is missing.
        Damaged: one has another size than its manifest says.
    """
    for entry in files_of(manifest):
        key = object_key(entry.sha256)
        size = store.head(key)
        if size is None:
            raise NotInStore(
                f"{entry.name} of {manifest.snapshot_id} is missing",
                where=f"{store.name}/{key}",
                hint="publish the snapshot again: only what is missing is sent",
            )
        if size != entry.size:
            raise Damaged(
                f"{entry.name} of {manifest.snapshot_id} has {size} bytes, not {entry.size}",
                where=f"{store.name}/{key}",
                hint="delete the object and publish the snapshot again",
            )
