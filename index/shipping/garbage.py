"""What a store no longer needs: snapshots that nobody can come to want, and files of no snapshot.

Mark and sweep. What is in use is told by documents that people sign (channels, with those they had
lately) and by age; what can't be understood keeps everything. Snapshots go before their files, so
that whoever sees a manifest can fetch all of it, also when a collection is cut short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from index.manifest import decode_manifest
from index.shipping.channel import Channel, Target, decode_channel
from index.shipping.channel_store import CHANNEL_REMEDY, PAST_REMEDY
from index.shipping.delta_list import read_delta_list
from index.shipping.documents import CHANNEL, MANIFEST, document_at, unseal_document
from index.shipping.published import MANIFEST_REMEDY, files_of
from index.shipping.store import Listed, Store
from index.shipping.store_errors import Damaged, NotInStore

_MANIFESTS: Final = "manifests"
_CHANNELS: Final = "channels"
_HISTORY: Final = "history"
_OBJECTS: Final = "objects"
_CHUNKS: Final = "chunks"
_DELTAS: Final = "deltas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What stays although no channel names it.

    Attributes:
        newest: of each brand this many snapshots, by their data's end.
        days: whatever was written in the last so many days, and what a channel named in them: a
            node may still be fetching it, and an operator may want to look at it.
    """

    newest: int = 3
    days: float = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A published snapshot, and why it stays.

    Attributes:
        brand: whose.
        snapshot_id: which.
        key: name of its manifest in the store.
        why: reasons to keep it; none for one that may go.
    """

    brand: str
    snapshot_id: str
    key: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What was found.

    Attributes:
        kept: snapshots that stay.
        gone: snapshots that may go.
        blobs: files that may go with them, and those of no snapshot at all.
        n_bytes_kept: of files that stay.
    """

    kept: tuple[Snapshot, ...]
    gone: tuple[Snapshot, ...]
    blobs: tuple[Listed, ...]
    n_bytes_kept: int

    @property
    def n_bytes(self) -> int:
        """Of files that may go."""
        return sum(blob.size for blob in self.blobs)


def find_garbage(store: Store, now: datetime, keeping: Keeping) -> Garbage:
    """Look at a whole store; nothing is deleted.

    Args:
        store: where.
        now: the moment by the store's clock, UTC.
        keeping: what stays in any case.

    Raises:
        TrustError, SnapshotError: a channel or manifest makes no sense to this software, so what
            it needs is not known.
        ReadOnlyStore: the store can't tell what it has.
        StoreError: whatever else the store has against it.
    """
    since = now - timedelta(days=keeping.days)
    # Before the manifests: a file is put before the manifest that needs it, and found by it.
    blobs = [blob for folder in (_OBJECTS, _CHUNKS, _DELTAS) for blob in store.list(folder)]
    manifests = list(store.list(_MANIFESTS))
    reasons = _reasons(manifests, _named(store, since), since, keeping)
    snapshots = [
        Snapshot(brand=brand, snapshot_id=name, key=key, why=tuple(reasons.get((brand, name), ())))
        for key, brand, name in map(_parts, (listed.key for listed in manifests))
    ]
    kept = tuple(snapshot for snapshot in snapshots if snapshot.why)
    needed = set[str]()
    for snapshot in kept:
        needed.update(_digests(store, snapshot.key))
    needed.update(_deltas(store, blobs, needed))
    old = [blob for blob in blobs if _digest_of(blob.key) not in needed]
    old = [blob for blob in old if blob.modified_at < since]
    n_bytes_kept = sum(blob.size for blob in blobs) - sum(blob.size for blob in old)
    return Garbage(
        kept=kept,
        gone=tuple(snapshot for snapshot in snapshots if not snapshot.why),
        blobs=tuple(sorted(old, key=lambda blob: (not blob.key.startswith(_OBJECTS), blob.key))),
        n_bytes_kept=n_bytes_kept,
    )


@dataclass(slots=True, kw_only=True)
class Swept:
    """What a sweep removed.

    Attributes:
        snapshots: their manifests.
        blobs: files.
        n_bytes: of those files.
        is_whole: whether all garbage that was found is gone.
    """

    snapshots: list[str] = field(default_factory=list)
    blobs: int = 0
    n_bytes: int = 0
    is_whole: bool = False


def sweep(store: Store, garbage: Garbage, may_go_on: Callable[[], bool]) -> Swept:
    """Delete garbage: manifests, then files, then what tells of their chunks and deltas.

    Args:
        store: where.
        garbage: what.
        may_go_on: asked before each deletion; the first False ends it.

    Raises:
        StoreError: whatever the store has against it; what is gone by then is gone.
    """
    swept = Swept()
    for snapshot in garbage.gone:
        if not may_go_on():
            return swept
        store.delete(snapshot.key)
        swept.snapshots.append(snapshot.snapshot_id)
    for blob in garbage.blobs:
        if not may_go_on():
            return swept
        store.delete(blob.key)
        swept.blobs += 1
        swept.n_bytes += blob.size
    swept.is_whole = True
    return swept


def _reasons(
    manifests: Sequence[Listed],
    named: Mapping[tuple[str, str], Sequence[str]],
    since: datetime,
    keeping: Keeping,
) -> dict[tuple[str, str], list[str]]:
    """Why which snapshots stay, by brand and id."""
    reasons: dict[tuple[str, str], list[str]] = {whom: [*why] for whom, why in named.items()}
    by_brand: dict[str, list[str]] = {}
    for listed in manifests:
        _, brand, snapshot_id = _parts(listed.key)
        by_brand.setdefault(brand, []).append(snapshot_id)
        if listed.modified_at >= since:
            reasons.setdefault((brand, snapshot_id), []).append("published lately")
    for brand, ids in by_brand.items():
        for snapshot_id in sorted(ids, reverse=True)[: keeping.newest]:
            reasons.setdefault((brand, snapshot_id), []).append("one of the newest")
    return reasons


def _named(store: Store, since: datetime) -> dict[tuple[str, str], list[str]]:
    """Which snapshots channels name now, or did since then, and as what."""
    found: dict[tuple[str, str], list[str]] = {}
    for listed in store.list(_CHANNELS):
        now = _channel(store, listed.key)
        for channel in (now, *_lately(store, now, since)):
            when = "" if channel is now else ", lately"
            for what, target in _targets(channel):
                why = found.setdefault((channel.brand, target.snapshot_id), [])
                words = f"{what} of {channel.channel}"
                if words not in why and f"{words}{when}" not in why:
                    why.append(f"{words}{when}")
    return found


def _lately(store: Store, now: Channel, since: datetime) -> Iterator[Channel]:
    """Documents of the past that were in force at some moment since then."""
    folder = f"{_HISTORY}/{now.brand}/{now.channel}"
    begins = now.issued_at
    for key in sorted((listed.key for listed in store.list(folder)), reverse=True):
        if begins < since:
            return
        past = _channel(store, key)
        yield past
        begins = min(begins, past.issued_at)


def _targets(channel: Channel) -> Iterator[tuple[str, Target]]:
    if channel.target is not None:
        yield "target", channel.target
    if channel.last_good is not None:
        yield "last good", channel.last_good
    for pin in channel.pins:
        yield "pin", pin.target


def _channel(store: Store, key: str) -> Channel:
    # Whose signature it bears does not matter: a forged one can only keep what should go.
    data = store.read(key, limit=CHANNEL.max_bytes).data
    with document_at(key, PAST_REMEDY if key.startswith(_HISTORY) else CHANNEL_REMEDY):
        return decode_channel(unseal_document(CHANNEL, data))


def _digests(store: Store, key: str) -> Iterator[str]:
    """Digests of the files a snapshot needs."""
    try:
        data = store.read(key, limit=MANIFEST.max_bytes).data
    except NotInStore:  # somebody else deleted it since it was listed
        return
    with document_at(key, MANIFEST_REMEDY):
        payload = unseal_document(MANIFEST, data).payload
    manifest = decode_manifest(payload, Path(key))
    for entry in files_of(manifest):
        yield entry.sha256


def _deltas(store: Store, blobs: Sequence[Listed], needed: AbstractSet[str]) -> set[str]:
    """Digests of the deltas that lead to files which are needed."""
    lists = {_digest_of(blob.key) for blob in blobs if blob.key.startswith(f"{_DELTAS}/")}
    found = set[str]()
    for sha256 in lists & needed:
        with suppress(Damaged):  # of no use to anybody, and no harm
            if (listed := read_delta_list(store, sha256)) is not None:
                found.update(delta.sha256 for delta in listed.deltas)
    return found


def _parts(key: str) -> tuple[str, str, str]:
    """Key, brand and snapshot id of a manifest's key."""
    brand, _, name = key.removeprefix(f"{_MANIFESTS}/").partition("/")
    return key, brand, name.removesuffix(".json")


def _digest_of(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".list")
