"""The verb `almanac bench capacity`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from bench.capacity import VOLUMES, part_ends_s, rehearsal, volume_at
from bench.capacity_check import Plan, check, cost_of_run
from bench.capacity_report import capacity_text
from bench.http_contenders import ServerName
from bench.machine import machine_facts
from bench.results import DEFAULT_DIR, tell_run
from bench.synthetic import Shape
from builder.places import make_folder


def capacity(
    *,
    peak: Annotated[list[float] | None, Parameter(validator=Number(gte=0.001))] = None,
    http_run: Path | None = None,
    server: ServerName = "uvicorn",
    workers_per_node: Annotated[int, Parameter(validator=Number(gte=1, lte=256))] = 4,
    notice_s: Annotated[float, Parameter(validator=Number(gte=0))] = 1.0,
    swap_ms: Annotated[float, Parameter(validator=Number(gte=0, lte=3_600_000))] = 50.0,
    load: list[float] | None = None,
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0,
    customers: Annotated[int, Parameter(validator=Number(gte=1000))] = 100_000,
    offers: Annotated[int, Parameter(validator=Number(gte=1000))] = 20_000,
    requests: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 3000,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> None:
    """Tell how many cores a rate needs, and rehearse a fleet that loses a node at its peak.

    Measures what a request costs, runs one worker and two under open load, and simulates the same
    requests, so that the simulation can be judged. Then it says what 10 million requests a month,
    a billion a year and 100,000 a second need, and simulates each fleet: five times the traffic, a
    node that is lost, and a swap. Samples and a summary are kept under `--out-dir`.

    Example: `almanac bench capacity --http-run bench/results/http-20261129T120000Z`

    Parameters
    ----------
    peak
        Rates per second at the peak to answer for, instead of these three; the mean is a fifth.
    http_run
        Take costs from a run that `almanac bench http` kept, and run nothing here.
    server
        The edge's server in that run.
    workers_per_node
        One a core.
    notice_s
        How long the balancer goes on sending to a node that is lost; that part of the rehearsal is
        as long.
    swap_ms
        How long each worker answers nothing while it changes over; it does answer, so this is
        more than it costs.
    load
        How busy workers are to be in the real runs, as a share; 0.3 and 0.6 by default.
    seconds
        Of each real run.
    customers
        In the synthetic snapshot.
    offers
        In the snapshot.
    requests
        In each of the laps that measure what a request costs.
    seed
        Of all draws.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of tables.
    """
    volumes = [volume_at(rate) for rate in peak] if peak else VOLUMES
    # Before anything is measured, since that takes minutes.
    for volume in volumes:
        part_ends_s(volume, notice_s)
    make_folder(out_dir, flag="--out-dir")
    words = f"--workers-per-node {workers_per_node} --notice-s {notice_s:g} --swap-ms {swap_ms:g}"
    words += f" --seed {seed}" + "".join(f" --peak {rate:.10g}" for rate in peak or ())
    rows: list[dict[str, Any]] = []
    if http_run is not None:
        words += f" --http-run {shlex.quote(str(http_run))} --server {server}"
        cost = cost_of_run(http_run, server)
    else:
        loads = load or [0.3, 0.6]
        words += f" --customers {customers} --offers {offers} --requests {requests}"
        words += f" --seconds {seconds:g}" + "".join(f" --load {one:g}" for one in loads)
        print("running one worker and two under open load", file=sys.stderr)
        plan = Plan(
            shape=Shape(n_customers=customers, n_offers=offers),
            loads=loads,
            seconds=seconds,
            requests=requests,
            seed=seed,
        )
        cost, rows = check(plan)
    facts = machine_facts(f"almanac bench capacity {words}")
    rehearsals = [
        rehearsal(
            volume,
            cost.times(),
            workers_per_node=workers_per_node,
            noticed_s=notice_s,
            swap_s=swap_ms / 1000,
            seed=seed,
        )
        for volume in volumes
    ]
    summary = {
        "machine": facts,
        "cost": {"alone_cpu_us": cost.alone_cpu_us, "crowded_cpu_us": cost.crowded_cpu_us},
        "workers_per_node": workers_per_node,
        "check": rows,
        "rehearsals": rehearsals,
    }
    tell_run(
        "capacity",
        summary,
        capacity_text(summary),
        samples={"latencies": cost.latencies_ns},
        out_dir=out_dir,
        json=json,
    )
