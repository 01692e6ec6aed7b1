"""What becomes of costs as a node grows: two workers instead of one, ten million customers.

Workers are compared by processor time per request: where there are only two cores the driver needs
one of them, and no clock could show what two workers give. What two busy workers cost each other,
in caches and in the kernel, is in that figure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final

import numpy as np
import orjson

from bench.http_load import Driver, Lap
from bench.http_processes import ServerFailed
from bench.http_requests import request_bodies
from bench.http_wire import on_the_wire
from bench.serving import Serving, serving
from bench.synthetic import Shape, write_synthetic
from index.wording import many

_BODIES: Final = 10_000
_WARM_CUSTOMERS: Final = 1000
_NEW_CONNECTIONS: Final = 25
_AFTER_PAUSES: Final = 5
_PAUSE_S: Final = 0.2
"""In which a machine with nothing to do falls asleep: who comes next finds it cold."""
_SPARE_BYTES: Final = 2 << 30
"""What is left free of a disk at least."""


class NoRoom(Exception):
    """The disk has no room for the snapshots."""

    exit_code = 4
    hint = "leave the largest size out (--customers), or say where there is room (TMPDIR)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        shapes: of the shops, smallest first; workers are compared on the first.
        rounds: turns of everybody; one more comes first and does not count.
        requests: in one turn.
        connections: to each worker.
    """

    shapes: Sequence[Shape]
    rounds: int
    requests: int
    connections: int = 16


def measure_scale(plan: Plan) -> dict[str, Any]:
    """Write all snapshots, then measure workers and sizes in turns.

    Returns:
        `workers`: figures by number of workers; `scaling`: twice the cost of one in that of two;
        `sizes`: a row for each shape.

    Raises:
        NoRoom: the disk is too small.
        ServerFailed: a process did not start, or ended.
    """
    with tempfile.TemporaryDirectory(prefix="almanac-bench-") as name:
        folder = Path(name)
        require_room(folder, plan.shapes)
        snapshots = []
        warm = folder / "warm"
        write_synthetic(warm, replace(plan.shapes[0], n_customers=_WARM_CUSTOMERS))
        for shape in plan.shapes:
            began_s = perf_counter()
            path = folder / str(shape.n_customers)
            write_synthetic(path, shape)
            snapshots.append((shape, path, perf_counter() - began_s))
        workers = _workers(plan, folder, snapshots[0][1])
        sizes = _sizes(plan, folder, warm, [(shape, path) for shape, path, _ in snapshots])
        for size, (_, path, seconds) in zip(sizes, snapshots, strict=True):
            size["write_s"] = round(seconds, 1)
            size["disk_bytes"] = sum(file.stat().st_size for file in path.rglob("*"))
    return {**workers, "sizes": sizes}


def disk_bytes(shape: Shape) -> int:
    """About what a synthetic snapshot takes on disk, rather more than less."""
    customer = 64 + 12 * shape.personal_rows + 4 * shape.history_rows
    offer = 1024 + 16 * shape.affinity_rows + 4 * shape.dim
    return shape.n_customers * customer * 5 // 4 + shape.n_offers * offer


def require_room(folder: Path, shapes: Sequence[Shape]) -> None:
    """Refuse to begin where the disk would run full.

    Raises:
        NoRoom: it would.
    """
    wanted = sum(map(disk_bytes, shapes)) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise NoRoom(f"{folder} has {free / 2**30:.1f} GiB free, expected {wanted / 2**30:.1f} GiB")


def split_cores(workers: int) -> tuple[Collection[int], Collection[int], bool]:
    """Where workers and the driver run, and whether the driver has a core to itself."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > workers:
        return set(cores[:workers]), {cores[-1]}, True
    return set(cores), set(cores), False


def _workers(plan: Plan, folder: Path, snapshot: Path) -> dict[str, Any]:
    wire = [on_the_wire(body) for body in request_bodies(plan.shapes[0], _BODIES)]
    laps: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with ExitStack() as stack:
        nodes: dict[int, tuple[Serving, Driver]] = {}
        for n in (1, 2):
            ours, drivers, _ = split_cores(n)
            node = stack.enter_context(serving(snapshot, workers=n, folder=folder, cores=ours))
            nodes[n] = node, stack.enter_context(Driver({"edge": wire}, drivers))
        for number in range(plan.rounds + 1):
            for n, (node, driver) in nodes.items():
                lap = _lap(plan, n, node, driver, number)
                if number:
                    laps[n].append(lap)
    rows = {str(n): _together(found) for n, found in laps.items()}
    ratios = [2 * one["cpu_us"] / two["cpu_us"] for one, two in zip(laps[1], laps[2], strict=True)]
    return {
        "workers": {
            n: row | {"driver_has_own_core": split_cores(int(n))[2]} for n, row in rows.items()
        },
        "scaling": {
            "by_cpu": round(float(np.median(ratios)), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
            "by_clock": round(rows["2"]["per_second"] / rows["1"]["per_second"], 3),
        },
    }


def _lap(plan: Plan, n: int, node: Serving, driver: Driver, number: int) -> dict[str, Any]:
    requests = plan.requests * n
    before = [worker.cpu_ns() for worker in node.workers]
    lap = driver.lap(
        "edge",
        node.port,
        connections=plan.connections * n,
        start=number * requests,
        n=requests,
    )
    if lap.errors:
        raise ServerFailed(f"{lap.errors} of {requests} requests had no good answer")
    spent = [
        worker.cpu_ns() - earlier for worker, earlier in zip(node.workers, before, strict=True)
    ]
    return {
        "cpu_us": sum(spent) / requests / 1000,
        "per_second": requests / (lap.wall_ns / 1e9),
        "driver_busy": lap.cpu_ns / lap.wall_ns,
        "busiest_share": max(spent) / sum(spent),
    }


def _together(laps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: round(float(np.median([lap[key] for lap in laps])), 3) for key in laps[0]}


def _sizes(
    plan: Plan, folder: Path, warm: Path, snapshots: Sequence[tuple[Shape, Path]]
) -> list[dict[str, Any]]:
    """Everything of every size in turns, in processes that end before the next one begins."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    _, drivers, _ = split_cores(1)
    wires = {
        str(shape.n_customers): [on_the_wire(body) for body in request_bodies(shape, _BODIES)]
        for shape, _ in snapshots
    }
    with Driver(wires, drivers) as driver:
        for number in range(plan.rounds):
            for shape, path in snapshots:
                told = _probed(warm, path, shape, plan.requests)
                found[shape.n_customers].append(
                    told | _served(plan, folder, path, shape, driver=driver, number=number)
                )
    return [
        {"customers": shape.n_customers, **_together(found[shape.n_customers])}
        for shape, _ in snapshots
    ]


def _probed(warm: Path, path: Path, shape: Shape, calls: int) -> dict[str, Any]:
    words = [str(warm), str(path), str(shape.n_customers), str(shape.n_offers), str(calls)]
    told = subprocess.run(
        [sys.executable, "-m", "bench.scale_probe", *words],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if told.returncode:
        raise ServerFailed("a snapshot could not be asked", hint=told.stderr.decode()[-2000:])
    return dict(orjson.loads(told.stdout))


def _served(
    plan: Plan, folder: Path, path: Path, shape: Shape, *, driver: Driver, number: int
) -> dict[str, Any]:
    """The first request that a fresh worker gets, many more, and its memory afterwards.

    The first one comes over a new connection and after a pause; so do some of those it is held
    against, and others in close succession.
    """
    ours, _, _ = split_cores(1)
    name, start = str(shape.n_customers), number * (plan.requests + 1)

    def lap(place: int, n: int = 1, *, pause_s: float = 0.0) -> Lap:
        sleep(pause_s)
        return driver.lap(name, node.port, connections=1, start=start + place, n=n)

    with serving(path, workers=1, folder=folder, cores=ours) as node:
        first = lap(0, pause_s=_PAUSE_S)
        rest = lap(1, plan.requests)
        others = [lap(place) for place in range(_NEW_CONNECTIONS)]
        paused = [lap(place, pause_s=_PAUSE_S) for place in range(_AFTER_PAUSES)]
        (private,) = node.private_bytes()
    if first.errors or rest.errors:
        raise ServerFailed(f"{many(first.errors + rest.errors, 'request')} had no good answer")
    return {
        "served_first_us": int(first.nanoseconds[0]) / 1000,
        "served_new_us": float(np.median([one.nanoseconds[0] for one in others])) / 1000,
        "served_paused_us": float(np.median([one.nanoseconds[0] for one in paused])) / 1000,
        "served_p50_us": float(np.median(rest.nanoseconds)) / 1000,
        "served_p99_us": float(np.percentile(rest.nanoseconds, 99)) / 1000,
        "worker_private_bytes": private,
    }
