"""What a channel says, in lines for people and in one object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from index.shipping.channel import Channel, Pin, Target
from index.shipping.plain_words import plain


def as_object(channel: Channel, now: datetime) -> dict[str, Any]:
    """The document, and whether its time is over."""
    told: dict[str, Any] = msgspec.to_builtins(channel)
    return {**told, "expired": channel.expires_at <= now}


def as_lines(channel: Channel, now: datetime, *, vouched: str) -> Iterator[str]:
    """A few lines: target, last good one, exceptions, and until when all of it holds.

    `vouched` says who vouches for it.
    """
    return map(plain, _lines(channel, now, vouched))


def _lines(channel: Channel, now: datetime, vouched: str) -> Iterator[str]:
    ends = "EXPIRED" if channel.expires_at <= now else "ends"
    yield f"{channel.brand}/{channel.channel}, epoch {channel.epoch}, {vouched}"
    yield f"  issued    {moment_text(channel.issued_at)}, {ends} {moment_text(channel.expires_at)}"
    yield f"  target    {_share(channel)}"
    yield f"  last good {_name(channel.last_good)}"
    if channel.rollout.paused:
        yield f"  PAUSED    {channel.rollout.reason}"
    for pin in channel.pins:
        over = ", over" if pin.until <= now else ""
        yield (
            f"  pin       {pin.node} → {_name(pin.target)} until {moment_text(pin.until)}{over}"
            f" ({pin.owner}: {pin.reason})"
        )
    for entry in channel.revoked:
        yield f"  revoked   {entry.snapshot_id} since {moment_text(entry.at)}: {entry.reason}"


def history_lines(newest_first: Sequence[Channel]) -> Iterator[str]:
    """One line for each change, the newest first."""
    before = [*newest_first[1:], None]
    for channel, earlier in zip(newest_first, before, strict=True):
        known = earlier is not None and earlier.epoch == channel.epoch - 1
        what = change(earlier if known else None, channel)
        yield f"{channel.epoch:>6}  {moment_text(channel.issued_at)}  {what}"


def change(before: Channel | None, after: Channel) -> str:
    """What was done to make one document of another; all that it says when there is none before."""
    if before is None:
        return f"{_share(after)}, last good {_name(after.last_good)}"
    return plain("; ".join(_changes(before, after))) or "renewed"


def _changes(before: Channel, after: Channel) -> Iterator[str]:
    known = {entry.snapshot_id for entry in before.revoked}
    for entry in after.revoked:
        if entry.snapshot_id not in known:
            yield f"revoked {entry.snapshot_id}: {entry.reason}"
    if after.target != before.target:
        if after.target is not None and after.target == before.last_good:
            yield f"rolled back to {_name(after.target)}: {after.rollout.reason}"
        elif after.target is None:
            yield "no target any more"
        else:
            yield f"announced {_share(after)}"
    elif after.rollout.percent != before.rollout.percent:
        yield f"promoted {_share(after)}"
    if after.rollout.paused and not before.rollout.paused:
        yield f"paused: {after.rollout.reason}"
    if before.rollout.paused and not after.rollout.paused and after.target == before.target:
        yield "resumed"
    if after.last_good != before.last_good:
        yield f"last good is {_name(after.last_good)}"
    yield from _pins(before.pins, after.pins)


def _pins(before: Sequence[Pin], after: Sequence[Pin]) -> Iterator[str]:
    for pin in after:
        if pin not in before:
            yield f"pinned {pin.node} to {_name(pin.target)} ({pin.owner}: {pin.reason})"
    kept = {pin.node for pin in after}
    for pin in before:
        if pin.node not in kept:
            yield f"unpinned {pin.node}"


def _share(channel: Channel) -> str:
    if channel.target is None:
        return "none"
    return f"{_name(channel.target)} at {channel.rollout.percent} % of the nodes"


def _name(target: Target | None) -> str:
    return "none" if target is None else target.snapshot_id


def moment_text(moment: datetime) -> str:
    """A moment for people, UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
