"""Changes of a channel: each makes sense or is refused, and none ever points at what is revoked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from index.shipping.channel import (
    Channel,
    Pin,
    Revoked,
    Target,
    decode_channel,
    seal_channel,
)
from index.shipping.channel_changes import (
    Stamp,
    announce,
    confirm,
    pause,
    pin,
    promote,
    renew,
    resume,
    revoke,
    rollback,
    start_channel,
    unpin,
)
from index.shipping.documents import CHANNEL, unseal_document
from index.shipping.rings import in_ring, wanted
from index.shipping.signing import SigningKey
from index.shipping.trust_errors import ChannelRefused
from tests.index.shipping.repository import DAY, NOW, target

STAMP = Stamp(now=NOW, expires_at=NOW + 7 * DAY, root_version=1)
A, B, C = target("a"), target("b"), target("c")
NODES = [f"node-{number}" for number in range(40)]


@pytest.fixture
def proven() -> Channel:
    """A channel whose target `a` was confirmed."""
    return confirm(start_channel("toy", "stable", A, percent=100, stamp=STAMP), stamp=STAMP)


@pytest.fixture
def rolling(proven: Channel) -> Channel:
    """A channel that rolls out `b` to a tenth, and can go back to `a`."""
    return announce(proven, B, percent=10, stamp=STAMP)


def wish(node: str = "node-1", *, at: Target = C, until: datetime = NOW + DAY, **said: str) -> Pin:
    words = {"owner": "ops", "reason": "a look"} | said
    return Pin(node=node, target=at, until=until, **words)


def test_a_rollout_from_beginning_to_end(rolling: Channel) -> None:
    half = promote(rolling, 50, stamp=STAMP)
    full = promote(half, 100, stamp=STAMP)
    good = confirm(full, stamp=STAMP)

    assert [c.epoch for c in (rolling, half, full, good)] == [3, 4, 5, 6]
    assert [c.rollout.percent for c in (rolling, half, full)] == [10, 50, 100]
    assert (full.last_good, good.last_good, good.target) == (A, B, B)


def test_nothing_is_changed_in_place(rolling: Channel) -> None:
    before = msgspec.to_builtins(rolling)
    pin(pause(rolling, "look", stamp=STAMP), wish(), stamp=STAMP)

    assert msgspec.to_builtins(rolling) == before


def test_rollback_lands_on_the_last_good_not_on_the_one_before(rolling: Channel) -> None:
    """Two bad nights: `b` never proved itself, so from `c` the way leads to `a`."""
    second_night = announce(rolling, C, percent=5, stamp=STAMP)
    back = rollback(second_night, "errors", stamp=STAMP)

    assert (back.target, back.last_good, back.epoch) == (A, A, second_night.epoch + 1)
    assert (back.rollout.percent, back.rollout.reason) == (100, "errors")
    assert {wanted(back, node, NOW) for node in NODES} == {A}


def test_revoking_the_target_goes_back_at_the_same_time(rolling: Channel) -> None:
    gone = revoke(pause(rolling, "look", stamp=STAMP), "b", "wrong prices", stamp=STAMP)

    assert (gone.target, gone.rollout.percent, gone.rollout.paused) == (A, 100, False)
    assert [(entry.snapshot_id, entry.reason, entry.at) for entry in gone.revoked] == [
        ("b", "wrong prices", NOW)
    ]


def test_revoking_all_that_is_known_leaves_no_target(proven: Channel) -> None:
    gone = revoke(proven, "a", "wrong prices", stamp=STAMP)

    assert (gone.target, gone.last_good) == (None, None)
    assert {wanted(gone, node, NOW) for node in NODES} == {None}
    assert announce(gone, B, percent=100, stamp=STAMP).target == B


def test_revoking_the_last_good_leaves_the_rollout(rolling: Channel) -> None:
    gone = revoke(rolling, "a", "wrong prices", stamp=STAMP)

    assert (gone.target, gone.last_good, gone.rollout) == (B, None, rolling.rollout)


def test_revoking_ends_pins_to_it(rolling: Channel) -> None:
    pinned = pin(rolling, wish(at=C), stamp=STAMP)
    kept = pin(pinned, wish("node-2", at=A), stamp=STAMP)

    assert [p.node for p in revoke(kept, "c", "bad", stamp=STAMP).pins] == ["node-2"]


def test_a_pin_goes_first_until_its_time_is_over(rolling: Channel) -> None:
    """Case 40."""
    pinned = pin(rolling, wish("node-1", at=C), stamp=STAMP)
    both = pin(pinned, wish("*", at=A), stamp=STAMP)

    assert wanted(both, "node-1", NOW) == C
    assert {wanted(both, node, NOW) for node in NODES if node != "node-1"} == {A}
    assert wanted(both, "node-1", NOW + DAY) == wanted(rolling, "node-1", NOW)


def test_pins_that_are_over_leave_the_document(rolling: Channel) -> None:
    pinned = pin(rolling, wish(), stamp=STAMP)
    later = Stamp(now=NOW + DAY, expires_at=NOW + 8 * DAY, root_version=1)

    assert renew(pinned, stamp=STAMP).pins == pinned.pins
    assert renew(pinned, stamp=later).pins == []
    assert pin(pinned, wish(until=NOW + 2 * DAY), stamp=later).pins[0].until == NOW + 2 * DAY


def test_a_revoked_snapshot_is_not_wanted_whoever_names_it(rolling: Channel) -> None:
    """Also in a document that no change here would make."""
    pinned = pin(rolling, wish("*", at=B), stamp=STAMP)
    revoked = revoke(rolling, "b", "bad", stamp=STAMP).revoked
    odd = msgspec.structs.replace(pinned, revoked=revoked)

    assert {wanted(odd, node, NOW) for node in NODES} == {A}


@pytest.mark.parametrize("reason", ["x" * 500, "\N{SLEEPING SYMBOL}" * 500, "empty lists on home"])
def test_the_next_bad_snapshot_can_be_revoked_after_hundreds(rolling: Channel, reason: str) -> None:
    channel = rolling
    for number in range(350):
        channel = revoke(channel, f"20271231T0000Z-{number:012x}", reason, stamp=STAMP)

    assert all(channel.is_revoked(f"20271231T0000Z-{number:012x}") for number in range(350))
    assert channel.revoked[-1].reason == reason
    keys = [SigningKey.generate() for _ in range(4)]
    assert len(seal_channel(channel, keys)) <= CHANNEL.max_bytes


def test_what_one_document_does_not_hold_is_refused_as_such(rolling: Channel) -> None:
    revoked = [Revoked(snapshot_id=f"night-{n}", reason="why", at=NOW) for n in range(1000)]
    full = msgspec.structs.replace(rolling, revoked=revoked)

    with pytest.raises(ChannelRefused, match="does not hold 0 pins and 1000 revoc") as caught:
        renew(full, stamp=STAMP)
    assert "another channel" in str(caught.value.hint)


def test_renewing_moves_only_dates_and_epoch(rolling: Channel) -> None:
    later = Stamp(now=NOW + DAY, expires_at=NOW + 8 * DAY, root_version=2)
    again = renew(rolling, stamp=later)

    assert again == msgspec.structs.replace(
        rolling,
        epoch=rolling.epoch + 1,
        issued_at=later.now,
        expires_at=later.expires_at,
        root_version=2,
    )


Change = Callable[[Channel], Channel]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: announce(c, B, percent=5, stamp=STAMP), "b is the target already"),
        (
            lambda c: announce(
                c, msgspec.structs.replace(B, manifest_bytes=7), percent=5, stamp=STAMP
            ),
            "b is known with another manifest",
        ),
        (
            lambda c: announce(revoke(c, "c", "bad", stamp=STAMP), C, percent=5, stamp=STAMP),
            "c was revoked: bad",
        ),
        (
            lambda c: announce(pause(c, "look", stamp=STAMP), C, percent=5, stamp=STAMP),
            "the rollout is paused: look",
        ),
        (lambda c: announce(c, C, percent=101, stamp=STAMP), "percent"),
        (lambda c: announce(c, C, percent=-1, stamp=STAMP), "percent"),
        (lambda c: promote(c, 9, stamp=STAMP), "9 % is not more"),
        (lambda c: promote(c, 10, stamp=STAMP), "10 % is not more"),
        (lambda c: promote(c, 101, stamp=STAMP), "percent"),
        (lambda c: promote(pause(c, "look", stamp=STAMP), 50, stamp=STAMP), "paused: look"),
        (lambda c: pause(pause(c, "look", stamp=STAMP), "again", stamp=STAMP), "paused: look"),
        (lambda c: pause(c, "  ", stamp=STAMP), "no reason"),
        (lambda c: resume(c, stamp=STAMP), "not paused"),
        (lambda c: confirm(c, stamp=STAMP), "at 10 %: not proven"),
        (
            lambda c: confirm(rollback(c, "bad", stamp=STAMP), stamp=STAMP),
            "a is the last good one already",
        ),
        (
            lambda c: rollback(rollback(c, "bad", stamp=STAMP), "bad", stamp=STAMP),
            "a is the target already",
        ),
        (lambda c: rollback(c, "", stamp=STAMP), "no reason"),
        (
            lambda c: rollback(revoke(c, "a", "bad", stamp=STAMP), "bad", stamp=STAMP),
            "no good snapshot is known",
        ),
        (
            lambda c: revoke(revoke(c, "b", "bad", stamp=STAMP), "b", "bad", stamp=STAMP),
            "b is revoked already",
        ),
        (lambda c: revoke(c, "b", "", stamp=STAMP), "no reason"),
        (lambda c: revoke(c, "../b", "bad", stamp=STAMP), "snapshot_id|revoked"),
        (lambda c: pin(c, wish(owner=""), stamp=STAMP), "no owner"),
        (lambda c: pin(c, wish(reason=" "), stamp=STAMP), "no reason"),
        (lambda c: pin(c, wish(until=NOW), stamp=STAMP), "over before it begins"),
        (lambda c: pin(c, wish(until=NOW.replace(tzinfo=None)), stamp=STAMP), "time zone"),
        (lambda c: pin(c, wish("a node"), stamp=STAMP), "pins"),
        (
            lambda c: pin(pin(c, wish(), stamp=STAMP), wish(at=A), stamp=STAMP),
            "node-1 is pinned already",
        ),
        (
            lambda c: pin(revoke(c, "c", "bad", stamp=STAMP), wish(), stamp=STAMP),
            "c was revoked",
        ),
        (lambda c: unpin(c, "node-9", stamp=STAMP), "node-9 is not pinned"),
        (
            lambda c: renew(c, stamp=Stamp(now=NOW, expires_at=NOW, root_version=1)),
            "would end before it begins",
        ),
        (
            lambda c: renew(
                msgspec.structs.replace(c, root_version=3),
                stamp=STAMP,
            ),
            "made under root 1, the channel knows root 3",
        ),
        (
            lambda c: promote(
                revoke(revoke(c, "a", "x", stamp=STAMP), "b", "x", stamp=STAMP), 100, stamp=STAMP
            ),
            "has no target",
        ),
        (
            lambda c: pause(c, "Gr\udcfc\udcdfe", stamp=STAMP),
            "is not UTF-8",
        ),
        (
            lambda c: pause(c, "x" * 501, stamp=STAMP),
            "the reason has 501 characters, at most 500 are kept",
        ),
        (
            lambda c: start_channel("no brand", "stable", A, percent=1, stamp=STAMP),
            "brand",
        ),
    ],
)
def test_nonsense_is_refused(rolling: Channel, change: Change, told: str) -> None:
    with pytest.raises(ChannelRefused, match=told) as caught:
        change(rolling)
    assert caught.value.exit_code == 2


# Rings ------------------------------------------------------------------------------------------


def test_who_is_in_a_ring_stays_in_every_wider_one() -> None:
    for node in NODES:
        inside = [in_ring(node, "salt", percent) for percent in range(101)]

        assert inside == sorted(inside)
        assert (inside[0], inside[100]) == (False, True)


def test_a_ring_is_about_as_large_as_it_says() -> None:
    many = [f"edge-{number}.example" for number in range(10_000)]
    share = [sum(in_ring(node, "salt", percent) for node in many) for percent in (1, 10, 50)]

    # Four standard deviations of a binomial: 10, 30 and 50 nodes each.
    assert abs(share[0] - 100) < 40
    assert abs(share[1] - 1000) < 120
    assert abs(share[2] - 5000) < 200


def test_another_salt_sends_other_nodes_first() -> None:
    first = {node for node in NODES if in_ring(node, "monday", 50)}
    second = {node for node in NODES if in_ring(node, "tuesday", 50)}

    assert first != second
    assert first == {node for node in NODES if in_ring(node, "monday", 50)}


def test_places_in_the_rings_never_move() -> None:
    """Nodes of different releases must agree on who goes first."""
    places = [
        next(percent for percent in range(101) if in_ring(node, "20260301T0000Z", percent))
        for node in NODES[:6]
    ]

    assert places == [71, 59, 90, 1, 87, 87]


# Any sequence of changes ------------------------------------------------------------------------

SNAPSHOTS = [target(f"s{number}") for number in range(6)]
chosen = st.sampled_from(SNAPSHOTS)
some_nodes = st.sampled_from([*NODES[:4], "*"])
percents = st.integers(-5, 105)


class AnyChanges(RuleBasedStateMachine):
    """Tries every change in any order; those that are refused must leave no trace."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.confirmed: set[str] = set()
        self.history: list[Channel] = []

    @initialize(first=chosen, percent=st.integers(0, 100))
    def begin(self, first: Target, percent: int) -> None:
        self.history = [start_channel("toy", "s", first, percent=percent, stamp=self.stamp)]

    @property
    def stamp(self) -> Stamp:
        return Stamp(now=self.now, expires_at=self.now + DAY, root_version=1)

    @property
    def channel(self) -> Channel:
        return self.history[-1]

    def attempt(self, how: Callable[..., Channel], *words: Any, **named: Any) -> bool:
        try:
            after = how(self.channel, *words, stamp=self.stamp, **named)
        except ChannelRefused:
            return False
        assert after.epoch == self.channel.epoch + 1
        self.history.append(after)
        return True

    @rule(hours=st.integers(1, 40))
    def time_passes(self, hours: int) -> None:
        self.now += DAY / 24 * hours

    @rule(to=chosen, percent=percents)
    def announcing(self, to: Target, percent: int) -> None:
        before = self.channel
        sensible = (
            0 <= percent <= 100
            and to != before.target
            and not before.is_revoked(to.snapshot_id)
            and not before.rollout.paused
        )
        assert self.attempt(announce, to, percent=percent) is sensible
        if sensible:
            assert (self.channel.target, self.channel.last_good) == (to, before.last_good)

    @rule(percent=percents)
    def promoting(self, percent: int) -> None:
        before = self.channel
        sensible = (
            before.rollout.percent < percent <= 100
            and before.target is not None
            and not before.rollout.paused
        )
        assert self.attempt(promote, percent) is sensible
        if sensible:
            assert self.channel.rollout.percent == percent
            assert (self.channel.target, self.channel.rollout.salt) == (
                before.target,
                before.rollout.salt,
            )
            # Nobody who had the target loses it.
            for node in NODES:
                if wanted(before, node, self.now) == before.target:
                    assert wanted(self.channel, node, self.now) == before.target

    @rule()
    def pausing(self) -> None:
        before = self.channel
        sensible = not before.rollout.paused
        assert self.attempt(pause, "a look") is sensible
        if sensible:
            assert [wanted(before, node, self.now) for node in NODES] == [
                wanted(self.channel, node, self.now) for node in NODES
            ]

    @rule()
    def resuming(self) -> None:
        paused = self.channel.rollout.paused
        assert self.attempt(resume) is paused

    @rule()
    def confirming(self) -> None:
        before = self.channel
        sensible = (
            before.target not in {None, before.last_good}
            and before.rollout.percent == 100
            and not before.rollout.paused
        )
        assert self.attempt(confirm) is sensible
        if sensible:
            assert self.channel.target is not None
            self.confirmed.add(self.channel.target.snapshot_id)

    @rule()
    def going_back(self) -> None:
        sensible = self.channel.last_good not in {None, self.channel.target}
        assert self.attempt(rollback, "errors") is sensible
        if sensible:
            assert self.channel.target is not None
            assert self.channel.target.snapshot_id in self.confirmed

    @rule(which=chosen)
    def revoking(self, which: Target) -> None:
        known = self.channel.is_revoked(which.snapshot_id)
        assert self.attempt(revoke, which.snapshot_id, "bad") is not known

    @rule(node=some_nodes, to=chosen, hours=st.integers(-1, 40))
    def pinning(self, node: str, to: Target, hours: int) -> None:
        until = self.now + DAY / 24 * hours
        sensible = (
            hours > 0
            and not self.channel.is_revoked(to.snapshot_id)
            and all(one.node != node or one.until <= self.now for one in self.channel.pins)
        )
        assert self.attempt(pin, wish(node, at=to, until=until)) is sensible
        if sensible:
            assert wanted(self.channel, node, self.now) == to

    @rule(node=some_nodes)
    def unpinning(self, node: str) -> None:
        pinned = any(one.node == node for one in self.channel.pins)
        assert self.attempt(unpin, node) is pinned

    @rule()
    def renewing(self) -> None:
        assert self.attempt(renew)

    @invariant()
    def epochs_rise(self) -> None:
        assert [channel.epoch for channel in self.history] == list(range(1, len(self.history) + 1))

    @invariant()
    def nothing_revoked_is_pointed_at_or_wanted(self) -> None:
        if not self.history:
            return
        gone = {entry.snapshot_id for entry in self.channel.revoked}
        pointed = [self.channel.target, self.channel.last_good]
        pointed += [one.target for one in self.channel.pins]
        pointed += [wanted(self.channel, node, self.now) for node in NODES[:8]]
        assert not gone & {one.snapshot_id for one in pointed if one}

    @invariant()
    def the_last_good_one_was_confirmed(self) -> None:
        if self.history and self.channel.last_good:
            assert self.channel.last_good.snapshot_id in self.confirmed

    @invariant()
    def the_document_survives_its_envelope(self) -> None:
        if self.history:
            sealed = unseal_document(CHANNEL, seal_channel(self.channel, []))
            assert decode_channel(sealed) == self.channel


AnyChanges.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnyChanges = AnyChanges.TestCase
