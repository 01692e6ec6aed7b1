"""`almanac publish`: a snapshot into a store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from index.json_text import json_text
from index.manifest import FileEntry
from index.shipping.gc_cli import say_waiting
from index.shipping.publish import (
    Readied,
    missing_files,
    publish,
    ready_snapshot,
)
from index.shipping.publish_deltas import DeltaMade, publish_deltas
from index.shipping.put import Shipped
from index.shipping.root_store import publish_roots
from index.shipping.signers import NOBODY, Signers
from index.shipping.store import open_store


def publish_snapshot(
    snapshot: Path,
    *,
    store: Annotated[str, Parameter(env_var="ALMANAC_STORE")],
    delta_from: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    signers: Signers = NOBODY,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Put a snapshot into a store. No node serves it before it is announced.

    The snapshot is verified, golden decisions included; then files go by their digest, only those
    that the store lacks, and the signed manifest last. Killed half-way, it may be run again. Ends
    with exit code 3 when the snapshot is not sound, 4 when there is none or no key to sign with, 6
    when another snapshot has its id, and 75 when the store can't be reached.

        almanac publish shop/ --store s3://almanac-store --keys shop-keys/

    Args:
        snapshot: directory that `almanac build --out` wrote.
        store: a folder, `file:///folder` or `s3://bucket/prefix`; ALMANAC_STORE by default.
        delta_from: directories of earlier snapshots; nodes that have one of them fetch only what
            is different, where that is less. Give yesterday's, and the last good one.
        signers: see there.
        dry_run: check everything and tell what would be sent, without sending.
        json: print one JSON object instead of lines.
    """
    target = open_store(store)
    readied = ready_snapshot(snapshot, signers.of("builder"))
    if dry_run:
        missing = missing_files(target, readied.manifest)
        _tell(readied, {"published": False, **_told(missing)}, json=json)
        return
    n_roots = publish_roots(target, signers.envelopes())
    deltas = publish_deltas(
        target, snapshot, readied.manifest, delta_from or [], on_delta=_said_delta
    )
    done = publish(target, readied, on_object=_said, on_wait=say_waiting)
    told = {
        "published": True,
        "is_new": done.is_new,
        "bytes_sent": done.bytes_sent,
        "bytes_there": done.bytes_there,
        "new_roots": n_roots,
        "deltas": [asdict(delta) for delta in deltas],
    }
    _tell(readied, told, json=json)


def _said(entry: FileEntry, shipped: Shipped) -> None:
    what = "is there" if not shipped.bytes_sent else f"sent, {shipped.bytes_sent:,} bytes"
    print(f"{entry.name}: {what}", file=sys.stderr)


def _said_delta(made: DeltaMade) -> None:
    share = made.delta_bytes / made.object_bytes
    what = f"{made.delta_bytes:,} of {made.object_bytes:,} bytes ({share:.1%})"
    of_use = "" if made.is_kept else ", too much to be of use"
    print(f"{made.name}: delta from {made.parent}, {what}{of_use}", file=sys.stderr)


def _told(missing: Sequence[FileEntry]) -> dict[str, Any]:
    return {
        "would_send": [entry.name for entry in missing],
        "bytes_missing": sum(entry.size for entry in missing),
    }


def _tell(readied: Readied, told: dict[str, Any], *, json: bool) -> None:
    brand, snapshot_id = readied.manifest.brand, readied.target.snapshot_id
    if json:
        whole = {"brand": brand, "snapshot_id": snapshot_id, **told}
        print(json_text(whole))
    elif not told["published"]:
        print(
            f"would publish {snapshot_id} of {brand}: {len(told['would_send'])} files,"
            f" {told['bytes_missing']:,} bytes"
        )
    elif told["is_new"]:
        print(
            f"published {snapshot_id} of {brand}: {told['bytes_sent']:,} bytes sent,"
            f" {told['bytes_there']:,} were there"
        )
    else:
        print(f"{snapshot_id} of {brand} was published before")
