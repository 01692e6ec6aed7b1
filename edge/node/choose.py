"""Choosing: what a node should serve, from what the channel says and what happened here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edge.node.failures import Failure
from edge.node.standing import Standing
from index.shipping.channel import Channel, Target
from index.shipping.rings import pin_of, wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to serve.

    Attributes:
        snapshot_id: which snapshot; None to stay with what is served.
        target: what the channel says of it; None for one that must be installed already.
        failure: why it is not simply what the channel wants.
        pinned: whether a pin says so.
    """

    snapshot_id: str | None = None
    target: Target | None = None
    failure: Failure | None = None
    pinned: bool = False


def wish(
    channel: Channel,
    node_id: str,
    now: datetime,
    *,
    standing: Standing,
    serving: str | None,
    is_installed: Callable[[str], bool],
) -> Wish:
    """What a node should serve.

    That is what the channel wants of it. Where that is quarantined here, or nothing is wanted and
    what is served is revoked, the node stays with what it serves if that has proved good here, and
    else goes to what proved good last here, then to the channel's last good one; never simply to
    the one before.

    Args:
        channel: as accepted.
        node_id: the node's name.
        now: the node's clock; with a time zone.
        standing: the node's memory.
        serving: what is served.
        is_installed: whether a snapshot can be served without fetching anything.
    """
    target = wanted(channel, node_id, now)
    pinned = pin_of(channel, node_id, now) is not None
    if target is not None and target.snapshot_id not in standing.quarantined:
        return Wish(snapshot_id=target.snapshot_id, target=target, pinned=pinned)

    def fits(snapshot_id: str | None) -> bool:
        return (
            snapshot_id is not None
            and not channel.is_revoked(snapshot_id)
            and snapshot_id not in standing.quarantined
        )

    if target is None:
        if serving is None:
            failure = Failure(word="nothing_wanted", detail="the channel wants nothing here yet")
            return Wish(failure=failure, pinned=pinned)
        if fits(serving):
            return Wish(pinned=pinned)
        failure = Failure(word="revoked", detail=f"{serving} is served, and must not be any more")
    else:
        reason = standing.quarantined[target.snapshot_id]
        failure = Failure(
            word="quarantined",
            detail=f"{target.snapshot_id} is wanted, and refused here: {reason}",
            hint=f"announce another one, or: almanac node forget {target.snapshot_id}",
        )
        if fits(serving) and serving == standing.last_good:
            return Wish(failure=failure, pinned=pinned)
    ours, good = standing.last_good, channel.last_good
    if ours is not None and fits(ours) and is_installed(ours):
        return Wish(snapshot_id=ours, failure=failure, pinned=pinned)
    if good is not None and fits(good.snapshot_id):
        return Wish(snapshot_id=good.snapshot_id, target=good, failure=failure, pinned=pinned)
    return Wish(failure=failure, pinned=pinned)
