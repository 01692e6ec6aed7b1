"""Services over HTTP, side by side: what one request costs each of them on one core.

All services run at once, pinned to one core, and take turns; the driver has another core. In every
round each service gets the same requests, first over one connection, then over many. Redis shares
the core of the service that asks it, so that a row is what one core gives.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.http_contenders import (
    REDIS,
    Contender,
    ServerName,
    check_answers,
    edge,
    load_lists,
    no_op,
    redis_lists_of,
    redis_server,
    served,
)
from bench.http_load import Driver, Lap
from bench.http_processes import Measured, machine_busy_s
from bench.http_requests import checkable_bodies, on_the_wire, request_bodies
from bench.synthetic import SECRET, Shape, write_synthetic
from index.snapshot import open_snapshot

_BODIES: Final = 10_000
_CHECKED: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        shape: of the synthetic shop.
        rounds: turns of every service; one more comes first and does not count.
        requests: in one turn, once over one connection and once over many.
        connections: how many are many.
        servers: under which each contender runs.
        with_redis: whether the Redis service takes part.
    """

    shape: Shape
    rounds: int
    requests: int
    connections: int
    servers: Sequence[ServerName]
    with_redis: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One service's lap, and what it cost.

    Attributes:
        contender: whose.
        server: under which.
        connections: asking at once.
        round: 1 for the first that counts.
        requests: sent.
        errors: without a good answer.
        cpu_ns: processor time of the service's own processes.
        redis_cpu_ns: processor time of redis-server meanwhile; 0 where it has no part.
        driver_cpu_ns: processor time of the driver.
        wall_ns: duration.
    """

    contender: str
    server: str
    connections: int
    round: int
    requests: int
    errors: int
    cpu_ns: int
    redis_cpu_ns: int
    driver_cpu_ns: int
    wall_ns: int

    @property
    def row(self) -> str:
        """Name of the row it belongs to."""
        return f"{self.contender} {self.server} {self.connections}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All turns of one run, their raw samples by row, and facts."""

    turns: list[Turn]
    laps: dict[str, list[Lap]]
    facts: dict[str, Any]

    def samples(self) -> dict[str, NDArray[np.int64]]:
        """Raw nanoseconds by row; -1 where there was no good answer."""
        return {
            row: np.concatenate(
                [np.where(lap.statuses == 200, lap.nanoseconds, -1) for lap in laps]
            )
            for row, laps in self.laps.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    contender: Contender
    server: ServerName
    measured: Measured
    port: int


def measure_http(plan: Plan) -> Run:
    """Start all services, check their answers, and let them take turns.

    Raises:
        RedisMissing: it was to take part and is not installed.
        ServerFailed: a service did not start, answered wrongly, or ended.
    """
    server_cores, driver_cores = _cores()
    with tempfile.TemporaryDirectory(prefix="almanac-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        redis = stack.enter_context(redis_server(folder, server_cores)) if plan.with_redis else None
        contenders = stack.enter_context(_contenders(plan, folder))
        services = [
            _Service(contender=contender, server=server, measured=measured, port=port)
            for server in plan.servers
            for contender in contenders
            for measured, port in [
                stack.enter_context(served(contender, server, folder=folder, cores=server_cores))
            ]
        ]
        checks = checkable_bodies(plan.shape, _CHECKED)
        for service in services:
            check_answers(service.contender, service.port, checks)
        wire = [on_the_wire(body) for body in request_bodies(plan.shape, _BODIES)]
        with Driver(wire, driver_cores) as driver:
            run = _take_turns(plan, services, redis, driver)
    return Run(
        turns=run.turns,
        laps=run.laps,
        facts=run.facts
        | {
            "server_cores": sorted(server_cores),
            "driver_cores": sorted(driver_cores),
            "request_bytes": round(float(np.mean([len(one) for one in wire]))),
        },
    )


def _cores() -> tuple[Collection[int], Collection[int]]:
    """A core for the services and another for the driver; nothing is pinned where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) > 1 else ((), ())


@contextmanager
def _contenders(plan: Plan, folder: Path) -> Iterator[list[Contender]]:
    snapshot = folder / "snapshot"
    write_synthetic(snapshot, plan.shape)
    with open_snapshot(snapshot, SECRET) as generation:
        ours = edge(generation)
        answers = [ours.right_answer(body) for body in checkable_bodies(plan.shape, _CHECKED)]
        found = [ours, no_op(sorted(answers, key=len)[len(answers) // 2], folder)]
        if plan.with_redis:
            socket = folder / "redis.sock"
            load_lists(generation, socket, plan.shape)
            found.append(redis_lists_of(generation, socket))
        yield found


def _take_turns(
    plan: Plan, services: Sequence[_Service], redis: Measured | None, driver: Driver
) -> Run:
    turns: list[Turn] = []
    laps: dict[str, list[Lap]] = defaultdict(list)
    busy, began_s, split = machine_busy_s(), perf_counter(), _split(services, redis)
    for number in range(plan.rounds + 1):
        if number == 1:
            busy, began_s, split = machine_busy_s(), perf_counter(), _split(services, redis)
        first = number % len(services)
        for service in (*services[first:], *services[:first]):
            for connections in (1, plan.connections):
                turn, lap = _turn(
                    plan, service, redis, driver, number=number, connections=connections
                )
                if number:
                    turns.append(turn)
                    laps[turn.row].append(lap)
    facts = _machine_facts(turns, perf_counter() - began_s, busy, machine_busy_s())
    facts["kernel_share_of_cpu"] = _kernel_shares(split, _split(services, redis))
    return Run(turns=turns, laps=dict(laps), facts=facts)


def _turn(
    plan: Plan,
    service: _Service,
    redis: Measured | None,
    driver: Driver,
    *,
    number: int,
    connections: int,
) -> tuple[Turn, Lap]:
    asked = redis if service.contender.name == REDIS else None
    cpu_ns, redis_ns = service.measured.cpu_ns(), asked.cpu_ns() if asked else 0
    lap = driver.lap(
        service.port, connections=connections, start=number * plan.requests, n=plan.requests
    )
    turn = Turn(
        contender=service.contender.name,
        server=service.server,
        connections=connections,
        round=number,
        requests=plan.requests,
        errors=lap.errors,
        cpu_ns=service.measured.cpu_ns() - cpu_ns,
        redis_cpu_ns=asked.cpu_ns() - redis_ns if asked else 0,
        driver_cpu_ns=lap.cpu_ns,
        wall_ns=lap.wall_ns,
    )
    return turn, lap


def _machine_facts(
    turns: Sequence[Turn],
    seconds: float,
    before: tuple[float, float],
    after: tuple[float, float],
) -> dict[str, Any]:
    ours_ns = sum(turn.cpu_ns + turn.redis_cpu_ns + turn.driver_cpu_ns for turn in turns)
    available_s = seconds * (os.cpu_count() or 1)
    other_s = after[0] - before[0] - ours_ns / 1e9
    return {
        "seconds": round(seconds, 1),
        "share_of_other_work": round(max(other_s, 0.0) / available_s, 3),
        "share_stolen_by_the_host": round((after[1] - before[1]) / available_s, 3),
    }


def _split(services: Sequence[_Service], redis: Measured | None) -> dict[str, tuple[float, float]]:
    measured = [service.measured for service in services] + ([redis] if redis else [])
    return {one.name: one.user_and_system_s() for one in measured}


def _kernel_shares(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    shares = {}
    for name, (user_s, system_s) in after.items():
        in_kernel_s = system_s - before[name][1]
        all_s = user_s - before[name][0] + in_kernel_s
        shares[name] = round(in_kernel_s / all_s, 2) if all_s else 0.0
    return shares


def summary_of(run: Run) -> dict[str, Any]:
    """Figures of every row, ratios of processor time, and each turn."""
    return {
        "facts": run.facts,
        "rows": {row: _figures(run, row) for row in run.laps},
        "cpu_ratios": cpu_ratios(run.turns),
        "turns": [asdict(turn) for turn in run.turns],
    }


def cpu_ratios(turns: Sequence[Turn]) -> dict[str, dict[str, float]]:
    """The edge's processor time per request in that of each other contender under its server.

    Only turns over many connections are compared, round by round, Redis with its server.

    Returns:
        By `edge / OTHER SERVER`: the median round's ratio, the lowest and the highest.
    """
    most = max((turn.connections for turn in turns), default=0)
    cost = {
        (turn.contender, turn.server, turn.round): (turn.cpu_ns + turn.redis_cpu_ns) / turn.requests
        for turn in turns
        if turn.connections == most
    }
    ratios: dict[str, list[float]] = defaultdict(list)
    for (contender, server, number), theirs in cost.items():
        ours = cost.get(("edge", server, number))
        if contender != "edge" and ours is not None:
            ratios[f"edge / {contender} {server}"].append(ours / theirs)
    return {
        name: {
            "median": round(float(np.median(found)), 3),
            "lowest": round(min(found), 3),
            "highest": round(max(found), 3),
        }
        for name, found in ratios.items()
    }


def latency_figures(nanoseconds: NDArray[np.int64]) -> dict[str, float]:
    """Percentiles in microseconds; nothing of an empty row.

    >>> latency_figures(np.array([1000, 2000, 3000, 4000, 5000]))
    {'p50_us': 3.0, 'p99_us': 4.96, 'p999_us': 5.0}
    """
    if not len(nanoseconds):
        return {}
    p50, p99, p999 = np.percentile(nanoseconds, [50, 99, 99.9]) / 1000.0
    return {
        "p50_us": round(float(p50), 2),
        "p99_us": round(float(p99), 2),
        "p999_us": round(float(p999), 2),
    }


def _figures(run: Run, row: str) -> Mapping[str, Any]:
    turns = [turn for turn in run.turns if turn.row == row]
    requests = sum(turn.requests for turn in turns)
    wall_ns = sum(turn.wall_ns for turn in turns)
    cpu_ns = sum(turn.cpu_ns for turn in turns)
    redis_ns = sum(turn.redis_cpu_ns for turn in turns)
    good = [lap.statuses == 200 for lap in run.laps[row]]
    times = [lap.nanoseconds[ok] for lap, ok in zip(run.laps[row], good, strict=True)]
    sizes = [lap.sizes[ok] for lap, ok in zip(run.laps[row], good, strict=True)]
    return {
        "cpu_us": round(cpu_ns / requests / 1000, 2),
        "redis_cpu_us": round(redis_ns / requests / 1000, 2),
        "cpu_together_us": round((cpu_ns + redis_ns) / requests / 1000, 2),
        "per_second": round(sum(map(len, times)) / (wall_ns / 1e9), 1),
        "core_busy": round((cpu_ns + redis_ns) / wall_ns, 3),
        "driver_busy": round(sum(turn.driver_cpu_ns for turn in turns) / wall_ns, 3),
        "requests": requests,
        "errors": sum(turn.errors for turn in turns),
        "answer_bytes": round(float(np.concatenate(sizes).mean())) if any(map(len, sizes)) else 0,
        **latency_figures(np.concatenate(times)),
    }
