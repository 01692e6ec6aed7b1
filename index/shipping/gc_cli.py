"""`almanac gc`: makes room in a store."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from index.json_text import json_text
from index.shipping.collection import Collection, collecting
from index.shipping.garbage import Garbage, Keeping, Swept, find_garbage, sweep
from index.shipping.store import Store, open_store
from index.shipping.store_errors import StoreFailed


def gc(
    *,
    store: Annotated[str, Parameter(env_var="ALMANAC_STORE")],
    newest: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    days: Annotated[float, Parameter(validator=Number(gte=0))] = 7.0,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Delete snapshots that no node can come to want, and files that no snapshot needs.

    Of every brand in the store there stay: what a channel names (target, last good, pins), or did
    in the last days; the newest snapshots; and whatever was written in the last days. Channels,
    their history, overlays, heartbeats and roots are never touched. It may run while others publish
    and announce, and be killed at any moment. Ends with exit code 3 when there is a channel or a
    snapshot that this software can't read (nothing is deleted then), and 6 when another collection
    is under way.

        almanac gc --store s3://almanac-store --dry-run

    Args:
        store: a folder, `file:///folder` or `s3://bucket/prefix`; ALMANAC_STORE by default.
        newest: how many of the newest snapshots of each brand stay.
        days: how long everything stays; longer than the slowest node fetches.
        dry_run: tell what would be deleted, without deleting it.
        json: print one JSON object instead of lines.
    """
    place, keeping = open_store(store), Keeping(newest=newest, days=days)
    if dry_run:
        _tell(find_garbage(place, datetime.now(UTC), keeping), None, json=json)
        return
    total, found = Swept(), None
    while not total.is_whole:
        # What takes longer than one collection may is found anew: it may be in use by now.
        with collecting(place) as collection:
            found = find_garbage(place, collection.now, keeping)
            _add(total, _swept(place, found, collection))
    assert found is not None
    _tell(found, total, json=json)


def say_waiting() -> None:
    """Tell a person at a terminal why a command does not end yet."""
    print("waiting for the end of a collection of garbage", file=sys.stderr)


def _swept(store: Store, found: Garbage, collection: Collection) -> Swept:
    for snapshot in found.gone:
        print(f"deleting {snapshot.snapshot_id} of {snapshot.brand}", file=sys.stderr)
    return sweep(store, found, lambda: collection.may_delete)


def _add(total: Swept, more: Swept) -> None:
    if not (more.is_whole or more.snapshots or more.blobs):
        raise StoreFailed(
            "looking at the store takes longer than one collection may",
            hint="collect from a machine nearer to it",
        )
    total.snapshots += more.snapshots
    total.blobs += more.blobs
    total.n_bytes += more.n_bytes
    total.is_whole = more.is_whole


def _tell(found: Garbage, swept: Swept | None, *, json: bool) -> None:
    gone = [snapshot.snapshot_id for snapshot in found.gone] if swept is None else swept.snapshots
    n_blobs = len(found.blobs) if swept is None else swept.blobs
    n_bytes = found.n_bytes if swept is None else swept.n_bytes
    kept = [
        {"brand": snapshot.brand, "snapshot_id": snapshot.snapshot_id, "why": list(snapshot.why)}
        for snapshot in found.kept
    ]
    if json:
        told: dict[str, Any] = {
            "deleted": swept is not None,
            "kept": kept,
            "bytes_kept": found.n_bytes_kept,
            "snapshots": gone,
            "files": n_blobs,
            "bytes": n_bytes,
        }
        print(json_text(told))
        return
    for snapshot in found.kept:
        print(f"kept {snapshot.snapshot_id} of {snapshot.brand}: {', '.join(snapshot.why)}")
    for snapshot_id in gone:
        print(f"{'would delete' if swept is None else 'deleted'} {snapshot_id}")
    print(
        f"{'would delete' if swept is None else 'deleted'} {len(gone)} snapshots and"
        f" {n_blobs} files, {n_bytes:,} bytes; {found.n_bytes_kept:,} stay"
    )
