"""A heartbeat: what updating says of itself, and the workers' last minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from edge.cells import READY, blank_rows, row_of
from edge.counters import Counters
from edge.fleet import Fleet
from edge.node.heartbeat import BEAT_S, GuardWindow, heartbeat_of
from index.shipping.heartbeat import Swap
from index.shipping.heartbeat_store import HeartbeatWriter, hear_fleet
from index.shipping.names import channel_key
from index.shipping.store import open_store
from tests.index.shipping.repository import Repository


def test_counts_are_those_of_the_window_and_of_all_workers() -> None:
    cells = memoryview(bytearray(blank_rows(2).tobytes() + bytes(8))).cast("Q")
    counters = [Counters(row_of(cells, slot), ("checkout",)) for slot in range(2)]
    window, fleet = GuardWindow(cells, 2, span_s=60.0), Fleet(cells, 2)

    def work(n: int, score: float, code: int = 200) -> None:
        for at in range(n):
            one = counters[at % 2]
            one.arrived()
            one.decided("checkout" if at % 2 else "elsewhere", "individual", 50_000)
            one.shown(1 if code == 200 else 0, score)
            one.answered(code)

    work(7, -1.0)
    first = window.look(0.0)
    assert (first.window_s, first.requests, first.decisions, first.p99_us) == (0.0, 0, 0, None)
    work(4, -2.0)
    work(2, -9.0, code=500)
    fleet.forget(1)
    soon = window.look(30.0)
    assert (soon.window_s, soon.requests, soon.errors, soon.empty) == (30.0, 6, 2, 2)
    assert (soon.decisions, soon.tiers["individual"], soon.tiers["safe"]) == (6, 6, 0)
    assert (soon.scored, soon.score_sum, soon.score_squares) == (4, -8.0, 16.0)
    assert (soon.p50_us, soon.p99_us, soon.worker_deaths) == (50.0, 50.0, 1)
    work(3, 0.5)
    later = window.look(90.0)
    assert (later.window_s, later.requests, later.score_sum) == (60.0, 3, 1.5)
    assert later.worker_deaths == 0
    gone = window.look(200.0)
    assert (gone.window_s, gone.requests, gone.score_sum) == (0.0, 0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    brand: str = "toy"
    channel: str = "stable"
    trust: Literal["signed", "insecure"] = "insecure"
    phase: str = "watching"
    epoch: int | None = 7
    wanted: str | None = "tuesday"
    failure: str | None = "unreachable"
    detail: str | None = "x" * 900
    pinned: bool = True
    n_quarantined: int = 2


def test_a_heartbeat_holds_what_is_known_and_comes_back_from_a_store(tmp_path: Path) -> None:
    cells = memoryview(bytearray(blank_rows(2).tobytes() + bytes(8))).cast("Q")
    now = datetime.now(UTC)
    for slot, sequence in ((0, 5), (1, 4)):
        row = row_of(cells, slot)
        row[READY] = 1
        Counters(row).overlaid(sequence, int(now.timestamp()) - 60, int(now.timestamp()), 3, 1, 0)
    swaps = [
        Swap(at=now - timedelta(hours=30 - at), snapshot_id=f"night-{at}", what="activated")
        for at in range(30)
    ]
    beat = heartbeat_of(
        "edge-1",
        Facts(),
        GuardWindow(cells, 2),
        snapshot_id="monday",
        swaps=swaps,
        verdict="pass",
        uptime_s=1.5,
        now=now,
        now_s=10.0,
    )
    open_store(tmp_path).create(channel_key("toy", "stable"), b"any")
    HeartbeatWriter(open_store(tmp_path), []).write(beat)
    (heard,) = hear_fleet(open_store(tmp_path), "toy", "stable", None, now)

    assert heard.heartbeat == beat
    assert (beat.n_workers, beat.n_ready, beat.interval_s) == (2, 2, BEAT_S)
    assert (beat.overlay_sequence, beat.overlay_is_stale) == (4, True)
    assert [swap.snapshot_id for swap in beat.swaps] == [f"night-{at}" for at in range(10, 30)]
    assert (beat.epoch, beat.wanted, beat.pinned, beat.verdict) == (7, "tuesday", True, "pass")
    assert beat.detail == "x" * 499 + "…"


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", "\N{SLEEPING SYMBOL}", "\x00", '"'])
def test_however_much_there_is_to_say_readers_take_it(tmp_path: Path, letter: str) -> None:
    cells, now = blank_rows(), datetime.now(UTC)
    swap = Swap(at=now, snapshot_id="s" * 100, what="quarantined", reason=letter * 5000)
    beat = heartbeat_of(
        "edge-1",
        Facts(detail=letter * 5000),
        GuardWindow(cells, 1),
        snapshot_id="monday",
        swaps=[swap] * 50,
        verdict=None,
        uptime_s=1.0,
        now=now,
        now_s=0.0,
    )
    repository, store = Repository(), open_store(tmp_path / "store")
    store.create(channel_key("toy", "stable"), b"any")
    HeartbeatWriter(store, repository.keys["node"]).write(beat)
    (heard,) = hear_fleet(store, "toy", "stable", [repository.newest], now)

    assert (heard.problem, heard.is_vouched) == (None, True)
    assert heard.heartbeat == beat
    assert [one.reason for one in beat.swaps] == [f"{letter * 199}…"] * 20
