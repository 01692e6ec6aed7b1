"""What to do with a rollout, ring by ring, from what the nodes say of themselves.

Nothing is read or written here: whoever runs a rollout shows it the channel and the nodes' reports
again and again, and carries out what it says. A new snapshot stays in a ring until it has baked
there; then it goes on if harm is ruled out, and the rollout is paused if that can't be told. Shown
harm, or a node that refuses the snapshot, ends it at once: back to the last good one, and never
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from index.shipping.channel import Channel, Target
from index.shipping.rings import in_ring
from index.shipping.verdict import Margins, Window, judge

RINGS: Final = (1, 10, 50, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What one node says of itself.

    Attributes:
        node_id: its name.
        snapshot_id: what it serves; None before it serves anything.
        seen: what it answered lately; nothing where some of that was before it served this
            snapshot.
        refused: snapshots it will not serve, with the reason of each.
        pinned: whether it follows a pin instead of the rollout.
        silent: whether it was not heard of for too long to say anything of now.
    """

    node_id: str
    snapshot_id: str | None
    seen: Window
    refused: dict[str, str] = field(default_factory=dict)
    pinned: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How a rollout goes on.

    Attributes:
        rings: shares of the nodes in percent, rising to 100.
        bake_s: a ring is watched at least this long, seconds.
        patience_s: and this much longer if that was not enough to tell.
        fails: so many looks in a row that show harm end it.
        margins: what is no harm yet.
    """

    rings: tuple[int, ...] = RINGS
    bake_s: float = 600.0
    patience_s: float = 1800.0
    fails: int = 2
    margins: Margins = field(default_factory=Margins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Look again later."""

    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """Let more nodes serve it."""

    percent: int
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """It is good: what nodes go back to from now on."""

    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoBack:
    """Revoke it, so that every node goes back to the last good one."""

    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A person has to decide."""

    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """There is no rollout, or somebody paused it."""

    told: str


Act: TypeAlias = Wait | Promote | Confirm | GoBack | Pause | Nothing


class Watch:
    """Remembers since when a ring is watched, and how often harm was shown in a row.

    Args:
        pacing: see there.
    """

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._ring: tuple[Target, int] | None = None
        self._ring_since_s = 0.0
        self._fails = 0

    def look(self, now_s: float, channel: Channel, reports: Sequence[NodeReport]) -> Act:
        """What to do now.

        Args:
            now_s: seconds of a clock that only rises.
            channel: as it is in force.
            reports: the last one of each node.
        """
        target, percent = channel.target, channel.rollout.percent
        if target is None or target == channel.last_good:
            return Nothing(told="nothing is being rolled out")
        if channel.rollout.paused:
            return Nothing(told=f"paused: {channel.rollout.reason}")
        self._enter(target, percent, now_s)
        if refused := _refusals(target, reports):
            return GoBack(told=refused)
        heard = [one for one in reports if not one.silent and not one.pinned]
        return self._of_ring(now_s, channel, target, heard)

    def _of_ring(
        self, now_s: float, channel: Channel, target: Target, heard: Sequence[NodeReport]
    ) -> Act:
        percent = channel.rollout.percent
        ring = [one for one in heard if in_ring(one.node_id, channel.rollout.salt, percent)]
        if heard and not ring:
            return self._onwards(percent, f"no node is in the ring of {percent} %")
        new = [one for one in ring if one.snapshot_id == target.snapshot_id]
        controls = _controls(channel, heard, percent)
        judged = judge(
            _together(new), None if controls is None else _together(controls), self._pacing.margins
        )
        self._fails = self._fails + 1 if judged.verdict == "fail" else 0
        if self._fails >= self._pacing.fails:
            return GoBack(told=judged.reasons())
        waited_s = now_s - self._ring_since_s
        told = f"{len(new)} of {len(ring)} nodes in the ring of {percent} % serve it"
        if not heard:
            told = "no node that can be believed was heard of: are heartbeats signed?"
        if waited_s < self._pacing.bake_s:
            return Wait(told=told)
        if judged.verdict == "pass" and len(new) == len(ring):
            return self._onwards(percent, told)
        if waited_s < self._pacing.bake_s + self._pacing.patience_s:
            return Wait(told=f"{told}; not known yet of {judged.guards()}")
        return Pause(told=f"not known to do no harm: {told}; {judged.reasons()}")

    def _enter(self, target: Target, percent: int, now_s: float) -> None:
        if self._ring != (target, percent):
            self._ring, self._ring_since_s = (target, percent), now_s
            self._fails = 0

    def _onwards(self, percent: int, told: str) -> Promote | Confirm:
        larger = [ring for ring in self._pacing.rings if ring > percent]
        return Promote(percent=larger[0], told=told) if larger else Confirm(told=told)


def _refusals(target: Target, reports: Iterable[NodeReport]) -> str:
    refused = {
        one.node_id: reason
        for one in reports
        if (reason := one.refused.get(target.snapshot_id)) is not None
    }
    return "; ".join(f"{node} refuses it: {why}" for node, why in sorted(refused.items())[:3])


def _controls(
    channel: Channel, heard: Iterable[NodeReport], percent: int
) -> list[NodeReport] | None:
    """Nodes that serve the last good one; None where none should."""
    if percent >= 100:
        return None
    good = channel.last_good
    return [one for one in heard if good is not None and one.snapshot_id == good.snapshot_id]


def _together(reports: Iterable[NodeReport]) -> Window:
    return Window.of([one.seen for one in reports])
