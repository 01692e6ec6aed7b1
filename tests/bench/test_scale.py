"""How costs grow: everybody gets the same turns, and judgements are what paper says."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from bench.scale import NoRoom, Plan, disk_bytes, measure_scale, require_room, split_cores
from bench.scale_report import judged, judgement_table, size_table, worker_table
from bench.synthetic import Shape, write_synthetic

SMALL = Shape(n_customers=1000, n_offers=1000, personal_rows=8, history_rows=4)


def size(customers: int, **other: float) -> dict[str, Any]:
    row = {
        "customers": customers,
        "disk_bytes": 1e6,
        "open_ms": 20.0,
        "warm_ms": 1.0,
        "p50_us": 40.0,
    }
    row |= {
        "first_us": 60.0,
        "served_p50_us": 200.0,
        "served_new_us": 300.0,
        "served_paused_us": 400.0,
    }
    row |= {"served_first_us": 500.0}
    return row | {"worker_private_bytes": 40e6} | other


FIRST = "first request of a fresh worker, beside others over new connections"


@pytest.mark.slow
def test_one_worker_and_two_and_a_size_are_measured() -> None:
    found = measure_scale(Plan(shapes=[SMALL], rounds=1, requests=60, connections=4))

    assert found["workers"].keys() == {"1", "2"}
    assert found["workers"]["1"]["busiest_share"] == 1.0
    assert 0.5 <= found["workers"]["2"]["busiest_share"] <= 1.0
    one, two = (found["workers"][n]["cpu_us"] for n in ("1", "2"))
    assert found["scaling"]["by_cpu"] == pytest.approx(2 * one / two, abs=0.01)
    assert [row["customers"] for row in found["sizes"]] == [1000]
    assert all(value > 0 for row in found["sizes"] for value in row.values())
    assert len(worker_table(found).splitlines()) == 5
    assert len(size_table(found["sizes"]).splitlines()) == 2


def test_aims_are_judged_beside_the_smallest_size() -> None:
    sizes = [size(1000), size(5000, p50_us=50.0, open_ms=60.0, served_first_us=660.0)]

    verdicts = {name: (value, kept) for name, value, _, kept in judged(sizes)}

    assert verdicts == {
        "decide p50, largest beside smallest": (1.25, True),
        "HTTP p50, largest beside smallest": (1.0, True),
        "private memory of a worker, beside the smallest": (1.0, True),
        "longest open, ms": (60.0, False),
        "first decision after a change-over, beside p50": (1.5, True),
        f"{FIRST} after a pause": (1.65, True),
        f"{FIRST} without one": (2.2, False),
    }
    assert judgement_table(sizes).count("missed") == 2


def test_where_the_disk_is_too_small_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil has it
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(4 << 30, 0, 3 << 30))

    require_room(tmp_path, [SMALL])
    with pytest.raises(NoRoom, match=r"3\.0 GiB free, expected"):
        require_room(tmp_path, [SMALL, Shape(n_customers=10_000_000, personal_rows=8)])


def test_a_snapshot_takes_no_more_disk_than_was_asked_for(tmp_path: Path) -> None:
    shape = Shape(n_customers=20_000, n_offers=1000, personal_rows=8, history_rows=4)

    write_synthetic(tmp_path / "snapshot", shape)

    taken = sum(file.stat().st_size for file in (tmp_path / "snapshot").iterdir())
    assert taken <= disk_bytes(shape) <= 2 * taken


def test_a_driver_has_its_own_core_where_there_is_one_more_than_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    assert split_cores(1) == ({0}, {1}, True)
    assert split_cores(2) == ({0, 1}, {0, 1}, False)
