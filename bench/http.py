"""Services over HTTP, side by side: what one request costs each of them on one core.

All services run at once, pinned to one core, and take turns; the driver has another core. In every
round each service gets the same requests, first over one connection, then over many, and then at a
rate, whether they were answered or not. Redis shares the core of the service that asks it, so that
a row is what one core gives.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from bench.http_answers import offers_in
from bench.http_contenders import (
    EDGE,
    UVICORN,
    Contender,
    ServerName,
    check_answers,
    edge,
    edge_over_asgi,
    edge_with_new_heads,
    exchange,
    load_lists,
    no_op,
    redis_lists_of,
    redis_server,
    served,
)
from bench.http_dependence import Dependence, dependence
from bench.http_figures import Run, Turn, own_work_s
from bench.http_ground import Ground, PeerMissing
from bench.http_load import Driver, Lap
from bench.http_open import OpenTurn, so_many
from bench.http_peers import PeerName, peer
from bench.http_processes import Measured, machine_busy_s
from bench.http_requests import checkable_bodies, request_bodies
from bench.load.samples import gathered
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
        requests: in one turn, once over one connection, once over many, and once at the rate.
        connections: how many are many.
        rate: requests a second in the open loop, of those that are not slower.
        servers: under which each contender runs.
        with_redis: whether the Redis service takes part.
        peers: which contenders with a server of their own take part where they are installed.
    """

    shape: Shape
    rounds: int
    requests: int
    connections: int
    rate: float
    servers: Sequence[ServerName]
    with_redis: bool = True
    peers: Sequence[PeerName] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    contender: Contender
    server: str
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
        contenders, skipped = stack.enter_context(_contenders(plan, folder))
        services = [
            _Service(contender=contender, server=server, measured=measured, port=port)
            for contender, server in contenders
            for measured, port in [
                stack.enter_context(served(contender, server, folder=folder, cores=server_cores))
            ]
        ]
        checks = checkable_bodies(plan.shape, _CHECKED)
        for service in services:
            check_answers(service.contender, service.port, checks)
        n_sent = (plan.rounds + 1) * plan.requests
        bodies = request_bodies(plan.shape, min(n_sent, _BODIES))
        wires = {
            one.contender.name: [one.contender.wire(body) for body in bodies] for one in services
        }
        with Driver(wires, driver_cores) as driver:
            run = _take_turns(plan, services, redis, driver)
        depends = {service.contender.name: _dependence(service, checks) for service in services}
    facts = {
        "server_cores": sorted(server_cores),
        "driver_cores": sorted(driver_cores),
        "request_bytes": round(float(np.mean([len(one) for one in wires[EDGE]]))),
        "depends_on": depends,
        "skipped": skipped,
    }
    return replace(run, facts=run.facts | facts)


def _dependence(service: _Service, bodies: Sequence[bytes]) -> dict[str, Dependence]:
    def answering(body: bytes) -> list[str]:
        status, answer = exchange(service.port, service.contender.wire(body))
        assert status == 200, answer
        return offers_in(service.contender.essence(answer))

    return dependence(answering, bodies)


def _cores() -> tuple[Collection[int], Collection[int]]:
    """A core for the services and another for the driver; nothing is pinned where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) > 1 else ((), ())


@contextmanager
def _contenders(
    plan: Plan, folder: Path
) -> Iterator[tuple[list[tuple[Contender, str]], dict[str, str]]]:
    """Who takes part, each with its server, and why others don't."""
    snapshot = folder / "snapshot"
    write_synthetic(snapshot, plan.shape)
    skipped: dict[str, str] = {}
    with open_snapshot(snapshot, SECRET) as generation:
        ours = edge(generation)
        answers = [ours.right_answer(body) for body in checkable_bodies(plan.shape, _CHECKED)]
        found = [ours, no_op(sorted(answers, key=len)[len(answers) // 2], folder)]
        socket = folder / "redis.sock" if plan.with_redis else None
        if socket is not None:
            load_lists(generation, socket, plan.shape)
            found.append(redis_lists_of(generation, socket))
        served_by = [(contender, str(server)) for server in plan.servers for contender in found]
        if UVICORN in plan.servers:
            served_by.append((edge_with_new_heads(generation), UVICORN))
            served_by.append((edge_over_asgi(generation), UVICORN))
        ground = Ground(generation=generation, shape=plan.shape, folder=folder, socket=socket)
        for name in plan.peers:
            try:
                served_by.append(peer(name, ground))
            except PeerMissing as problem:
                skipped[name] = f"{problem} ({problem.hint})"
        yield served_by, skipped


def _take_turns(
    plan: Plan, services: Sequence[_Service], redis: Measured | None, driver: Driver
) -> Run:
    turns: list[Turn] = []
    laps: dict[str, list[Lap]] = defaultdict(list)
    at_rate: list[OpenTurn] = []
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
            opened = _open_turn(plan, service, redis, driver, number=number)
            if number:
                at_rate.append(opened)
    seconds, after = perf_counter() - began_s, machine_busy_s()
    available_s = seconds * (os.cpu_count() or 1)
    facts = {
        "seconds": round(seconds, 1),
        "share_of_other_work": round(
            max(after[0] - busy[0] - own_work_s(turns, at_rate), 0.0) / available_s, 3
        ),
        "share_stolen_by_the_host": round((after[1] - busy[1]) / available_s, 3),
        "kernel_share_of_cpu": _kernel_shares(split, _split(services, redis)),
    }
    return Run(turns=turns, laps=dict(laps), at_rate=at_rate, facts=facts)


def _turn(
    plan: Plan,
    service: _Service,
    redis: Measured | None,
    driver: Driver,
    *,
    number: int,
    connections: int,
) -> tuple[Turn, Lap]:
    asked = redis if service.contender.asks_redis else None
    requests = max(plan.requests // service.contender.slower, 1)
    cpu_ns, redis_ns = service.measured.cpu_ns(), asked.cpu_ns() if asked else 0
    lap = driver.lap(
        service.contender.name,
        service.port,
        connections=connections,
        start=number * plan.requests,
        n=requests,
    )
    turn = Turn(
        contender=service.contender.name,
        server=service.server,
        connections=connections,
        round=number,
        requests=requests,
        errors=lap.errors,
        cpu_ns=service.measured.cpu_ns() - cpu_ns,
        redis_cpu_ns=asked.cpu_ns() - redis_ns if asked else 0,
        driver_cpu_ns=lap.cpu_ns,
        wall_ns=lap.wall_ns,
    )
    return turn, lap


def _open_turn(
    plan: Plan, service: _Service, redis: Measured | None, driver: Driver, *, number: int
) -> OpenTurn:
    asked = [service.measured]
    asked += [redis] if redis is not None and service.contender.asks_redis else []
    rate = plan.rate / service.contender.slower
    when = so_many(rate, max(plan.requests // service.contender.slower, 1), seed=number)
    cpu_ns = sum(one.cpu_ns() for one in asked)
    trace = driver.follow(
        service.contender.name,
        service.port,
        connections=plan.connections,
        start=number * plan.requests,
        due_ns=when.due_ns,
    )
    return OpenTurn(
        row=f"{service.contender.name} {service.server}",
        rate=rate,
        samples=gathered(when, ("all",), when.phase, [trace]),
        cpu_ns=sum(one.cpu_ns() for one in asked) - cpu_ns,
        driver_cpu_ns=trace.cpu_ns,
    )


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
