"""What documents say of runs: verdicts are those of the figures, and a second writing is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from bench.capacity import rehearsal, volume_at
from bench.http_figures import Run, Turn, summary_of
from bench.http_load import Lap
from bench.http_open import open_rows
from bench.page_tables import beside_rows, capacity_page, growth_rows, http_rows, readme_numbers
from bench.pages import BEGIN, END, RUNS, write_pages
from bench.simulate import ServiceTimes
from tests.bench.turns import open_turn

MACHINE = {"cores": 2, "cpu": "a CPU", "python": "3.11", "date": "2026-11-29T00:00:00"}
MACHINE |= {"commit": "abc", "command": "almanac bench", "is_real_time": False}
ASPECTS = {"customer": "yes", "cart": "left out", "moment": "no"}


def http_run(costs: dict[tuple[str, str], int]) -> dict[str, Any]:
    """A run in which one request of each contender took so many microseconds."""
    turns, laps, at_rate = [], {}, []
    for (contender, server), cpu_us in costs.items():
        at_rate.append(open_turn(f"{contender} {server}", wait_us=cpu_us))
        for connections in (1, 16):
            turn = Turn(
                contender=contender,
                server=server,
                connections=connections,
                round=1,
                requests=1,
                errors=0,
                cpu_ns=cpu_us * 1000,
                redis_cpu_ns=0,
                driver_cpu_ns=1,
                wall_ns=cpu_us * 1000,
            )
            turns.append(turn)
            one = np.array([cpu_us * 1000])
            laps[turn.row] = [
                Lap(
                    nanoseconds=one,
                    statuses=np.array([200]),
                    sizes=one,
                    decided_us=np.array([np.nan]),
                    wall_ns=1,
                    cpu_ns=1,
                )
            ]
    facts: dict[str, Any] = {
        "share_of_other_work": 0.1,
        "share_stolen_by_the_host": 0.0,
        "depends_on": {contender: ASPECTS for contender, _ in costs},
        "skipped": {"feast": "there is no Feast"},
    }
    run = Run(turns=turns, laps=laps, at_rate=at_rate, facts=facts)
    return {"machine": MACHINE, **summary_of(run)}


@pytest.fixture
def runs() -> dict[str, dict[str, Any]]:
    http = http_run(
        {
            ("edge", "uvicorn"): 200,
            ("edge", "granian"): 400,
            ("no-op", "uvicorn"): 50,
            ("redis", "uvicorn"): 300,
            ("redis", "granian"): 300,
            ("model", "uvicorn"): 1000,
            ("scikit", "uvicorn"): 2000,
            ("nginx", "files"): 20,
        }
    )
    size = {"customers": 1000, "disk_bytes": 1e6, "open_ms": 60.0, "warm_ms": 1.0, "p50_us": 40.0}
    size |= {
        "first_us": 60.0,
        "served_p50_us": 200.0,
        "served_new_us": 300.0,
        "served_paused_us": 400.0,
    }
    size |= {"served_first_us": 500.0, "worker_private_bytes": 40e6}
    worker = {"cpu_us": 200.0, "per_second": 4000.0, "driver_busy": 0.2, "busiest_share": 0.5}
    scale = {
        "machine": MACHINE,
        "workers": {"1": worker, "2": worker},
        "scaling": {"by_cpu": 1.9, "lowest": 1.8, "highest": 2.0, "by_clock": 1.2},
        "sizes": [size],
    }
    times = ServiceTimes(alone_s=np.array([0.0002]), crowded=0.8, around_s=0.0)
    told = rehearsal(
        volume_at(100.0), times, workers_per_node=4, noticed_s=1.0, swap_s=0.05, seed=1
    )
    figures = {"p50_us": 300.0, "p90_us": 400.0, "p99_us": None, "max_us": 500.0, "cpu_us": 200.0}
    check: dict[str, Any] = {"workers": 1, "load": 0.3, "per_second": 1000.0, "is_trusted": False}
    check |= {"real": figures, "simulated": figures}
    capacity = {
        "machine": MACHINE,
        "workers_per_node": 4,
        "cost": {"alone_cpu_us": 200.0, "crowded_cpu_us": 160.0},
        "rehearsals": [told],
        "check": [check],
    }
    kinds = [
        "raw LMDB get",
        "individual, 0 cart items",
        "individual, 3 cart items",
        "individual, 10 cart items",
        "context, 3 cart items",
        "context, 1 new item (vector search)",
    ]
    contenders = {kind: {"p50_us": 26.4, "p99_us": 57.0} for kind in kinds}
    decision: dict[str, Any] = {
        "machine": MACHINE,
        "runs": [{"snapshot": {"customers": 1000}, "contenders": contenders}],
    }
    # As they are read back from disk, where keys are sorted.
    return {
        name: orjson.loads(orjson.dumps(run, option=orjson.OPT_SORT_KEYS))
        for name, run in zip(RUNS, (decision, http, scale, capacity), strict=True)
    }


def test_who_is_ahead_and_which_aim_was_kept(runs: dict[str, dict[str, Any]]) -> None:
    rows = {row[0]: row[1:] for row in beside_rows(runs["http"])}

    assert rows["Starlette + Redis, lists ready (uvicorn)"] == [
        "300",
        "yes / left out / no",
        "1.50 ×",
        "1.3 ×",
        "ahead; aim kept",
    ]
    assert rows["Starlette + Redis, lists ready (granian)"][2:] == [
        "0.75 ×",
        "1.3 ×",
        "behind; aim missed",
    ]
    # Granian, then uvicorn.
    assert rows["FastAPI + implicit ALS, asked in the handler (uvicorn)"][2:] == [
        "2.50 × / 5.00 ×",
        "10 ×",
        "ahead; aim missed",
    ]
    assert rows["FastAPI + scikit-learn boosted trees, asked in the handler (uvicorn)"][2:] == [
        "5.00 × / 10.00 ×",
        "10 ×",
        "ahead; aim kept",
    ]
    nginx = rows["nginx, a ready file per customer: the limit (files)"]
    assert nginx[2:] == ["0.05 × / 0.10 ×", "told", "behind"]
    assert rows["Almanac (uvicorn)"][2:] == ["", "", ""]


def test_every_service_is_told_at_one_connection_and_at_many(
    runs: dict[str, dict[str, Any]],
) -> None:
    rows = http_rows(runs["http"])

    assert len(rows) == 1 + 8
    assert {len(row) for row in rows} == {len(rows[0])}


def test_who_keeps_shoppers_waiting_least_is_told_first(runs: dict[str, dict[str, Any]]) -> None:
    rows = open_rows(runs["http"]["at_rate"])

    assert [row[0] for row in rows[1:4]] == ["nginx, files", "no-op, uvicorn", "edge, uvicorn"]
    assert "nginx, files" in readme_numbers(runs).partition("In the same run in an open loop")[2]


def test_growing_is_judged(runs: dict[str, dict[str, Any]]) -> None:
    verdicts = [row[-1] for row in growth_rows(runs["scale"])[1:]]

    assert verdicts == ["kept", "kept", "kept", "kept", "missed", "kept", "kept", "kept"]


def test_absent_contenders_and_other_work_are_told(runs: dict[str, dict[str, Any]]) -> None:
    text = readme_numbers(runs)

    assert "`feast` took no part: there is no Feast." in text
    assert "the trees rank the 200 most popular offers" in text
    assert "other work took 10% of all cores meanwhile" in text
    assert "was the bottleneck" in capacity_page(runs)


def test_documents_are_written_once(runs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    results = tmp_path / "results"
    for name, run in runs.items():
        (results / f"{name}-20260101T000000Z").mkdir(parents=True)
        (results / f"{name}-20260101T000000Z" / "summary.json").write_bytes(orjson.dumps(run))
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "README.md", tmp_path / "docs" / "capacity.md"):
        path.write_text(f"before\n{BEGIN}\n{END}\nafter\n")

    first, second = write_pages(tmp_path, results), write_pages(tmp_path, results)

    assert len(first) == 2
    assert second == []
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before\n{BEGIN}\n\nMeasured by `make bench` on 2 cores of a CPU")
    assert text.endswith(f"\n\n{END}\nafter\n")
