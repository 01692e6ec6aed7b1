"""The overlay: what may not wait for the next snapshot.

It can take offers away (killed, out of stock) and give them another price; it can add nothing and
reorder nothing. Who may say so is decided in `index.shipping.overlay_document`; here its signatures
were checked. `index.overlaying` lays it over an open snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from index.errors import Corrupt
from index.layout import STORE_NAME
from index.not_json import NOT_JSON

OVERLAY_FORMAT: Final = "almanac-overlay/1"
MAX_PRICE: Final = 1e12

OfferId = Annotated[str, Meta(min_length=1, max_length=512)]
Moment = Annotated[datetime, Meta(tz=True)]
Reason = Annotated[str, Meta(max_length=500, pattern=r"\S")]
Name = Annotated[str, Meta(pattern=STORE_NAME)]


class Removal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why an offer is not shown.

    Attributes:
        reason: in a person's words.
        since: when it was said.
        until: from this moment on it no longer holds; None for until it is cleared.
    """

    reason: Reason
    since: Moment
    until: Moment | None = None


class NewPrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an offer costs now.

    Attributes:
        price: of one, in the brand's currency, as `price` in answers.
        reason: in a person's words.
        since: when it was said.
        until: from this moment on it no longer holds; None for until it is cleared.
    """

    price: Annotated[float, Meta(ge=0, le=MAX_PRICE)]
    reason: Reason
    since: Moment
    until: Moment | None = None


class Overlay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Payload of `overlays/<brand>/<channel>.json`.

    Attributes:
        format: always `almanac-overlay/1`.
        brand: whose overlay.
        channel: whose nodes lay it over what they serve.
        sequence: rises with every change, also when everything is cleared.
        issued_at: when it was made.
        expires_at: after this moment it is stale: applied still, and told.
        kills: offers that must not be shown, by offer id.
        stock_outs: offers that cannot be had now.
        prices: offers that cost something else.
        root_version: the root its signers knew.
    """

    format: str = OVERLAY_FORMAT
    brand: Name
    channel: Name
    sequence: Annotated[int, Meta(ge=1, lt=1 << 53)]
    issued_at: Moment
    expires_at: Moment
    kills: dict[OfferId, Removal] = field(default_factory=dict)
    stock_outs: dict[OfferId, Removal] = field(default_factory=dict)
    prices: dict[OfferId, NewPrice] = field(default_factory=dict)
    root_version: Annotated[int, Meta(ge=1, lt=1 << 53)]

    def ends(self) -> Iterator[datetime]:
        """The moments at which one of its entries ceases to hold."""
        for entries in (self.kills, self.stock_outs, self.prices):
            for entry in entries.values():
                if entry.until is not None:
                    yield entry.until


_OVERLAY: Final = msgspec.json.Decoder(Overlay)


def read_overlay(payload: bytes) -> Overlay:
    """The overlay in a payload whose signatures were checked before.

    Raises:
        Corrupt: it is none.
    """
    try:
        return _OVERLAY.decode(payload)
    except NOT_JSON as problem:
        raise Corrupt(f"the overlay makes no sense: {problem}") from problem
