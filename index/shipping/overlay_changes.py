"""Changes of an overlay: each takes the one in force and gives the next one.

Nothing is signed or sent here. Every change raises the sequence by one and drops entries whose time
is over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from index.overlay import MAX_PRICE, NewPrice, Overlay, Removal
from index.shipping.channel_changes import Stamp, require_text, require_words
from index.shipping.trust_errors import ChannelRefused

_Entry = TypeVar("_Entry", Removal, NewPrice)


def kill(
    before: Overlay | None,
    offer_ids: Collection[str],
    *,
    reason: str,
    until: datetime | None,
    stamp: Stamp,
    place: tuple[str, str],
) -> Overlay:
    """Let nobody be shown these offers.

    Args:
        before: the overlay in force; None when there never was one.
        offer_ids: which; the snapshot need not know them.
        reason: why.
        until: from when on they may be shown again; None for until they are cleared.
        stamp: when the change is made, and under which root.
        place: brand and channel.

    Raises:
        ChannelRefused: no offer or no reason is given, or the end has passed.
    """
    entries = _removals(offer_ids, reason, until, stamp)
    known = before.kills if before else {}
    return _next(before, stamp, place, kills={**known, **entries})


def stock_out(
    before: Overlay | None,
    offer_ids: Collection[str],
    *,
    reason: str,
    until: datetime | None,
    stamp: Stamp,
    place: tuple[str, str],
) -> Overlay:
    """Say that these offers cannot be had now; otherwise as `kill`.

    Raises:
        ChannelRefused: as `kill`.
    """
    entries = _removals(offer_ids, reason, until, stamp)
    known = before.stock_outs if before else {}
    return _next(before, stamp, place, stock_outs={**known, **entries})


def price(
    before: Overlay | None,
    prices: Mapping[str, float],
    *,
    reason: str,
    until: datetime | None,
    stamp: Stamp,
    place: tuple[str, str],
) -> Overlay:
    """Give offers (by id) another price, in the brand's currency; otherwise as `kill`.

    Raises:
        ChannelRefused: as `kill`; or a price below 0, above 1e12, or no number.
    """
    _check(prices, reason, until, stamp)
    for offer_id, amount in prices.items():
        if not 0 <= amount <= MAX_PRICE:
            raise ChannelRefused(
                f"{amount:g} is no price for {offer_id!r}",
                hint=f"a price is a number from 0 to {MAX_PRICE:g}, in the brand's currency",
            )
    entries = {
        offer_id: NewPrice(price=amount, reason=reason, since=stamp.now, until=until)
        for offer_id, amount in prices.items()
    }
    known = before.prices if before else {}
    return _next(before, stamp, place, prices={**known, **entries})


def clear(before: Overlay, offer_ids: Collection[str], *, stamp: Stamp) -> Overlay:
    """Take back all that is said of these offers; of every offer when none is named.

    Raises:
        ChannelRefused: nothing is said of one of them.
    """
    parts: dict[str, dict[str, Any]]
    parts = {"kills": before.kills, "stock_outs": before.stock_outs, "prices": before.prices}
    known = {offer_id for entries in parts.values() for offer_id in entries}
    for offer_id in offer_ids:
        if offer_id not in known:
            raise ChannelRefused(
                f"the overlay says nothing of {offer_id!r}",
                hint="`almanac overlay show` lists what it says",
            )
    gone = set(offer_ids) or known
    kept = {
        name: {offer_id: entry for offer_id, entry in entries.items() if offer_id not in gone}
        for name, entries in parts.items()
    }
    return _next(before, stamp, (before.brand, before.channel), **kept)


def renew(before: Overlay, *, stamp: Stamp) -> Overlay:
    """Say the same again with a later end, so that it is not stale."""
    return _next(before, stamp, (before.brand, before.channel))


def _removals(
    offer_ids: Collection[str], reason: str, until: datetime | None, stamp: Stamp
) -> dict[str, Removal]:
    _check(offer_ids, reason, until, stamp)
    entry = Removal(reason=reason, since=stamp.now, until=until)
    return dict.fromkeys(offer_ids, entry)


def _check(offers: Collection[str], reason: str, until: datetime | None, stamp: Stamp) -> None:
    require_words(reason=reason)
    if not offers:
        raise ChannelRefused("no offer is named")
    for offer in offers:
        require_text(offer=offer)
    if until is not None and until <= stamp.now:
        raise ChannelRefused("the change would be over before it begins", hint="give a later end")


def _next(
    before: Overlay | None, stamp: Stamp, place: tuple[str, str], **changes: dict[str, Any]
) -> Overlay:
    brand, channel = place
    if before is not None and stamp.root_version < before.root_version:
        raise ChannelRefused(
            f"made under root {stamp.root_version}, the overlay knows root {before.root_version}",
            hint="fetch the newest root first",
        )
    held: dict[str, Any] = {
        name: changes.get(name, getattr(before, name) if before else {})
        for name in ("kills", "stock_outs", "prices")
    }
    after = Overlay(
        brand=brand,
        channel=channel,
        sequence=before.sequence + 1 if before else 1,
        issued_at=stamp.now,
        expires_at=stamp.expires_at,
        root_version=stamp.root_version,
        kills=_living(held["kills"], stamp),
        stock_outs=_living(held["stock_outs"], stamp),
        prices=_living(held["prices"], stamp),
    )
    try:
        # What is built in memory is not checked otherwise.
        return msgspec.convert(msgspec.to_builtins(after), Overlay)
    except msgspec.ValidationError as problem:
        raise ChannelRefused(f"the change makes no overlay: {problem}") from problem


def _living(entries: dict[str, _Entry], stamp: Stamp) -> dict[str, _Entry]:
    return {
        offer_id: entry
        for offer_id, entry in entries.items()
        if entry.until is None or stamp.now < entry.until
    }
