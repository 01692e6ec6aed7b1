"""Publishing: a snapshot's files and its signed manifest into a store. Nothing is served by it yet.

Objects go first, then the manifest, after every object was found to be there: who sees a manifest
can fetch all of it. Every step may be done again, so a publisher that was killed starts anew and
sends only what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from index.layout import MANIFEST_NAME, STORE_NAME
from index.manifest import FileEntry, Manifest, read_manifest
from index.shipping.channel import Target
from index.shipping.chunks import object_key
from index.shipping.collection import wait_for_collection
from index.shipping.documents import MANIFEST, document_at, unseal_document
from index.shipping.names import manifest_key
from index.shipping.published import MANIFEST_REMEDY, files_of, require_objects
from index.shipping.put import Shipped, put_object
from index.shipping.signed_manifest import seal_manifest, target_of
from index.shipping.signing import SigningKey
from index.shipping.store import Store
from index.shipping.store_errors import AlreadyThere
from index.shipping.trust_errors import WrongManifest
from index.verify import verify_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What publishing did.

    Attributes:
        brand: whose snapshot.
        target: what a channel says to point at it.
        bytes_sent: over all objects and lists; 0 when everything was there.
        bytes_there: of objects that were there already.
        is_new: whether the manifest was written now.
    """

    brand: str
    target: Target
    bytes_sent: int
    bytes_there: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Readied:
    """A snapshot that was looked at, and what is written of it besides its files.

    Attributes:
        directory: where it is.
        manifest: what it is made of.
        envelope: its signed manifest.
        target: what a channel says to point at it.
    """

    directory: Path
    manifest: Manifest
    envelope: bytes
    target: Target


def ready_snapshot(directory: Path, keys: Iterable[SigningKey]) -> Readied:
    """Check a snapshot as an edge would open it; nothing is sent.

    Args:
        directory: the snapshot.
        keys: of the role `builder`; none for a store that asks for no trust.

    Raises:
        SnapshotError: the snapshot is not sound.
        TrustError: it can't be shipped under its name.
    """
    for _ in verify_snapshot(directory, deep=True):
        pass
    manifest = read_manifest(directory)
    if not re.match(STORE_NAME, manifest.brand):
        raise WrongManifest(
            f"its brand {manifest.brand!r} can't be the name of anything in a store",
            path=directory,
            hint="build it again with another name under [brand]: up to 100 of the letters a to z"
            " and A to Z, digits, '.', '_' and '-', the first a letter or digit",
        )
    data = (directory / MANIFEST_NAME).read_bytes()
    return Readied(
        directory=directory,
        manifest=manifest,
        envelope=seal_manifest(data, keys),
        target=target_of(data),
    )


def missing_files(store: Store, manifest: Manifest) -> list[FileEntry]:
    """What publishing would send: the files whose objects are not in the store.

    Raises:
        StoreError: whatever the store has against it.
    """
    return [entry for entry in files_of(manifest) if store.head(object_key(entry.sha256)) is None]


def publish(
    store: Store,
    readied: Readied,
    *,
    on_object: Callable[[FileEntry, Shipped], None] = lambda *_: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Published:
    """Send what the store lacks, and the manifest last.

    Args:
        store: where to.
        readied: see `ready_snapshot`.
        on_object: told of each file that is in the store now.
        on_wait: told when a collection of garbage is waited for, to the end of which this lasts.

    Raises:
        Damaged: a file changed since it was looked at, or an object is not what was sent.
        AlreadyThere: another snapshot has this id; snapshots never change.
        StoreError: whatever the store has against it.
    """
    done = _put(store, readied, on_object)
    if wait_for_collection(store, on_wait=on_wait):
        # It may have looked before the manifest was there, and deleted what this one shares.
        again = _put(store, readied, on_object)
        done = replace(again, bytes_sent=done.bytes_sent + again.bytes_sent, is_new=done.is_new)
    return done


def _put(
    store: Store, readied: Readied, on_object: Callable[[FileEntry, Shipped], None]
) -> Published:
    bytes_sent = bytes_there = 0
    for entry in files_of(readied.manifest):
        shipped = put_object(store, readied.directory / entry.name, entry.sha256)
        bytes_sent += shipped.bytes_sent
        bytes_there += shipped.bytes_there
        on_object(entry, shipped)
    require_objects(store, readied.manifest)
    brand = readied.manifest.brand
    is_new = _write_manifest(store, brand, readied)
    return Published(
        brand=brand,
        target=readied.target,
        bytes_sent=bytes_sent,
        bytes_there=bytes_there,
        is_new=is_new,
    )


def _write_manifest(store: Store, brand: str, readied: Readied) -> bool:
    """Write the manifest; one that says the same, signed by a key replaced since, is signed anew.

    Returns:
        Whether anything was written.
    """
    key = manifest_key(brand, readied.target.snapshot_id)
    try:
        return store.create(key, readied.envelope)
    except AlreadyThere:
        blob = store.read(key, limit=MANIFEST.max_bytes)
        ours = unseal_document(MANIFEST, readied.envelope).payload
        with document_at(key, MANIFEST_REMEDY):
            theirs = unseal_document(MANIFEST, blob.data).payload
        if theirs != ours:
            raise
    store.replace(key, readied.envelope, expected=blob.token)
    return True
