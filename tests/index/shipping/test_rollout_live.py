"""`almanac rollout` from what nodes say in a store to what it makes of the channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from almanac import main
from index.manifest import read_manifest
from index.shipping.channel import Channel
from index.shipping.channel_store import InForce, require_channel, write_channel
from index.shipping.heartbeat import Guards, Heartbeat, Swap
from index.shipping.heartbeat_store import Heard, HeartbeatWriter
from index.shipping.keyring import read_roots, role_keys
from index.shipping.node_reports import reports_of
from index.shipping.rings import in_ring
from index.shipping.signing import SigningKey
from index.shipping.store import Store, open_store
from tests.toys import toy_model, write_toy

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)
QUIET = Guards(
    window_s=60,
    requests=5000,
    decisions=5000,
    tiers={"context": 5000},
    p99_us=90.0,
    scored=5000,
    score_squares=5000.0,
)
NODES = [f"node-{number}" for number in range(20)]


def beat_of(node_id: str, snapshot_id: str | None, at: datetime, **said: object) -> Heartbeat:
    """A node that has served this for an hour and is well, but for what is said."""
    began = Swap(at=at - timedelta(hours=1), snapshot_id=snapshot_id or "none", what="activated")
    plain = Heartbeat(
        brand="toy",
        channel="stable",
        node_id=node_id,
        sent_at=at,
        interval_s=5,
        software="x",
        trust="signed",
        snapshot_id=snapshot_id,
        epoch=1,
        phase="following",
        uptime_s=4000,
        n_workers=1,
        n_ready=1,
        guards=QUIET,
        swaps=[began],
    )
    return replace(plain, **said)


def heard(beat: Heartbeat, *, is_vouched: bool = True) -> Heard:
    return Heard(node_id=beat.node_id, heartbeat=beat, age_s=1, is_vouched=is_vouched, problem=None)


def swaps(*told: tuple[str, str]) -> list[Swap]:
    """What happened to snapshots, a minute apart, the last a minute ago."""
    begin = NOW - timedelta(minutes=len(told))
    return [
        Swap(at=begin + timedelta(minutes=place), snapshot_id=name, what=what, reason=f"for {what}")
        for place, (name, what) in enumerate(told)
    ]


def test_what_a_node_counted_is_what_it_is_judged_by() -> None:
    guards = replace(
        QUIET, errors=3, empty=2, scored=7, score_sum=1.5, score_squares=2.5, worker_deaths=1
    )
    (report,) = reports_of([heard(beat_of("a", "new", NOW, guards=guards))], unsigned=False)

    assert (report.node_id, report.snapshot_id, report.refused) == ("a", "new", {})
    seen = report.seen
    assert (seen.requests, seen.errors, seen.empty, seen.deaths) == (5000, 3, 2, 1)
    assert (seen.by_tier, seen.p99_us, seen.scores) == ({"context": 5000}, (90.0,), (7, 1.5, 2.5))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"swaps": swaps(("new", "activated"))[:0]}, id="since when is not told"),
        pytest.param(
            {"swaps": [Swap(at=NOW - timedelta(seconds=59), snapshot_id="new", what="activated")]},
            id="since a moment ago",
        ),
        pytest.param(
            {"swaps": swaps(("new", "activated"), ("old", "went back"))}, id="serves another since"
        ),
    ],
)
def test_what_may_be_of_the_snapshot_before_counts_for_nothing(said: dict[str, object]) -> None:
    """Nothing, but a node: it is there, and nobody knows yet."""
    snapshot_id = "old" if len(said["swaps"]) == 2 else "new"  # type: ignore[arg-type]
    guards = replace(QUIET, window_s=61)
    beat = beat_of("a", snapshot_id, NOW, guards=guards, **said)
    (report,) = reports_of([heard(beat)], unsigned=False)

    assert (report.seen.n_nodes, report.seen.requests, report.seen.p99_us) == (1, 0, ())


def test_who_decided_nothing_says_nothing_of_p99() -> None:
    beat = beat_of("a", "new", NOW, guards=replace(QUIET, p99_us=None))
    (report,) = reports_of([heard(beat)], unsigned=False)

    assert (report.seen.p99_us, report.seen.requests) == ((), 5000)


def test_a_refusal_holds_until_it_is_forgotten() -> None:
    told = [("new", "quarantined"), ("new", "forgotten"), ("new", "quarantined")]
    refused = [
        reports_of([heard(beat_of("a", "old", NOW, swaps=swaps(*told[:n])))], unsigned=False)[
            0
        ].refused
        for n in (1, 2, 3)
    ]

    assert refused == [{"new": "for quarantined"}, {}, {"new": "for quarantined"}]


def test_nobody_is_believed_without_a_signature_but_where_nobody_signs() -> None:
    nodes = [
        heard(beat_of("a", "new", NOW)),
        heard(beat_of("b", "new", NOW), is_vouched=False),
        Heard(node_id="c", heartbeat=None, age_s=1, is_vouched=False, problem="no heartbeat"),
    ]

    assert [one.node_id for one in reports_of(nodes, unsigned=False)] == ["a"]
    assert [one.node_id for one in reports_of(nodes, unsigned=True)] == ["a", "b"]


@dataclass
class Fleet:
    """Nodes that follow a channel and tell of it, signed, as fast as they can.

    Attributes:
        said: what those say that serve the second snapshot; nothing unusual by default.
    """

    store: Store
    keys: Path
    second: str
    said: dict[str, object] = field(default_factory=dict)

    def channel(self) -> Channel:
        return require_channel(self.store, "toy", "stable", read_roots(self.keys)).channel

    def tell(self, signing: list[SigningKey], writers: dict[str, HeartbeatWriter]) -> None:
        """One heartbeat of each node."""
        channel, now = self.channel(), datetime.now(UTC)
        assert channel.last_good is not None
        for node in NODES:
            is_in = in_ring(node, channel.rollout.salt, channel.rollout.percent)
            target = channel.target if is_in else channel.last_good
            assert target is not None
            said = self.said if target.snapshot_id == self.second else {}
            writer = writers.setdefault(node, HeartbeatWriter(self.store, signing))
            writer.write(beat_of(node, target.snapshot_id, now, **said))

    @contextmanager
    def telling(self) -> Iterator[None]:
        signing = list(role_keys(self.keys, read_roots(self.keys)[-1], "node"))
        writers: dict[str, HeartbeatWriter] = {}
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                self.tell(signing, writers)

        self.tell(signing, writers)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture
def operate(tmp_path: Path) -> Callable[..., int]:
    """An operator's commands on the channel; gives the exit code."""
    place = ["--brand=toy", f"--store={tmp_path / 'store'}", f"--keys={tmp_path / 'keys'}"]
    return lambda *words: main([*words, *(place[1:] if words[0] == "publish" else place)])


@pytest.fixture
def fleet(tmp_path: Path, operate: Callable[..., int]) -> Fleet:
    """One that serves a good snapshot; half of it is to serve a second one."""
    assert main(["keys", "init", str(tmp_path / "keys")]) == 0
    names = []
    for number in range(2):
        path = tmp_path / str(number)
        write_toy(path, model=toy_model(repeat={"*": 0.1 + number / 10}))
        assert operate("publish", str(path)) == 0
        names.append(read_manifest(path).snapshot_id)
    assert operate("announce", names[0]) == 0
    assert operate("confirm") == 0
    assert operate("announce", names[1], "--ring=50") == 0
    return Fleet(open_store(str(tmp_path / "store")), tmp_path / "keys", names[1])


HASTY = ("rollout", "--rings=50,100", "--bake-s=0", "--patience-s=30", "--every-s=0.01")


def test_where_nodes_do_well_it_is_promoted_and_called_good(
    fleet: Fleet, operate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet.telling():
        assert operate(*HASTY) == 0
    told = capsys.readouterr().out
    assert [word in told for word in ("promoted: ", "confirmed: ")] == [True, True]
    channel = fleet.channel()
    assert channel.last_good is not None
    assert (channel.last_good.snapshot_id, channel.rollout.percent) == (fleet.second, 100)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"guards": replace(QUIET, errors=2500)}, "errors"),
        ({"guards": replace(QUIET, empty=5000)}, "empty"),
        ({"guards": replace(QUIET, worker_deaths=9)}, "workers died"),
    ],
    ids=["failures", "empty answers", "deaths"],
)
def test_where_nodes_do_worse_it_is_revoked(
    fleet: Fleet,
    operate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    said: dict[str, object],
    reason: str,
) -> None:
    fleet.said = said
    with fleet.telling():
        assert operate(*HASTY, "--dry-run") == 7
        assert fleet.channel().target is not None
        assert operate(*HASTY) == 7
    told = capsys.readouterr()
    assert "would be revoked: " in told.out
    assert reason in told.err
    channel = fleet.channel()
    assert fleet.second in {one.snapshot_id for one in channel.revoked}
    assert channel.target is None or channel.target.snapshot_id != fleet.second


def test_a_node_that_refuses_it_ends_it(fleet: Fleet, operate: Callable[..., int]) -> None:
    began = Swap(at=NOW, snapshot_id=fleet.second, what="quarantined", reason="not proved")
    fleet.said = {"swaps": [began]}
    with fleet.telling():
        assert operate(*HASTY) == 7
    assert fleet.second in {one.snapshot_id for one in fleet.channel().revoked}


def test_who_comes_second_looks_again(
    fleet: Fleet, operate: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody renews the channel between its look and its change."""
    n_tries = 0

    def overtaken(
        store: Store, before: InForce | None, after: Channel, keys: list[SigningKey]
    ) -> Channel:
        nonlocal n_tries
        n_tries += 1
        if n_tries == 1:
            assert operate("renew") == 0
        return write_channel(store, before, after, keys)

    monkeypatch.setattr("index.shipping.rollout_cli.write_channel", overtaken)
    with fleet.telling():
        assert operate(*HASTY) == 0
    channel = fleet.channel()
    assert n_tries == 3, "promoted in vain, promoted, confirmed"
    assert channel.last_good is not None
    assert channel.last_good.snapshot_id == fleet.second
