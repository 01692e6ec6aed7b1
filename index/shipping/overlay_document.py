"""The overlay as a signed document: `index.overlay` says what is in it, this who may say so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from index.overlay import OVERLAY_FORMAT, Overlay
from index.shipping.documents import OVERLAY, decode_payload, seal_document
from index.shipping.signing import Sealed, SigningKey
from index.shipping.trust_errors import NotADocument, WrongChannel

_DECODER: Final = msgspec.json.Decoder(Overlay)


def encode_overlay(overlay: Overlay) -> bytes:
    """The payload that is signed."""
    return msgspec.json.encode(overlay, order="deterministic")


def decode_overlay(sealed: Sealed, brand: str, channel: str) -> Overlay:
    """Read an overlay whose signatures were checked.

    Raises:
        NotADocument: another format version, or not what the format says.
        WrongChannel: another brand's or channel's overlay.
    """
    overlay = decode_payload(OVERLAY, sealed.payload, _DECODER, OVERLAY_FORMAT)
    if overlay.expires_at <= overlay.issued_at:
        raise NotADocument(f"overlay {overlay.sequence} ends before it begins")
    if (overlay.brand, overlay.channel) != (brand, channel):
        raise WrongChannel(
            f"the overlay is of {overlay.brand}/{overlay.channel}, wanted {brand}/{channel}",
            hint="the mirror serves one overlay under the name of another",
        )
    return overlay


def seal_overlay(overlay: Overlay, keys: Iterable[SigningKey]) -> bytes:
    """Sign an overlay with keys of the role `overlay`.

    Raises:
        TooLarge: more offers than one overlay names (some thousand).
    """
    return seal_document(OVERLAY, encode_overlay(overlay), keys)
