"""A run over HTTP: everybody gets the same turns, and figures are what paper says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.http import Plan, measure_http
from bench.http_figures import Run, Turn, cpu_ratios, own_work_s, summary_of
from bench.http_load import Lap
from bench.http_profile import NO_OP, PARTS, PAST, WHOLE, profile_edge
from bench.http_report import company_line, ratio_lines, row_table
from bench.synthetic import Shape
from tests.bench.turns import open_turn
from tests.bench.verbs import kept_by


def turn(
    contender: str, number: int, *, cpu_ns: int, redis_cpu_ns: int = 0, server: str = "uvicorn"
) -> Turn:
    return Turn(
        contender=contender,
        server=server,
        connections=8,
        round=number,
        requests=10,
        errors=0,
        cpu_ns=cpu_ns,
        redis_cpu_ns=redis_cpu_ns,
        driver_cpu_ns=100,
        wall_ns=1_000_000,
    )


def lap(nanoseconds: list[int], statuses: list[int]) -> Lap:
    return Lap(
        nanoseconds=np.array(nanoseconds),
        statuses=np.array(statuses),
        sizes=np.full(len(nanoseconds), 7),
        decided_us=np.array([np.nan, *[50.0] * (len(nanoseconds) - 1)]),
        wall_ns=1,
        cpu_ns=1,
    )


def test_ratios_are_taken_round_by_round() -> None:
    turns = [
        turn("edge", 1, cpu_ns=100),
        turn("edge", 2, cpu_ns=400),
        turn("edge", 3, cpu_ns=300),
        turn("no-op", 1, cpu_ns=50),
        turn("no-op", 2, cpu_ns=100),
        turn("no-op", 3, cpu_ns=100),
        turn("redis", 1, cpu_ns=150, redis_cpu_ns=50),
    ]

    assert cpu_ratios(turns) == {
        "edge uvicorn / no-op uvicorn 8": {
            "median": 3.0,
            "lowest": 2.0,
            "highest": 4.0,
            "times_per_core": 0.333,
        },
        "edge uvicorn / redis uvicorn 8": {
            "median": 0.5,
            "lowest": 0.5,
            "highest": 0.5,
            "times_per_core": 2.0,
        },
    }


def test_who_refuses_is_not_cheap() -> None:
    refusing = replace(turn("redis", 1, cpu_ns=10), errors=9)
    dead = replace(turn("redis", 2, cpu_ns=1), errors=10)

    found = cpu_ratios([turn("edge", 1, cpu_ns=100), turn("edge", 2, cpu_ns=100), refusing, dead])

    assert found["edge uvicorn / redis uvicorn 8"]["median"] == 1.0


def test_who_brings_a_server_is_compared_with_the_edge_under_each_of_ours() -> None:
    turns = [
        turn("edge", 1, cpu_ns=100),
        turn("edge", 1, cpu_ns=200, server="granian"),
        turn("redis", 1, cpu_ns=100, server="granian"),
        replace(turn("feast", 1, cpu_ns=300, redis_cpu_ns=100, server="gunicorn"), requests=4),
    ]

    found = {name: ratio["median"] for name, ratio in cpu_ratios(turns).items()}

    assert found == {
        "edge granian / redis granian 8": 2.0,
        "edge granian / feast gunicorn 8": 0.2,
        "edge uvicorn / feast gunicorn 8": 0.1,
    }


def test_a_row_adds_up_its_turns_and_leaves_errors_out_of_its_latencies() -> None:
    turns = [
        replace(turn("redis", 1, cpu_ns=20_000, redis_cpu_ns=10_000), errors=2),
        replace(turn("redis", 2, cpu_ns=40_000, redis_cpu_ns=10_000), errors=3),
    ]
    laps = [lap([1000, 2000, 9000], [200, 200, 503]), lap([3000, 0, 0], [200, 0, 0])]
    run = Run(turns=turns, laps={turns[0].row: laps}, at_rate=[], facts={})

    row = summary_of(run)["rows"]["redis uvicorn 8"]

    assert (row["requests"], row["errors"]) == (20, 5)
    assert (row["cpu_us"], row["redis_cpu_us"], row["cpu_together_us"]) == (4.0, 1.33, 5.33)
    assert (row["max_us"], row["answer_bytes"]) == (3.0, 7)
    assert row["decide_p50_us"] == 50.0
    assert row["core_busy"] == 0.04
    assert row["per_second"] == 1500.0
    assert run.samples()["redis uvicorn 8"].tolist() == [1000, 2000, -1, 3000, -1, -1]


def test_a_row_without_a_single_answer_is_still_told() -> None:
    one = replace(turn("edge", 1, cpu_ns=1), errors=10)
    run = Run(turns=[one], laps={one.row: [lap([0], [0])]}, at_rate=[], facts={})

    summary = summary_of(run)

    assert summary["rows"]["edge uvicorn 8"]["per_second"] == 0.0
    assert "edge uvicorn" in row_table(summary["rows"])


def test_ratios_stand_beside_their_aims() -> None:
    ratios = {
        "edge granian / no-op granian 16": {
            "median": 1.5,
            "lowest": 1.4,
            "highest": 1.61,
            "times_per_core": 0.667,
        }
    }

    assert " ".join(ratio_lines(ratios).splitlines()[1].split()) == (
        "edge granian / no-op granian 16 1.50 1.40 1.61 at most 1.35 0.67 ×"
    )


def test_own_work_is_that_of_both_loops_and_their_driver() -> None:
    closed = turn("redis", 1, cpu_ns=10**9, redis_cpu_ns=2 * 10**9)  # and 100 ns of the driver
    opened = open_turn("redis uvicorn", wait_us=1, n=1000, cpu_us=4000)  # and 1 ns

    assert own_work_s([closed, closed], [opened]) == 10.000000201


def test_the_company_is_told() -> None:
    facts = {"share_of_other_work": 0.456, "share_stolen_by_the_host": 0.0}

    assert company_line(facts) == "Other work took 46% of all cores meanwhile, the host 0%."


def test_everybody_gets_the_same_turns() -> None:
    plan = Plan(
        shape=Shape(n_customers=1000, n_offers=1000),
        rounds=2,
        requests=30,
        connections=4,
        rate=500.0,
        servers=("uvicorn",),
        with_redis=False,
    )

    run = measure_http(plan)

    who_all = ("edge", "no-op", "edge-heads", "edge-asgi")
    rows = {f"{who} uvicorn {connections}" for who in who_all for connections in (1, 4)}
    assert run.laps.keys() == rows
    assert [[len(lap.statuses) for lap in laps] for laps in run.laps.values()] == [[30, 30]] * 8
    assert [one.errors for one in run.turns] == [0] * 16
    assert [(one.contender, one.round) for one in run.turns if one.connections == 4] == [
        ("no-op", 1),
        ("edge-heads", 1),
        ("edge-asgi", 1),
        ("edge", 1),
        ("edge-heads", 2),
        ("edge-asgi", 2),
        ("edge", 2),
        ("no-op", 2),
    ]
    assert [(one.row, len(one.samples.due_ns)) for one in run.at_rate] == [
        (f"{one.contender} uvicorn", 30) for one in run.turns if one.connections == 4
    ]
    assert all(one.samples.good.all() and one.cpu_ns > 0 for one in run.at_rate)
    assert all((one.waits_ns > 0).all() for one in run.at_rate)
    told = [lap.decided_us for lap in run.laps["edge uvicorn 4"]]
    assert all((lap > 0).all() for lap in told)
    assert summary_of(run)["rows"]["no-op uvicorn 4"]["decide_p50_us"] is None
    assert all(one.cpu_ns > 0 and one.redis_cpu_ns == 0 for one in run.turns)
    assert run.facts["depends_on"] == {
        "edge": {"customer": "yes", "cart": "yes", "moment": "yes"},
        "edge-asgi": {"customer": "yes", "cart": "yes", "moment": "yes"},
        "edge-heads": {"customer": "yes", "cart": "yes", "moment": "yes"},
        "no-op": {"customer": "no", "cart": "no", "moment": "no"},
    }


def test_a_profile_times_every_part_of_every_call() -> None:
    times = profile_edge(Shape(n_customers=1000, n_offers=1000), 300)

    assert list(times) == [*PARTS, PAST, WHOLE, NO_OP]
    assert all(len(part) == 300 and (part > 0).all() for part in times.values())


@pytest.mark.parametrize("words", [["--profile"], ["--without=redis", "--server=uvicorn"]])
def test_the_verb_keeps_samples_and_prints_its_summary(words: list[str], tmp_path: Path) -> None:
    flags = ["--customers=1000", "--offers=1000", "--requests=40", "--rounds=1"]
    run_dir, kept = kept_by("http", *flags, *words, out_dir=tmp_path)

    assert kept["machine"]["command"].startswith("almanac bench http --customers 1000")
    samples = np.load(run_dir / "samples.npz")
    assert {len(samples[name]) for name in samples.files} == {40}
