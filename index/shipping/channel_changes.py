"""Changes of a channel: each takes the document in force and gives the next one.

Nothing is signed or sent here. Every change raises the epoch by one, drops pins whose time is
over, and refuses what makes no sense, so that a typing error never reaches a fleet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from index.shipping.channel import MAX_WORDS, Channel, Pin, Revoked, Rollout, Target, encode_channel
from index.shipping.documents import CHANNEL
from index.shipping.plain_words import plain
from index.shipping.trust_errors import ChannelRefused

_MAX_PAYLOAD: Final = CHANNEL.max_bytes * 3 // 4 - 1024
"""In base64 and with a handful of signatures it is as long as a channel may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When a document is made, and under which root.

    Attributes:
        now: the moment of the change; with a time zone.
        expires_at: after this moment nodes stop updating.
        root_version: the newest root the signers know.
    """

    now: datetime
    expires_at: datetime
    root_version: int


def start_channel(
    brand: str, channel: str, target: Target, *, percent: int, stamp: Stamp
) -> Channel:
    """The first document of a channel: nothing good is known yet, so only the ring wants anything.

    Raises:
        ChannelRefused: a name that cannot be one, a percentage outside 0 to 100.
    """
    begun = Channel(
        brand=brand,
        channel=channel,
        epoch=1,
        issued_at=stamp.now,
        expires_at=stamp.expires_at,
        target=target,
        last_good=None,
        rollout=Rollout(percent=percent, salt=target.snapshot_id),
        root_version=stamp.root_version,
    )
    return _checked(begun)


def announce(channel: Channel, target: Target, *, percent: int, stamp: Stamp) -> Channel:
    """Roll out another snapshot, beginning with this share of the nodes.

    The last good one stays what it was. The salt is the snapshot's id, so that it is not the
    same nodes that go first every time.

    Raises:
        ChannelRefused: revoked, or rolled out already; or the channel is paused.
    """
    _refuse_revoked(channel, target)
    _refuse_paused(channel)
    if target == channel.target:
        raise ChannelRefused(
            f"{target.snapshot_id} is the target already", hint="promote it to more nodes"
        )
    for known in (channel.target, channel.last_good):
        if known and known != target and known.snapshot_id == target.snapshot_id:
            raise ChannelRefused(
                f"{target.snapshot_id} is known with another manifest",
                hint="a snapshot never changes: build anew and announce that",
            )
    rollout = Rollout(percent=percent, salt=target.snapshot_id)
    return _next(channel, stamp, target=target, rollout=rollout)


def promote(channel: Channel, percent: int, *, stamp: Stamp) -> Channel:
    """Let more nodes want the target.

    Raises:
        ChannelRefused: not more than now, above 100; or paused, or there is no target.
    """
    _required_target(channel)
    _refuse_paused(channel)
    if percent <= channel.rollout.percent:
        raise ChannelRefused(
            f"the target is at {channel.rollout.percent} % already, {percent} % is not more",
            hint="to take it from nodes that have it, roll back",
        )
    return _next(channel, stamp, rollout=_altered(channel.rollout, percent=percent))


def pause(channel: Channel, reason: str, *, stamp: Stamp) -> Channel:
    """Keep the rollout where it is until somebody resumes it or rolls back.

    Raises:
        ChannelRefused: paused already, or no reason is given.
    """
    _refuse_paused(channel)
    require_words(reason=reason)
    return _next(channel, stamp, rollout=_altered(channel.rollout, paused=True, reason=reason))


def resume(channel: Channel, *, stamp: Stamp) -> Channel:
    """Let the rollout go on.

    Raises:
        ChannelRefused: it is not paused.
    """
    if not channel.rollout.paused:
        raise ChannelRefused("the rollout is not paused")
    return _next(channel, stamp, rollout=_altered(channel.rollout, paused=False, reason=""))


def pin(channel: Channel, wish: Pin, *, stamp: Stamp) -> Channel:
    """Let one node, or every node, serve one snapshot until a given moment.

    Raises:
        ChannelRefused: revoked; pinned already; without owner or reason; over before it begins.
    """
    _refuse_revoked(channel, wish.target)
    require_words(owner=wish.owner, reason=wish.reason)
    if wish.until.tzinfo is None:
        raise ChannelRefused(
            f"the end of the pin of {wish.node} has no time zone", hint="add one, such as Z"
        )
    if wish.until <= stamp.now:
        raise ChannelRefused(
            f"the pin of {wish.node} would be over before it begins", hint="give a later end"
        )
    kept = _living_pins(channel, stamp)
    if any(pin.node == wish.node for pin in kept):
        raise ChannelRefused(f"{wish.node} is pinned already", hint="unpin it first")
    return _next(channel, stamp, pins=[*kept, wish])


def unpin(channel: Channel, node: str, *, stamp: Stamp) -> Channel:
    """End a pin before its time.

    Raises:
        ChannelRefused: no such pin.
    """
    kept = [pin for pin in channel.pins if pin.node != node]
    if len(kept) == len(channel.pins):
        raise ChannelRefused(
            f"{node} is not pinned",
            hint=f"pinned are: {', '.join(pin.node for pin in channel.pins) or 'none'}",
        )
    return _next(channel, stamp, pins=kept)


def rollback(channel: Channel, reason: str, *, stamp: Stamp) -> Channel:
    """Go back to the last good snapshot on every node at once; never simply to the one before.

    Raises:
        ChannelRefused: no good one is known, it is the target already, or no reason is given.
    """
    require_words(reason=reason)
    if channel.last_good is None:
        raise ChannelRefused(
            "no good snapshot is known to go back to",
            hint="revoke the target, or announce one that is known to be good",
        )
    if channel.last_good == channel.target:
        raise ChannelRefused(f"{channel.last_good.snapshot_id} is the target already")
    return _next(channel, stamp, **_back_to(channel.last_good, channel, reason))


def revoke(channel: Channel, snapshot_id: str, reason: str, *, stamp: Stamp) -> Channel:
    """Forbid a snapshot for good: pins to it end, and a revoked target goes back to the last good.

    Without a good one there is no target any more, and nodes keep what is not revoked.

    Raises:
        ChannelRefused: revoked already, or no reason is given.
    """
    require_words(reason=reason)
    if channel.is_revoked(snapshot_id):
        raise ChannelRefused(f"{snapshot_id} is revoked already")
    last_good = channel.last_good
    changes: dict[str, Any] = {
        "revoked": [
            *channel.revoked,
            Revoked(snapshot_id=snapshot_id, reason=reason, at=stamp.now),
        ],
        "pins": [pin for pin in channel.pins if pin.target.snapshot_id != snapshot_id],
    }
    if last_good and last_good.snapshot_id == snapshot_id:
        last_good = changes["last_good"] = None
    if channel.target and channel.target.snapshot_id == snapshot_id:
        changes |= _back_to(last_good, channel, reason)
    return _next(channel, stamp, **changes)


def confirm(channel: Channel, *, stamp: Stamp) -> Channel:
    """Call the target good: what later changes go back to.

    Raises:
        ChannelRefused: not on every node yet, paused, good already, or there is no target.
    """
    target = _required_target(channel)
    _refuse_paused(channel)
    if target == channel.last_good:
        raise ChannelRefused(f"{target.snapshot_id} is the last good one already")
    if channel.rollout.percent < 100:
        raise ChannelRefused(
            f"the target is at {channel.rollout.percent} %: not proven on every node",
            hint="promote it to 100 % first",
        )
    return _next(channel, stamp, last_good=target)


def renew(channel: Channel, *, stamp: Stamp) -> Channel:
    """Say the same again with a later end, so that nodes know that nobody froze the channel."""
    return _next(channel, stamp)


def _next(channel: Channel, stamp: Stamp, **changes: Any) -> Channel:
    merged = {
        "epoch": channel.epoch + 1,
        "issued_at": stamp.now,
        "expires_at": stamp.expires_at,
        "root_version": stamp.root_version,
        "pins": changes.pop("pins", channel.pins),
        **changes,
    }
    merged["pins"] = [pin for pin in merged["pins"] if stamp.now < pin.until]
    if stamp.root_version < channel.root_version:
        raise ChannelRefused(
            f"made under root {stamp.root_version}, the channel knows root {channel.root_version}",
            hint="fetch the newest root first",
        )
    return _checked(msgspec.structs.replace(channel, **merged))


def _checked(channel: Channel) -> Channel:
    """Hold a document against its own format: what is built in memory is not checked otherwise."""
    if channel.expires_at <= channel.issued_at:
        raise ChannelRefused("the document would end before it begins", hint="give a later end")
    try:
        return _fitted(msgspec.convert(msgspec.to_builtins(channel), Channel))
    except msgspec.ValidationError as problem:
        raise ChannelRefused(f"the change makes no document: {problem}") from problem


def _fitted(channel: Channel) -> Channel:
    """Cut the reasons of older revocations where the document has no room for them.

    What is revoked stays revoked, and the next bad snapshot can be revoked as well; the channel's
    history keeps what was said at the time.

    Raises:
        ChannelRefused: there is no room even so.
    """
    for most in (MAX_WORDS, 100, 20, 1):
        older = [
            msgspec.structs.replace(entry, reason=_cut(entry.reason, most))
            for entry in channel.revoked[:-1]
        ]
        fitted = msgspec.structs.replace(channel, revoked=[*older, *channel.revoked[-1:]])
        if len(encode_channel(fitted)) <= _MAX_PAYLOAD:
            return fitted
    raise ChannelRefused(
        f"one document does not hold {len(channel.pins)} pins and {len(channel.revoked)}"
        " revocations",
        hint="unpin nodes; else begin another channel, and let nodes follow it",
    )


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _back_to(good: Target | None, channel: Channel, reason: str) -> Mapping[str, Any]:
    salt = good.snapshot_id if good else channel.rollout.salt
    return {"target": good, "rollout": Rollout(percent=100, salt=salt, reason=reason)}


def _living_pins(channel: Channel, stamp: Stamp) -> list[Pin]:
    return [pin for pin in channel.pins if stamp.now < pin.until]


def _altered(rollout: Rollout, **changes: Any) -> Rollout:
    return msgspec.structs.replace(rollout, **changes)


def _required_target(channel: Channel) -> Target:
    if channel.target is None:
        raise ChannelRefused("the channel has no target", hint="announce a snapshot first")
    return channel.target


def _refuse_revoked(channel: Channel, target: Target) -> None:
    for entry in channel.revoked:
        if entry.snapshot_id == target.snapshot_id:
            raise ChannelRefused(
                f"{target.snapshot_id} was revoked: {plain(entry.reason)}",
                hint="take another snapshot",
            )


def _refuse_paused(channel: Channel) -> None:
    if channel.rollout.paused:
        raise ChannelRefused(
            f"the rollout is paused: {plain(channel.rollout.reason)}",
            hint="resume or roll back first",
        )


def require_words(**said: str) -> None:
    """Check that a person said something, and what a document can hold, by what it is called.

    Raises:
        ChannelRefused: one is blank, too long, or came in bytes that are no UTF-8.
    """
    for what, words in said.items():
        if not words.strip():
            raise ChannelRefused(f"no {what} is given", hint=f"say the {what} in a few words")
        require_text(**{what: words})
        if len(words) > MAX_WORDS:
            raise ChannelRefused(
                f"the {what} has {len(words):,} characters, at most {MAX_WORDS} are kept",
                hint=f"say the {what} in a few words",
            )


def require_text(**said: str) -> None:
    """Check that a terminal sent UTF-8; one that does not leaves half characters behind.

    Raises:
        ChannelRefused: one can't be written in a document.
    """
    for what, words in said.items():
        try:
            words.encode()
        except UnicodeEncodeError as problem:
            raise ChannelRefused(
                f"the {what} {words!a} is not UTF-8", hint="look at the terminal's encoding"
            ) from problem
