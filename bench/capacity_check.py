"""The simulation beside the real thing: one node with one worker, then with two, under open load.

Service times are measured first. Requests that come so seldom that each finds the worker asleep
give their distribution, and processor time their mean; a closed loop of many connections says what
a request takes where others wait. Then requests are due at the same moments in both worlds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.capacity import balanced
from bench.http_contenders import EDGE
from bench.http_load import Driver
from bench.http_processes import ServerFailed
from bench.http_requests import request_bodies
from bench.http_wire import on_the_wire
from bench.load.drive import drive
from bench.load.driver import Work
from bench.load.samples import Samples, failures, gathered
from bench.load.schedule import Schedule, constant, scheduled
from bench.load.target import target_of
from bench.load.verdict import Verdict, verdict_on
from bench.percentiles import percentiles_us
from bench.scale import split_cores
from bench.serving import Serving, serving
from bench.simulate import ServiceTimes
from bench.synthetic import Shape, write_synthetic
from index.wording import many

_BODIES: Final = 10_000
_CROWD: Final = 16
_LAPS: Final = 4
_SELDOM: Final = 0.1
"""How busy a worker is whose requests come alone."""
_KIND: Final = ("any",)
_TIMEOUT_NS: Final = 5_000_000_000


class NoSuchRun(Exception):
    """What a request costs can't be read from there."""

    exit_code = 4
    hint = "name a folder that `almanac bench http` kept its run in, or leave out --http-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured and simulated.

    Attributes:
        shape: of the synthetic shop.
        loads: how busy workers are to be, each a run with one worker and one with two.
        seconds: of each run.
        requests: of each lap that measures service times.
        seed: of all draws.
    """

    shape: Shape
    loads: Sequence[float]
    seconds: float
    requests: int
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a request costs.

    Attributes:
        latencies_ns: shape (requests,), of requests that come alone.
        alone_cpu_us: processor time of such a request.
        crowded_cpu_us: the same where others wait.
    """

    latencies_ns: NDArray[np.int64]
    alone_cpu_us: float
    crowded_cpu_us: float

    def times(self) -> ServiceTimes:
        """Times that a worker is busy: the latencies' distribution, processor time's mean.

        Of a lone request's latency the part that is no processor time of the worker is spent
        around it: in the loopback, and in a closed loop until the driver wakes.
        """
        mean_us = float(self.latencies_ns.mean()) / 1000
        share = min(self.alone_cpu_us / mean_us, 1.0)
        return ServiceTimes(
            alone_s=self.latencies_ns.astype(np.float64) * (share / 1e9),
            crowded=self.crowded_cpu_us / self.alone_cpu_us,
            around_s=float(np.median(self.latencies_ns)) * (1 - share) / 1e9,
        )


def cost_of_run(run_dir: Path, server: str) -> Cost:
    """What a request costs by a run that `almanac bench http` kept.

    Args:
        run_dir: the run's folder.
        server: under which the edge ran.

    Raises:
        NoSuchRun: there is no run, or that of another benchmark.
        ServerFailed: the run has no such row.
    """
    rows, samples = _kept(run_dir)
    crowds = sorted(
        int(name.rpartition(" ")[2]) for name in rows if name.startswith(f"{EDGE} {server} ")
    )
    if len(crowds) < 2:
        raise ServerFailed(f"{run_dir} has no rows of the edge under {server}")
    alone, crowded = (f"{EDGE} {server} {crowds[place]}" for place in (0, -1))
    if None in (rows[alone]["cpu_together_us"], rows[crowded]["cpu_together_us"]):
        raise ServerFailed(f"in {run_dir} the edge under {server} gave no good answer")
    latencies = samples[alone]
    return Cost(
        latencies_ns=latencies[latencies >= 0],
        alone_cpu_us=rows[alone]["cpu_together_us"],
        crowded_cpu_us=rows[crowded]["cpu_together_us"],
    )


def _kept(run_dir: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.int64]]]:
    try:
        rows = orjson.loads((run_dir / "summary.json").read_bytes())["rows"]
        with np.load(run_dir / "samples.npz") as samples:
            return rows, dict(samples)
    except OSError as problem:
        raise NoSuchRun(f"{run_dir}: no run can be read there ({problem.strerror})") from problem
    except (KeyError, orjson.JSONDecodeError) as problem:
        raise NoSuchRun(f"{run_dir}: that is no run of `almanac bench http`") from problem


def check(plan: Plan) -> tuple[Cost, list[dict[str, Any]]]:
    """Measure what a request costs, then run and simulate the same load.

    Returns:
        The cost, and a row for each number of workers and load: what really happened, what the
        simulation says, and whether the driver was the bottleneck.

    Raises:
        ServerFailed: a process did not start, or ended.
    """
    with tempfile.TemporaryDirectory(prefix="almanac-bench-") as name:
        folder = Path(name)
        snapshot = folder / "snapshot"
        write_synthetic(snapshot, plan.shape)
        wire = [on_the_wire(body) for body in request_bodies(plan.shape, _BODIES)]
        with serving(snapshot, workers=1, folder=folder, cores=split_cores(1)[0]) as node:
            cost = _measured(plan, node, wire)
            rows = [_both(plan, node, wire, cost, load) for load in plan.loads]
        with serving(snapshot, workers=2, folder=folder, cores=split_cores(2)[0]) as node:
            rows += [_both(plan, node, wire, cost, load) for load in plan.loads]
    return cost, rows


def _measured(plan: Plan, node: Serving, wire: Sequence[bytes]) -> Cost:
    crowded_us = _closed_loop(plan, node, wire)
    seconds = plan.requests * crowded_us / 1e6 / _SELDOM
    schedule = scheduled(constant(plan.requests / seconds, seconds), "poisson", plan.seed + 1)
    _open_loop(node, wire, schedule)  # once in vain: the first requests find everything cold
    samples, _, cpu_us = _open_loop(node, wire, schedule)
    return Cost(
        # From sending: where the driver was late itself, that is no part of what a request takes.
        latencies_ns=samples.service_ns[samples.good],
        alone_cpu_us=cpu_us,
        crowded_cpu_us=crowded_us,
    )


def _closed_loop(plan: Plan, node: Serving, wire: Sequence[bytes]) -> float:
    """Processor time of a request where there is always another one, in microseconds."""
    spent_ns = 0
    with Driver({EDGE: wire}, split_cores(1)[1]) as driver:
        for number in range(_LAPS + 1):
            before_ns = node.workers[0].cpu_ns()
            lap = driver.lap(
                EDGE,
                node.port,
                connections=_CROWD,
                start=number * plan.requests,
                n=plan.requests,
            )
            if lap.errors:
                raise ServerFailed(f"{many(lap.errors, 'request')} had no good answer")
            if number:  # the first lap warms up
                spent_ns += node.workers[0].cpu_ns() - before_ns
    return spent_ns / (_LAPS * plan.requests) / 1000


def _open_loop(
    node: Serving, wire: Sequence[bytes], schedule: Schedule
) -> tuple[Samples, Verdict, float]:
    """What became of requests that were due at given moments, and processor time of one."""
    workers, n = len(node.workers), len(schedule)
    work = Work(
        target=target_of(f"http://127.0.0.1:{node.port}"),
        wire=wire,
        due_ns=schedule.due_ns,
        which=np.arange(n) % len(wire),
        connections=_CROWD * workers,
        timeout_ns=_TIMEOUT_NS,
    )
    before_ns = sum(worker.cpu_ns() for worker in node.workers)
    traces, host = drive(work, cores=split_cores(workers)[1])
    cpu_ns = sum(worker.cpu_ns() for worker in node.workers) - before_ns
    samples = gathered(schedule, _KIND, np.zeros(n, dtype=np.uint8), traces)
    return samples, verdict_on(samples, traces, host), cpu_ns / n / 1000


def _both(
    plan: Plan, node: Serving, wire: Sequence[bytes], cost: Cost, load: float
) -> dict[str, Any]:
    workers = len(node.workers)
    rate = load * workers / (cost.alone_cpu_us / 1e6)
    schedule = scheduled(constant(rate, plan.seconds), "poisson", plan.seed)
    samples, verdict, cpu_us = _open_loop(node, wire, schedule)
    return {
        "workers": workers,
        "load": load,
        "per_second": round(rate, 1),
        "requests": len(schedule),
        "errors": failures(samples.statuses),
        "is_trusted": verdict.is_trusted,
        "verdict": verdict.sentence,
        "real": {
            **percentiles_us(samples.latency_ns[samples.timed]),
            "cpu_us": cpu_us,
        },
        "simulated": balanced(
            "random", workers, schedule.due_ns / 1e9, cost.times(), seed=plan.seed
        ),
    }
