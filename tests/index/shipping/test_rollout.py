"""A rollout from ring to ring: onwards when harm is ruled out, back when it is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from index.shipping import channel_changes as changes
from index.shipping.channel import Channel, Target
from index.shipping.channel_changes import Stamp
from index.shipping.rings import in_ring
from index.shipping.rollout import (
    Act,
    Confirm,
    GoBack,
    NodeReport,
    Nothing,
    Pacing,
    Pause,
    Promote,
    Wait,
    Watch,
)
from index.shipping.verdict import Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = Stamp(now=NOW, expires_at=NOW + timedelta(days=9), root_version=1)
NODES = [f"node-{number}" for number in range(20)]
PACING = Pacing(rings=(10, 50, 100), bake_s=60, patience_s=120, fails=2)


def target(name: str) -> Target:
    return Target(snapshot_id=name, manifest_sha256="0" * 64, manifest_bytes=10)


GOOD, NEW = target("good"), target("new")


def channel(percent: int = 50) -> Channel:
    begun = changes.start_channel("shop", "stable", GOOD, percent=100, stamp=STAMP)
    return changes.announce(changes.confirm(begun, stamp=STAMP), NEW, percent=percent, stamp=STAMP)


def seen(minutes: int, errors_per_minute: int = 0) -> Window:
    n = 5000 * minutes
    return Window(
        n_nodes=1,
        requests=n,
        errors=errors_per_minute * minutes,
        by_tier={"context": n},
        p99_us=(90.0,),
        scores=(n, 0.0, float(n)),
    )


def reports(state: Channel, minutes: int, errors_per_minute: int = 0) -> list[NodeReport]:
    """Of a fleet that follows the channel; those in the ring err."""
    found = []
    for node in NODES:
        in_it = in_ring(node, state.rollout.salt, state.rollout.percent)
        found.append(
            NodeReport(
                node_id=node,
                snapshot_id="new" if in_it else "good",
                seen=seen(minutes, errors_per_minute if in_it else 0),
            )
        )
    return found


def test_harm_ruled_out_goes_from_ring_to_ring_and_is_confirmed() -> None:
    watch, state, now = Watch(PACING), channel(10), 0.0
    told: list[Act] = []
    for minute in range(1, 12):
        act = watch.look(now, state, reports(state, minute))
        now += 60
        if isinstance(act, Promote):
            state = changes.promote(state, act.percent, stamp=STAMP)
        elif isinstance(act, Confirm):
            state = changes.confirm(state, stamp=STAMP)
        if not isinstance(act, Wait):
            told.append(act)

    assert [type(act) for act in told[:4]] == [Promote, Promote, Confirm, Nothing]
    assert [act.percent for act in told if isinstance(act, Promote)] == [50, 100]
    assert state.last_good == NEW


def test_harm_shown_in_two_looks_ends_it_before_the_ring_has_baked() -> None:
    """Cases 3 and 39."""
    watch, state = Watch(PACING), channel()
    acts = [watch.look(now, state, reports(state, now, 500)) for now in (1, 2, 3)]

    assert [type(act) for act in acts[:2]] == [Wait, GoBack]
    assert "errors" in acts[1].told


def test_a_node_that_refuses_it_ends_it_at_once() -> None:
    state = channel()
    nodes = reports(state, 1)
    nodes[3] = replace(nodes[3], refused={"new": "three workers died"})
    act = Watch(PACING).look(0.0, state, nodes)

    assert act == GoBack(told="node-3 refuses it: three workers died")


@pytest.mark.parametrize("lack", ["requests", "nodes", "controls"])
def test_what_is_not_known_waits_and_then_pauses(lack: str) -> None:
    watch, state = Watch(PACING), channel()
    acts = []
    for now in (0, 60, 120, 180, 240):
        nodes = reports(state, 0 if lack == "requests" else 1 + now // 60)
        if lack == "nodes":
            nodes = [replace(one, snapshot_id="good") for one in nodes]
        if lack == "controls":
            nodes = [one for one in nodes if one.snapshot_id == "new"]
        acts.append(type(watch.look(now, state, nodes)))

    assert acts == [Wait, Wait, Wait, Pause, Pause]


def test_a_ring_without_nodes_is_passed_over() -> None:
    state = channel(10)
    nodes = [
        one
        for one in reports(state, 1)
        if not in_ring(one.node_id, state.rollout.salt, state.rollout.percent)
    ]

    assert isinstance(Watch(PACING).look(0.0, state, nodes), Promote)


@pytest.mark.parametrize("percent", [10, 100])
def test_a_fleet_that_is_not_heard_of_is_not_promoted(percent: int) -> None:
    watch, state = Watch(PACING), channel(percent)
    unheard = [replace(one, silent=True) for one in reports(state, 1)]
    acts = [watch.look(now, state, nodes) for now in (0, 60, 240) for nodes in ([], unheard)]

    assert [type(act) for act in acts] == [Wait] * 4 + [Pause] * 2


def test_silent_and_pinned_nodes_have_no_say() -> None:
    state = channel()
    nodes = reports(state, 1)
    bad = replace(nodes[0], seen=seen(1, 5000))
    for odd in (replace(bad, silent=True), replace(bad, pinned=True)):
        watch = Watch(PACING)
        acts = [watch.look(now, state, [*reports(state, 1 + now), odd]) for now in (0, 60)]
        assert isinstance(acts[-1], Promote)


def test_there_may_be_nothing_to_do() -> None:
    paused = changes.pause(channel(), "a holiday", stamp=STAMP)
    revoked = changes.revoke(channel(), "new", "bad", stamp=STAMP)

    assert Watch(PACING).look(0.0, paused, []) == Nothing(told="paused: a holiday")
    assert isinstance(Watch(PACING).look(0.0, revoked, []), Nothing)
