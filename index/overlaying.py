"""Laying an overlay over an open snapshot: which records of its offers are shown changed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Raw

from index.generation import DAMAGE, Generation, Reader
from index.not_json import NOT_JSON
from index.overlay import Overlay
from index.patches import NO_PATCHES, Patches
from index.records import OfferRecord

_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])


def lay_over(generation: Generation, overlay: Overlay | None, now: datetime) -> Patches:
    """Compile an overlay for an open snapshot and let the decisions that begin from now on use it.

    An offer the snapshot does not know is counted, and no error: it may come with the next one. An
    id that is no item's is looked for among all offers, once for each snapshot, which takes a
    fraction of a second where there are many; so a thread of its own may do this, one at a time.

    Args:
        generation: the open snapshot.
        overlay: None takes back what was laid over it.
        now: entries whose time is over by then are left out; with a time zone.

    Raises:
        RuntimeError: the generation was closed.
    """
    generation.patches = NO_PATCHES if overlay is None else _compiled(generation, overlay, now)
    return generation.patches


def _compiled(generation: Generation, overlay: Overlay, now: datetime) -> Patches:
    removed_ids = {*_holding(overlay.kills, now), *_holding(overlay.stock_outs, now)}
    prices = _holding(overlay.prices, now)
    named = removed_ids | prices.keys()
    records: dict[int, OfferRecord] = {}
    removed, repriced = set(), set()
    # Kept in memory, and shown from there: patched whatever has happened to the files.
    safe = {offer.offer_row: offer for offer in generation.safe_offers}
    with generation.reading() as reader:
        rows = _rows_of(generation, reader, named)
        for offer_id, row in rows.items():
            record = safe.get(row) or _stored(reader, row)
            if record is None:
                continue
            if offer_id in removed_ids:
                records[row] = record._replace(flags=0)
                removed.add(row)
            else:
                with suppress(*NOT_JSON):
                    fragment = _repriced(record.fragment, prices[offer_id].price)
                    records[row] = record._replace(fragment=fragment)
                    repriced.add(row)
    return Patches(
        sequence=overlay.sequence,
        records=records,
        removed=frozenset(removed),
        repriced=frozenset(repriced),
        n_unknown=len(named) - len(records),
    )


def _holding(entries: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        offer_id: entry
        for offer_id, entry in entries.items()
        if entry.until is None or now < entry.until
    }


def _rows_of(generation: Generation, reader: Reader, named: set[str]) -> dict[str, int]:
    """Rows of the offers with these ids, of those that are known."""
    known = generation.offer_rows
    unseen = {offer_id for offer_id in named if offer_id not in known}
    for offer in generation.safe_offers:
        if offer.offer_id in unseen:
            known[offer.offer_id] = offer.offer_row
    for offer_id in unseen - known.keys():
        if (row := _row_by_item(reader, offer_id)) is not None:
            known[offer_id] = row
    if left := unseen - known.keys():
        try:
            known |= dict.fromkeys(left) | reader.find_offers(left)
        except DAMAGE:
            reader.renew()
    return {offer_id: row for offer_id in named if (row := known.get(offer_id)) is not None}


def _row_by_item(reader: Reader, offer_id: str) -> int | None:
    """The offer that is the item of the same name, as in shops whose items are their offers."""
    try:
        item = reader.item(offer_id)
        for row in () if item is None else item.own_offers:
            offer = reader.stored_offer(row)
            if offer is not None and offer.offer_id == offer_id:
                return row
    except DAMAGE:
        reader.renew()
    return None


def _stored(reader: Reader, row: int) -> OfferRecord | None:
    try:
        return reader.stored_offer(row)
    except DAMAGE:
        # What can't be read can't be shown either.
        reader.renew()
        return None


def _repriced(fragment: bytes, price: float) -> bytes:
    """The fragment with another price; every other member stays byte for byte."""
    members = _MEMBERS.decode(b"{%b}" % fragment)
    members["price"] = Raw(msgspec.json.encode(price))
    return msgspec.json.encode(members)[1:-1]
