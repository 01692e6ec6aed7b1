"""`almanac fetch`: a published snapshot as a directory, as `almanac build` wrote it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from index.folders import sync_folder
from index.json_text import json_text
from index.layout import MANIFEST_NAME
from index.shipping.channel_flags import newest
from index.shipping.disk import disk_failures
from index.shipping.documents import MANIFEST
from index.shipping.durable import create_file
from index.shipping.fetch import fetch_object
from index.shipping.names import manifest_key
from index.shipping.published import files_of, read_published
from index.shipping.signed_manifest import open_manifest
from index.shipping.signers import NOBODY, Signers
from index.shipping.store import open_store
from index.shipping.store_errors import AlreadyThere
from index.verify import verify_snapshot


def fetch(
    snapshot_id: str,
    *,
    store: Annotated[str, Parameter(env_var="ALMANAC_STORE")],
    brand: str,
    out: Path,
    signers: Signers = NOBODY,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Bring a published snapshot to this disk: to compare, to verify, to build upon.

    The directory appears whole and verified, or not at all; killed half-way, it may be run again
    and goes on. Ends with exit code 3 when the snapshot is not what a builder key signed, 4 when it
    is not published, and 6 when something is at --out already.

        almanac fetch 20171201T0500Z-c752b9f839e7 --brand shop --out yesterday/

    Args:
        snapshot_id: a published snapshot.
        store: a folder, `file:///folder`, `s3://bucket/prefix` or `https://…`; ALMANAC_STORE by
            default.
        brand: whose snapshot.
        out: the directory to make.
        signers: see there.
        json: print one JSON object instead of lines.
    """
    if out.exists():
        raise AlreadyThere("is there already", where=str(out), hint="give another --out")
    place, root = open_store(store), newest(signers.chain())
    found = read_published(place, brand, snapshot_id, root)
    envelope = place.read(manifest_key(brand, snapshot_id), limit=MANIFEST.max_bytes).data
    data = open_manifest(envelope, root, brand=brand, target=found.target)
    aside = out.with_name(f".{out.name}.fetching")
    n_bytes = 0
    for entry in files_of(found.manifest):
        print(f"{entry.name}: {entry.size:,} bytes", file=sys.stderr)
        fetched = fetch_object(place, entry.sha256, entry.size, aside / "objects")
        n_bytes += fetched.progress.bytes_received
    with disk_failures(aside):
        whole = aside / "snapshot"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        for entry in files_of(found.manifest):
            # Two names may have the same bytes; links cost no room and keep what a rerun needs.
            (whole / entry.name).hardlink_to(aside / "objects" / entry.sha256)
        create_file(whole / MANIFEST_NAME, data, mode=0o444)
    for _ in verify_snapshot(whole):
        pass
    with disk_failures(out):
        whole.rename(out)
        sync_folder(out.absolute().parent)
        shutil.rmtree(aside)
    if json:
        told = {"snapshot_id": snapshot_id, "brand": brand, "out": str(out), "bytes": n_bytes}
        print(json_text(told))
    else:
        print(f"{snapshot_id} of {brand} is at {out}: {n_bytes:,} bytes fetched")
