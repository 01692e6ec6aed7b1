"""What heartbeats say of a rollout: what each node serves, answered lately, and refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from index.shipping.heartbeat import Heartbeat
from index.shipping.heartbeat_store import Heard
from index.shipping.rollout import NodeReport
from index.shipping.verdict import Window

_BEGAN = frozenset({"activated", "went back"})


def reports_of(nodes: Iterable[Heard], *, unsigned: bool) -> list[NodeReport]:
    """Reports of the nodes that can be believed.

    Args:
        nodes: of a channel, as heard.
        unsigned: believe those that no node key vouches for too.
    """
    return [
        _report(heard, heard.heartbeat)
        for heard in nodes
        if heard.heartbeat is not None and (unsigned or heard.is_vouched)
    ]


def _report(heard: Heard, beat: Heartbeat) -> NodeReport:
    refused: dict[str, str] = {}
    for swap in beat.swaps:
        if swap.what == "quarantined":
            refused[swap.snapshot_id] = swap.reason
        elif swap.what == "forgotten":
            refused.pop(swap.snapshot_id, None)
    return NodeReport(
        node_id=beat.node_id,
        snapshot_id=beat.snapshot_id,
        seen=_lately(beat),
        refused=refused,
        pinned=beat.pinned,
        silent=heard.is_silent,
    )


def _lately(beat: Heartbeat) -> Window:
    guards = beat.guards
    since = _serving_since(beat)
    if since is None or beat.sent_at - since < timedelta(seconds=guards.window_s):
        return Window(n_nodes=1)
    return Window(
        n_nodes=1,
        requests=guards.requests,
        errors=guards.errors,
        empty=guards.empty,
        by_tier=guards.tiers,
        p99_us=() if guards.p99_us is None else (guards.p99_us,),
        scores=(guards.scored, guards.score_sum, guards.score_squares),
        deaths=guards.worker_deaths,
    )


def _serving_since(beat: Heartbeat) -> datetime | None:
    """When the node began to serve what it serves; None if that is not told."""
    began = [
        swap.at
        for swap in beat.swaps
        if swap.what in _BEGAN and swap.snapshot_id == beat.snapshot_id
    ]
    return began[-1] if began else None
