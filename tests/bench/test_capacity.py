"""What a fleet costs: the arithmetic by hand, and the verb on the smallest of runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from almanac import main
from bench.capacity import UTILISATION, VOLUMES, Volume, balanced, need, rehearsal, volume_at
from bench.capacity_check import Cost, cost_of_run
from bench.capacity_cli import capacity
from bench.capacity_report import check_rows, need_rows, rehearsal_rows
from bench.http_processes import ServerFailed
from bench.simulate import ServiceTimes
from tests.bench.verbs import kept_by

STEADY = ServiceTimes(alone_s=np.array([0.0002]), crowded=1.0, around_s=0.0)


def test_volumes_are_what_their_names_say() -> None:
    month, year, peak = VOLUMES

    assert month.mean_per_s * 86_400 * 30 == pytest.approx(10e6)
    assert year.mean_per_s * 86_400 * 365 == pytest.approx(1e9)
    assert month.peak_per_s / month.mean_per_s == year.peak_per_s / year.mean_per_s == 5.0
    assert peak.peak_per_s == 100_000.0


@pytest.mark.parametrize(
    ("peak_per_s", "cores", "workers", "nodes"),
    [
        (100_000.0, 20.0, 34, 10),  # 20 / 0.6 = 33.3; 34 / 4 = 8.5; one to spare
        (12_000.0, 2.4, 4, 2),
        (19.3, 0.00386, 1, 2),
    ],
)
def test_cores_workers_and_nodes_follow_from_microseconds(
    peak_per_s: float, cores: float, workers: int, nodes: int
) -> None:
    times = ServiceTimes(alone_s=np.array([0.0002, 0.0003]), crowded=0.8, around_s=0.0)

    found = need(Volume(name="", mean_per_s=1.0, peak_per_s=peak_per_s), times, 4)

    assert found.cores == pytest.approx(cores)
    assert found.cores_alone == pytest.approx(cores / 0.8)
    assert (found.workers, found.nodes) == (workers, nodes)
    assert found.cores / found.workers <= UTILISATION


def test_a_rehearsal_accounts_for_every_request_and_loses_only_what_the_lost_node_had() -> None:
    volume = Volume(name="small", mean_per_s=1000.0, peak_per_s=5000.0)

    told = rehearsal(volume, STEADY, workers_per_node=1, noticed_s=0.5, swap_s=0.02, seed=1)

    assert told["need"]["nodes"] == 3
    for parts in told["balancers"].values():
        requests = {name: part["requests"] for name, part in parts.items()}
        assert sum(requests.values()) == pytest.approx(2000 + 8 * 5000, rel=0.02)
        lost = {name: part["lost"] for name, part in parts.items() if part["lost"]}
        assert lost.keys() <= {"peak", "a node lost"}  # what was under way came before the loss
        assert lost["a node lost"] > 0.9 * 5000 * 0.5 / 3
        assert parts["after"]["lost"] == 0
    # A node that refuses at once looks idle to who counts what is under way.
    random, least = (
        told["balancers"][name]["a node lost"]["lost"] for name in ("random", "least-connections")
    )
    assert least > 1.2 * random


@pytest.mark.parametrize("noticed_s", [0.2, 4.0])
def test_a_lost_node_is_sent_to_for_as_long_as_was_asked(noticed_s: float) -> None:
    """Every other request of the two nodes; the part is a second long, or as long as that."""
    told = rehearsal(
        volume_at(4000.0), STEADY, workers_per_node=4, noticed_s=noticed_s, swap_s=0.0, seed=1
    )

    assert told["need"]["nodes"] == 2
    assert told["trouble"]["noticed_s"] == noticed_s
    assert told["seconds"] == pytest.approx(9.0 + max(noticed_s, 1.0))
    parts = told["balancers"]["random"]
    lost = parts["a node lost"]
    assert lost["requests"] == pytest.approx(4000 * max(noticed_s, 1.0), rel=0.05)
    assert lost["lost"] == pytest.approx(2000 * noticed_s, rel=0.1)
    assert parts["noticed"]["lost"] == 0
    assert parts["swap"]["requests"] == pytest.approx(4000, rel=0.05)


@pytest.mark.parametrize(
    ("flags", "code", "problem", "remedy"),
    [
        (["--peak=0"], 2, "for --peak. Must be >= 0.001", "--help"),
        (["--peak=nan"], 2, "for --peak. Must be >= 0.001", "--help"),
        (["--peak=100", "--peak=-5"], 2, "for --peak. Must be >= 0.001", "--help"),
        (["--peak=inf"], 2, "has inf requests, at most 20,000,000", "give a lower --peak"),
        (["--notice-s=600"], 2, "and 600 s until a lost node is noticed", "shorter --notice-s"),
        (["--notice-s=nan"], 2, "for --notice-s. Must be >= 0", "--help"),
        (["--swap-ms=inf"], 2, "for --swap-ms. Must be <= 3600000", "--help"),
        (["--seed=-1"], 2, "Must be >= 0", "--help"),
        (["--http-run=nope"], 4, "nope: no run can be read there (No such file", "--http-run"),
        (["--http-run={other}"], 4, "that is no run of `almanac bench http`", "--http-run"),
    ],
)
def test_what_cannot_be_told_is_refused_before_anything_is_measured(
    flags: list[str],
    code: int,
    problem: str,
    remedy: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "summary.json").write_text("{}")
    words = [flag.format(other=tmp_path) for flag in flags]

    assert main(["bench", "capacity", *words, f"--out-dir={tmp_path / 'runs'}"]) == code

    said, hint = capsys.readouterr().err.split("hint: ")
    assert problem in said
    assert remedy in hint


def test_costs_become_times_whose_mean_is_processor_time() -> None:
    cost = Cost(
        latencies_ns=np.array([200_000, 300_000, 400_000]),
        alone_cpu_us=240.0,
        crowded_cpu_us=180.0,
    )

    times = cost.times()

    assert times.alone_s.mean() == pytest.approx(240e-6)
    assert times.alone_s.tolist() == pytest.approx([160e-6, 240e-6, 320e-6])
    assert times.crowded_s == pytest.approx(180e-6)
    assert times.around_s == pytest.approx(60e-6)


def test_a_kept_run_tells_costs_by_server(tmp_path: Path) -> None:
    rows = {
        "edge uvicorn 1": {"cpu_together_us": 250.0},
        "edge uvicorn 16": {"cpu_together_us": 200.0},
        "edge granian 1": {"cpu_together_us": 350.0},
        "redis uvicorn 1": {"cpu_together_us": 1.0},
    }
    (tmp_path / "summary.json").write_bytes(orjson.dumps({"rows": rows}))
    samples: dict[str, Any] = {"edge uvicorn 1": np.array([300_000, -1, 310_000])}
    np.savez(tmp_path / "samples.npz", **samples)

    cost = cost_of_run(tmp_path, "uvicorn")

    assert (cost.alone_cpu_us, cost.crowded_cpu_us) == (250.0, 200.0)
    assert cost.latencies_ns.tolist() == [300_000, 310_000]  # failures are no times
    with pytest.raises(ServerFailed, match="no rows of the edge under granian"):
        cost_of_run(tmp_path, "granian")


def test_the_command_that_is_kept_asks_for_the_same_rates_of_the_same_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "a run"
    run_dir.mkdir()
    rows = {f"edge uvicorn {crowd}": {"cpu_together_us": 200.0} for crowd in (1, 16)}
    (run_dir / "summary.json").write_bytes(orjson.dumps({"rows": rows}))
    samples: dict[str, Any] = {"edge uvicorn 1": np.full(10, 300_000)}
    np.savez(run_dir / "samples.npz", **samples)

    capacity(peak=[1234.5678], http_run=run_dir, out_dir=tmp_path, json=True)

    words = shlex.split(orjson.loads(capsys.readouterr().out)["machine"]["command"])
    assert words[words.index("--peak") + 1] == "1234.5678"
    assert words[words.index("--http-run") + 1] == str(run_dir)


def test_two_workers_at_the_same_load_each_keep_the_cost_of_a_request() -> None:
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / 4000, 20_000))

    one, two = (
        balanced("random", workers, arrivals * (2 / workers), STEADY, seed=1) for workers in (1, 2)
    )

    assert one["cpu_us"] == pytest.approx(200.0)
    assert two["cpu_us"] == pytest.approx(200.0)
    assert two["p50_us"] == pytest.approx(one["p50_us"], rel=0.2)


@pytest.mark.slow
def test_the_verb_runs_one_worker_and_two_and_keeps_what_it_found(tmp_path: Path) -> None:
    flags = ["--customers=1000", "--offers=1000", "--requests=40", "--seconds=0.5", "--load=0.1"]
    flags += ["--peak=900", "--peak=20"]
    _, kept = kept_by("capacity", *flags, out_dir=tmp_path)

    assert [row["workers"] for row in kept["check"]] == [1, 2]
    assert [one["volume"]["peak_per_s"] for one in kept["rehearsals"]] == [900.0, 20.0]
    for row in kept["check"]:
        assert row["errors"] == {}
        assert row["requests"] > 0
        assert row["real"]["cpu_us"] > 0
        assert row["simulated"]["cpu_us"] > 0
    assert [len(row) for row in need_rows(kept)] == [6] * 3
    assert [len(row) for row in check_rows(kept["check"])] == [8] * 3
    assert len(rehearsal_rows(kept["rehearsals"])) == 1 + 2 * 2 * 6
