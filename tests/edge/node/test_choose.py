"""What a node should serve, by what the channel says and what happened here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.node.choose import wish
from edge.node.standing import Standing
from index.shipping.channel import Channel, Pin, Revoked
from index.shipping.channel_changes import Stamp, announce, confirm, start_channel
from tests.index.shipping.repository import DAY, NOW, target

NODE = "node-7"
NAMES = ["old", "good", "new", "other"]
STAMP = Stamp(now=NOW, expires_at=NOW + DAY, root_version=1)


def channel(*, percent: int = 100, revoked: Sequence[str] = (), pin: str | None = None) -> Channel:
    """`good` is the last good one, `new` the target."""
    first = start_channel("toy", "stable", target("good"), percent=100, stamp=STAMP)
    after = announce(confirm(first, stamp=STAMP), target("new"), percent=percent, stamp=STAMP)
    pins = [
        Pin(node=NODE, target=target(pin), owner="ann", reason="a test", until=NOW + DAY)
        for pin in ([pin] if pin else [])
    ]
    out = [Revoked(snapshot_id=name, reason="a test", at=NOW) for name in revoked]
    return replace(after, pins=pins, revoked=out)


def chosen(
    said: Channel,
    serving: str | None = "good",
    *,
    last_good: str | None = None,
    refused: Sequence[str] = (),
    installed: Sequence[str] = NAMES,
) -> tuple[str | None, str | None]:
    """What is wished for, and the word of the failure."""
    standing = Standing(
        active=serving, last_good=last_good, quarantined=dict.fromkeys(refused, "it died")
    )
    found = wish(
        said,
        NODE,
        NOW,
        standing=standing,
        serving=serving,
        is_installed=lambda name: name in installed,
    )
    return found.snapshot_id, found.failure.word if found.failure else None


@pytest.mark.parametrize(
    ("said", "here", "expected"),
    [
        (channel(), {}, ("new", None)),
        (channel(percent=0), {}, ("good", None)),
        (channel(pin="other"), {}, ("other", None)),
        (channel(revoked=["new"]), {}, ("good", None)),
        # The one confirmed here stays, however old, when what is wanted is refused.
        (
            channel(),
            {"refused": ["new"], "serving": "old", "last_good": "old"},
            (None, "quarantined"),
        ),
        # One that is still being watched does not.
        (
            channel(),
            {"refused": ["new"], "serving": "other", "last_good": "old"},
            ("old", "quarantined"),
        ),
        (
            channel(),
            {"refused": ["new"], "serving": "other", "last_good": "old", "installed": []},
            ("good", "quarantined"),
        ),
        (channel(), {"refused": ["new", "good"], "serving": "good"}, (None, "quarantined")),
        # Revoked, and nothing wanted: away from it, but to nothing that is as bad.
        (
            channel(revoked=["new", "good"]),
            {"serving": "good", "last_good": "good"},
            (None, "revoked"),
        ),
        (
            channel(revoked=["new", "good"]),
            {"serving": "good", "last_good": "old"},
            ("old", "revoked"),
        ),
        (channel(revoked=["new", "good"]), {"serving": "old"}, (None, None)),
        (channel(revoked=["new", "good"]), {"serving": None}, (None, "nothing_wanted")),
    ],
)
def test_what_is_served_next(
    said: Channel, here: dict[str, object], expected: tuple[str | None, str | None]
) -> None:
    assert chosen(said, **here) == expected  # type: ignore[arg-type] # by name


@given(
    percent=st.sampled_from([0, 100]),
    revoked=st.sets(st.sampled_from(NAMES)),
    pin=st.none() | st.sampled_from(NAMES),
    serving=st.none() | st.sampled_from(NAMES),
    last_good=st.none() | st.sampled_from(NAMES),
    refused=st.sets(st.sampled_from(NAMES)),
    installed=st.sets(st.sampled_from(NAMES)),
)
def test_nothing_revoked_or_refused_is_ever_wished_for(
    percent: int,
    revoked: set[str],
    pin: str | None,
    serving: str | None,
    last_good: str | None,
    refused: set[str],
    installed: set[str],
) -> None:
    said = channel(percent=percent, revoked=sorted(revoked), pin=pin)
    name, failure = chosen(
        said,
        serving,
        last_good=last_good,
        refused=sorted(refused),
        installed=sorted(installed),
    )
    assert name not in revoked | refused
    if failure is None:
        assert (serving not in revoked) if name is None else True
    if name is not None and name not in {"good", "new", pin}:
        assert name == last_good
        assert name in installed
