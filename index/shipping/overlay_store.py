"""Overlays in a store: read, checked, and changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from index.overlay import Overlay
from index.shipping.documents import OVERLAY, document_at, unseal_document
from index.shipping.names import overlay_key
from index.shipping.overlay_document import decode_overlay, seal_overlay
from index.shipping.probe import probe_conditional
from index.shipping.root import Root, vouching_root
from index.shipping.signing import SigningKey
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore

_REMEDY: Final = (
    "bring it back from a copy of the store; without one delete it, replace the overlay key, since"
    " nodes have seen higher sequences, and say again what must not be shown"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayInForce:
    """An overlay as the store has it.

    Attributes:
        overlay: what it says.
        token: to replace exactly this one with.
        signed_under: version of the newest root whose overlay keys vouch for it; None when anyone
            is trusted.
        is_signed: whether anybody signed it.
    """

    overlay: Overlay
    token: str
    signed_under: int | None
    is_signed: bool


def read_overlay_in_force(
    store: Store, brand: str, channel: str, roots: Sequence[Root] | None
) -> OverlayInForce | None:
    """The overlay in force; None when there never was one.

    Args:
        store: where it is.
        brand: whose overlay.
        channel: whose nodes.
        roots: a chain, the newest last, whose overlay keys count. None trusts anyone.

    Raises:
        TrustError: it is not what an overlay key of any root signed for this channel.
        StoreError: whatever the store has against it.
    """
    key = overlay_key(brand, channel)
    try:
        blob = store.read(key, limit=OVERLAY.max_bytes)
    except NotInStore:
        return None
    with document_at(key, _REMEDY):
        sealed = unseal_document(OVERLAY, blob.data)
        signed_under = None if roots is None else vouching_root(OVERLAY, sealed, roots).version
        overlay = decode_overlay(sealed, brand, channel)
    return OverlayInForce(
        overlay=overlay,
        token=blob.token,
        signed_under=signed_under,
        is_signed=bool(sealed.signed_by),
    )


def write_overlay(
    store: Store, before: OverlayInForce | None, after: Overlay, keys: Iterable[SigningKey]
) -> None:
    """Put a changed overlay in place of the one it was made from.

    Raises:
        NoConditions: the store ignores conditions, and would lose changes.
        Overtaken: somebody else changed it meanwhile; nothing was written.
        TooLarge: it names more offers than one overlay may.
        StoreError: whatever the store has against it.
    """
    envelope = seal_overlay(after, keys)
    probe_conditional(store)
    store.replace(
        overlay_key(after.brand, after.channel),
        envelope,
        expected=None if before is None else before.token,
    )
