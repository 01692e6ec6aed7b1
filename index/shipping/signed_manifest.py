"""A published manifest: the bytes of `manifest.json`, signed by the builder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from index.layout import FORMAT_NAME
from index.manifest import MAX_MANIFEST_BYTES
from index.not_json import NOT_JSON
from index.shipping.channel import Target
from index.shipping.documents import MANIFEST, Name, seal_document, unseal_document
from index.shipping.root import Root, require_role
from index.shipping.signing import SigningKey
from index.shipping.trust_errors import TooLarge, WrongManifest


class _Head(Struct):
    format: str
    snapshot_id: Name
    brand: Name


_HEAD: Final = msgspec.json.Decoder(_Head)


def target_of(manifest: bytes) -> Target:
    """What a channel says to point at the snapshot with these bytes of `manifest.json`.

    Raises:
        WrongManifest: they are no manifest.
    """
    return Target(
        snapshot_id=_head(manifest).snapshot_id,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        manifest_bytes=len(manifest),
    )


def seal_manifest(manifest: bytes, keys: Iterable[SigningKey]) -> bytes:
    """Sign the exact bytes of `manifest.json` with keys of the role `builder`.

    Raises:
        TooLarge: more than 16 MiB. WrongManifest: no manifest.
    """
    _head(manifest)
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise TooLarge(f"the manifest has {len(manifest)} bytes, at most {MAX_MANIFEST_BYTES}")
    return seal_document(MANIFEST, manifest, keys)


def open_manifest(data: bytes, root: Root | None, *, brand: str, target: Target) -> bytes:
    """Check a published manifest against the root and the channel's target.

    Args:
        data: the envelope.
        root: whose builder keys count; None trusts anyone, and only the target's digest binds.
        brand: whose snapshot it must be.
        target: what the channel points at.

    Returns:
        The bytes of `manifest.json`; `index.manifest` checks what they say about files.

    Raises:
        TooLarge, NotAnEnvelope: no published manifest.
        UnknownKey, WrongRole, BadSignature, TooFewSignatures: nobody we trust vouches for it.
        WrongManifest: another snapshot, brand or content than the target's.
    """
    sealed = unseal_document(MANIFEST, data)
    if root is not None:
        require_role(MANIFEST, sealed, root)
    manifest = sealed.payload
    found = hashlib.sha256(manifest).hexdigest()
    head = _head(manifest)
    for what, expected, got in (
        ("brand", brand, head.brand),
        ("snapshot", target.snapshot_id, head.snapshot_id),
        ("size", target.manifest_bytes, len(manifest)),
        ("sha256", target.manifest_sha256, found),
    ):
        if got != expected:
            raise WrongManifest(
                f"{what} of the manifest is {str(got)[:80]}, the channel's target has {expected}",
                hint="the mirror mixes snapshots: fetch it again from another origin",
            )
    return manifest


def _head(manifest: bytes) -> _Head:
    try:
        head = _HEAD.decode(manifest)
    except NOT_JSON as problem:
        raise WrongManifest(
            f"these bytes are no manifest that can be shipped: {problem}",
            hint="brand and snapshot_id are names of up to 100 letters, digits, '.', '_' and '-'",
        ) from problem
    if head.format != FORMAT_NAME:
        raise WrongManifest(f"these bytes are no {FORMAT_NAME} manifest")
    return head
