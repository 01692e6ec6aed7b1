"""Commands that change or tell the overlay of a channel's nodes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter, Token

from index.json_text import json_text
from index.overlay import Overlay
from index.shipping import overlay_changes as changes
from index.shipping.channel_changes import Stamp
from index.shipping.channel_flags import (
    USUAL,
    Manner,
    Place,
    in_utc,
    keys_to_change,
    stamped,
    vouched,
)
from index.shipping.channel_told import moment_text
from index.shipping.documents import OVERLAY, moment_now
from index.shipping.names import channel_key, overlay_key
from index.shipping.overlay_store import OverlayInForce, read_overlay_in_force, write_overlay
from index.shipping.plain_words import plain
from index.shipping.root import Root
from index.shipping.root_store import publish_roots
from index.shipping.signers import NOBODY, Signers
from index.shipping.signing import SigningKey
from index.shipping.store import Store, open_store
from index.shipping.store_errors import NotInStore
from index.shipping.trust_errors import ChannelRefused

_SPAN: Final = re.compile(r"([1-9]\d*)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _span(_: Any, tokens: Sequence[Token]) -> timedelta:
    match = _SPAN.fullmatch(tokens[0].value)
    if match is None:
        raise ValueError(f"{tokens[0].value!r} is no time: write 90s, 30m, 2h or 7d")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as problem:
        raise ValueError(
            f"{tokens[0].value!r} is too long: leave it out, and it holds until it is cleared"
        ) from problem


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why, and for how long.

    Args:
        reason: why; everybody who looks at the overlay reads it.
        lasting: how long it holds, such as 90s, 30m, 2h or 7d; until it is cleared by default.
        until: when it ends instead, such as 2027-01-31T12:00:00; UTC unless it has an offset.
    """

    reason: str
    lasting: Annotated[timedelta | None, Parameter(name="--for", converter=_span)] = None
    until: datetime | None = None

    def end(self, now: datetime) -> datetime | None:
        """When it ends; None for never.

        Raises:
            ChannelRefused: both ways to say it were used, or there is no such moment.
        """
        if self.lasting is not None and self.until is not None:
            raise ChannelRefused("say either --for or --until")
        if self.lasting is not None:
            try:
                return now + self.lasting
            except OverflowError as problem:
                raise ChannelRefused(
                    "--for ends after the year 9999", hint="leave it out: it holds until cleared"
                ) from problem
        return None if self.until is None else in_utc(self.until)


def kill(
    *offers: str,
    place: Place,
    why: Why,
    signers: Signers = NOBODY,
    manner: Manner = USUAL,
) -> None:
    """Let nobody be shown these offers, within seconds and whatever snapshot is served.

        almanac overlay kill spring-10 spring-20 --brand shop --reason "wrong terms"

    Ends with exit code 6 when somebody else changed the overlay meanwhile.

    Args:
        offers: ids of offers.
        place: see there.
        why: see there.
        signers: see there.
        manner: see there.
    """
    _change(
        place,
        signers,
        manner,
        lambda now, stamp, where: changes.kill(
            now, offers, reason=why.reason, until=why.end(stamp.now), stamp=stamp, place=where
        ),
    )


def stock_out(
    *offers: str,
    place: Place,
    why: Why,
    signers: Signers = NOBODY,
    manner: Manner = USUAL,
) -> None:
    """Say that these offers cannot be had now; they are not shown until that ends.

        almanac overlay stock-out 82412 --brand shop --reason "sold out" --for 6h

    Args:
        offers: ids of offers.
        place: see there.
        why: see there.
        signers: see there.
        manner: see there.
    """
    _change(
        place,
        signers,
        manner,
        lambda now, stamp, where: changes.stock_out(
            now, offers, reason=why.reason, until=why.end(stamp.now), stamp=stamp, place=where
        ),
    )


def price(
    *offers: str,
    place: Place,
    why: Why,
    signers: Signers = NOBODY,
    manner: Manner = USUAL,
) -> None:
    """Give offers another price in answers; their order stays.

        almanac overlay price 82412=1.99 --brand shop --reason "price cut"

    Args:
        offers: OFFER=AMOUNT, in the brand's currency.
        place: see there.
        why: see there.
        signers: see there.
        manner: see there.
    """
    prices: dict[str, float] = {}
    for offer_id, amount in map(_price, offers):
        if prices.setdefault(offer_id, amount) != amount:
            raise ChannelRefused(
                f"{offer_id!r} is given two prices: {prices[offer_id]:g} and {amount:g}",
                hint="leave one of them out",
            )
    _change(
        place,
        signers,
        manner,
        lambda now, stamp, where: changes.price(
            now, prices, reason=why.reason, until=why.end(stamp.now), stamp=stamp, place=where
        ),
    )


def clear(*offers: str, place: Place, signers: Signers = NOBODY, manner: Manner = USUAL) -> None:
    """Take back what the overlay says of these offers; all it says when none is named.

    Args:
        offers: ids of offers.
        place: see there.
        signers: see there.
        manner: see there.
    """
    _change(
        place,
        signers,
        manner,
        lambda now, stamp, where: changes.clear(_there(now, where), offers, stamp=stamp),
    )


def renew(place: Place, signers: Signers = NOBODY, *, manner: Manner = USUAL) -> None:
    """Say the same again with a later end, and under the newest root.

    Args:
        place: see there.
        signers: see there.
        manner: see there.
    """
    _change(
        place,
        signers,
        manner,
        lambda now, stamp, where: changes.renew(_there(now, where), stamp=stamp),
        takes_replaced=True,
    )


def show(
    place: Place,
    signers: Signers = NOBODY,
    *,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Tell what the overlay says.

    Ends with exit code 4 when there never was one, and 3 when nobody trusted signed it.

    Args:
        place: see there.
        signers: see there.
        json: print one JSON object instead of lines.
    """
    store, roots = open_store(place.store), signers.chain()
    found = read_overlay_in_force(store, place.brand, place.channel, roots)
    if found is None:
        raise NotInStore(
            f"{place.brand}/{place.channel} has no overlay",
            where=f"{store.name}/{overlay_key(place.brand, place.channel)}",
            hint="it begins with the first change: almanac overlay kill OFFER --reason …",
        )
    if json:
        told = _as_object(found.overlay, moment_now())
        print(json_text({**told, "signed_under": found.signed_under}))
    else:
        _tell(found.overlay, found.signed_under, roots)


def _price(said: str) -> tuple[str, float]:
    offer_id, _, amount = said.rpartition("=")
    try:
        return offer_id, float(amount)
    except ValueError as problem:
        raise ChannelRefused(f"{said!r} is no price", hint="write OFFER=AMOUNT") from problem


def _there(overlay: Overlay | None, place: tuple[str, str]) -> Overlay:
    if overlay is None:
        raise ChannelRefused(f"{'/'.join(place)} has no overlay", hint="there is nothing to change")
    return overlay


def _change(
    place: Place,
    signers: Signers,
    manner: Manner,
    make: Callable[[Overlay | None, Stamp, tuple[str, str]], Overlay],
    *,
    takes_replaced: bool = False,
) -> None:
    store, roots = open_store(place.store), signers.chain()
    before = read_overlay_in_force(store, place.brand, place.channel, roots)
    keys = keys_to_change(OVERLAY, before, signers, roots, takes_replaced=takes_replaced)
    after = make(
        None if before is None else before.overlay,
        stamped(roots, manner),
        (place.brand, place.channel),
    )
    if before is None and store.head(channel_key(place.brand, place.channel)) is None:
        print(
            f"note: {place.brand} has no channel {place.channel} in the store, so no node reads"
            " this: is it the one you mean?",
            file=sys.stderr,
        )
    _carry_out(store, before, after, signers, keys, manner)


def _carry_out(  # noqa: PLR0917  # a change, and who makes it how
    store: Store,
    before: OverlayInForce | None,
    after: Overlay,
    signers: Signers,
    keys: Sequence[SigningKey],
    manner: Manner,
) -> None:
    if not manner.dry_run:
        publish_roots(store, signers.envelopes())
        write_overlay(store, before, after, keys)
    if manner.json:
        told = _as_object(after, moment_now())
        print(json_text({"changed": not manner.dry_run, "overlay": told}))
        return
    print("would be:" if manner.dry_run else "done:")
    _tell(after, after.root_version, signers.chain())


def _as_object(overlay: Overlay, now: datetime) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(overlay)
    return {**told, "stale": overlay.expires_at <= now}


def _tell(overlay: Overlay, signed_under: int | None, roots: Sequence[Root] | None) -> None:
    for line in _lines(overlay, moment_now(), vouched(signed_under, roots)):
        print(plain(line))


def _lines(overlay: Overlay, now: datetime, by: str) -> Iterator[str]:
    stale = overlay.expires_at <= now
    yield f"{overlay.brand}/{overlay.channel}, overlay {overlay.sequence}, {by}"
    yield (
        f"  issued    {moment_text(overlay.issued_at)},"
        f" {'STALE since' if stale else 'fresh until'} {moment_text(overlay.expires_at)}"
    )
    for word, entries in (("kill", overlay.kills), ("stock-out", overlay.stock_outs)):
        for offer_id, entry in sorted(entries.items()):
            yield f"  {word:<9} {offer_id}{_end(entry.until, now)}: {entry.reason}"
    for offer_id, price in sorted(overlay.prices.items()):
        yield f"  price     {offer_id} = {price.price:g}{_end(price.until, now)}: {price.reason}"


def _end(until: datetime | None, now: datetime) -> str:
    if until is None:
        return ""
    return f" until {moment_text(until)}{', over' if until <= now else ''}"
