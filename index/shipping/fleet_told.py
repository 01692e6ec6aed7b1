"""A channel's nodes, as their heartbeats show them: one object for programs, lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from index.shipping.channel import Channel
from index.shipping.heartbeat_store import Heard
from index.shipping.plain_words import plain
from index.shipping.rings import place_in_rings, wanted

NodeStanding = Literal["silent", "unheard", "failing", "behind", "pinned", "current"]
"""From what needs a look most to what needs none."""


def standing_of(heard: Heard, channel: Channel, now: datetime) -> NodeStanding:
    """How a node stands to what the channel says.

    `silent` was not heard of for too long, `unheard` can't be believed, `failing` does not follow
    the channel, `behind` does not serve yet what it should, `pinned` serves its exception.
    """
    beat = heard.heartbeat
    if beat is None:
        return "unheard"
    if heard.is_silent:
        return "silent"
    if beat.failure is not None:
        return "failing"
    target = wanted(channel, heard.node_id, now)
    if target is not None and beat.snapshot_id != target.snapshot_id:
        return "behind"
    return "pinned" if beat.pinned else "current"


def fleet_object(nodes: Sequence[Heard], channel: Channel, now: datetime) -> dict[str, Any]:
    """Counts over all nodes, and each of them."""
    told = [_node(heard, channel, now) for heard in nodes]
    snapshots = Counter(node["snapshot_id"] or "none" for node in told)
    return {
        "n_nodes": len(told),
        "standings": dict(Counter(node["standing"] for node in told)),
        "snapshots": dict(snapshots.most_common()),
        "nodes": told,
    }


def fleet_lines(fleet: dict[str, Any]) -> Iterator[str]:
    """A table of the nodes under a line of counts."""
    if not fleet["n_nodes"]:
        yield "  nodes     none was heard of"
        return
    counts = ", ".join(f"{n} {name}" for name, n in sorted(fleet["standings"].items()))
    yield f"  nodes     {fleet['n_nodes']}: {counts}"
    for snapshot_id, n in fleet["snapshots"].items():
        yield f"            {n} on {snapshot_id}"
    heads = ("node", "standing", "snapshot", "epoch", "heard", "place", "verdict", "overlay")
    rows = [heads, *(tuple(map(plain, _cells(node))) for node in fleet["nodes"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for node in fleet["nodes"]:
        if said := _trouble(node):
            yield plain(f"{node['node_id']}: {said}")


def _node(heard: Heard, channel: Channel, now: datetime) -> dict[str, Any]:
    beat, target = heard.heartbeat, wanted(channel, heard.node_id, now)
    return {
        "node_id": heard.node_id,
        "standing": standing_of(heard, channel, now),
        "snapshot_id": beat.snapshot_id if beat else None,
        "wanted": target.snapshot_id if target else None,
        "place": place_in_rings(heard.node_id, channel.rollout.salt),
        "age_s": heard.age_s,
        "is_vouched": heard.is_vouched,
        "problem": heard.problem,
        "heartbeat": msgspec.to_builtins(beat),
    }


def _cells(node: dict[str, Any]) -> tuple[str, ...]:
    beat = node["heartbeat"] or {}
    epoch, overlay = beat.get("epoch"), beat.get("overlay_sequence") or "–"
    unsigned = beat and not node["is_vouched"]
    return (
        f"{node['node_id']} (unsigned)" if unsigned else node["node_id"],
        node["standing"],
        node["snapshot_id"] or "–",
        "–" if epoch is None else str(epoch),
        _ago(node["age_s"]),
        f"{node['place']} %",
        beat.get("verdict") or "–",
        f"{overlay}{' STALE' if beat.get('overlay_is_stale') else ''}",
    )


def _trouble(node: dict[str, Any]) -> str | None:
    """What is wrong with a node, in a sentence; None when nothing is."""
    beat = node["heartbeat"] or {}
    return node["problem"] or beat.get("detail") or beat.get("failure")


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
