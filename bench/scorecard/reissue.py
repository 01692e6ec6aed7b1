"""Another snapshot from the tables of one: what a peak trial swaps in when no other is at hand.

It has the same tables under a model that takes one more offer from a vector search, so it is a
snapshot of its own, with its own id, golden decisions and seal, and costs no second build.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec

from index.decide import decide_for_key
from index.layout import MANIFEST_NAME, MODEL_NAME
from index.manifest import (
    FileEntry,
    Golden,
    Manifest,
    encode_manifest,
    file_digest,
    model_id,
    read_manifest,
)
from index.model import pack_model
from index.snapshot import open_snapshot


def reissue(snapshot_dir: Path, out_dir: Path) -> Manifest:
    """Write another snapshot of the same tables.

    Args:
        snapshot_dir: the one there is.
        out_dir: the directory to make.

    Returns:
        Its manifest.
    """
    shutil.copytree(snapshot_dir, out_dir, copy_function=shutil.copyfile)
    with open_snapshot(snapshot_dir) as generation:
        model = replace(generation.model, similar_top=generation.model.similar_top + 1)
    path = out_dir / MODEL_NAME
    path.write_bytes(pack_model(model))
    before = read_manifest(snapshot_dir)
    entry = FileEntry(name=MODEL_NAME, size=path.stat().st_size, sha256=file_digest(path))
    files = [entry if one.name == MODEL_NAME else one for one in before.files]
    identity = model_id(files)
    moment = before.snapshot_id.partition("-")[0]
    manifest = msgspec.structs.replace(
        before,
        snapshot_id=f"{moment}-{identity[:12]}",
        model_id=identity,
        files=files,
        golden=[],
    )
    (out_dir / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    with open_snapshot(out_dir) as generation:
        golden = []
        for one in before.golden:
            key = None if one.key is None else bytes.fromhex(one.key)
            decision = decide_for_key(generation, one.request, key)
            golden.append(
                Golden(
                    key=one.key,
                    request=one.request,
                    tier=decision.tier,
                    offer_rows=[offer.offer_row for offer in decision.offers],
                    scores=[round(offer.score, 5) for offer in decision.offers],
                )
            )
    manifest = msgspec.structs.replace(manifest, golden=golden)
    (out_dir / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    return manifest
