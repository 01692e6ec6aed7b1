"""The verb `almanac bench load`: what is due and when, then drive, judge, keep and tell."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number

from bench.load.drive import drive
from bench.load.driver import Work
from bench.load.emit.load import Load
from bench.load.emit.tools import Tool, emit
from bench.load.figures import summary_of
from bench.load.mix import mix_of_orders, synthetic_mix
from bench.load.report import load_text
from bench.load.samples import gathered
from bench.load.schedule import SHAPES, Arrivals, Ints, replayed, scheduled, speed_for
from bench.load.target import target_of
from bench.machine import machine_facts
from bench.results import DEFAULT_DIR, tell_run
from bench.synthetic import Shape
from builder.places import make_folder
from index.wording import many

if TYPE_CHECKING:
    from bench.load.orders import Orders

NO_VERDICT: Final = 75
_SYNTHETIC_BODIES: Final = 10_000


class Contradiction(Exception):
    """Two flags, or a flag and what is missing, can't be meant together."""

    exit_code = 2
    hint = None


def load(
    url: str,
    *,
    schedule: Literal["constant", "ramp", "step", "spike", "replay"] = "constant",
    rate: Annotated[float, Parameter(validator=Number(gt=0))] = 100.0,
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 30.0,
    arrivals: Arrivals = "poisson",
    events: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    config: Path | None = None,
    rename: Annotated[list[str] | None, Parameter(name="--map", consume_multiple=True)] = None,
    max_bad: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    speed: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    scale: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    shares: tuple[float, float, float] | None = None,
    placement: str = "checkout",
    k: Annotated[int, Parameter(validator=Number(gte=1, lte=100))] = 10,
    customers: Annotated[int, Parameter(validator=Number(gte=1000))] = 100_000,
    offers: Annotated[int, Parameter(validator=Number(gte=1000))] = 20_000,
    connections: Annotated[int, Parameter(validator=Number(gte=1, lte=20_000))] = 64,
    fresh: bool = False,
    unix: Path | None = None,
    timeout_ms: Annotated[int, Parameter(validator=Number(gte=1))] = 5000,
    processes: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1,
    core: list[int] | None = None,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    emit_for: Annotated[Tool | None, Parameter(name="--emit")] = None,
    emit_dir: Path = Path("load"),
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> int:
    """Measure how long shoppers wait at a given rate, whatever the service does: an open loop.

    Requests are sent when they are due, and waiting counts from that moment, so a stall shows in
    the waits of all who would have come meanwhile. What a request costs is measured by
    `almanac bench http`, a closed loop. The service runs by itself; where it shares the driver's
    cores the driver may have been the bottleneck. Then there is no verdict, nor where no request
    was answered, and the exit code is 75. Raw samples, HdrHistograms and a summary are kept under
    `--out-dir`.

    Example: `almanac bench load http://127.0.0.1:8080 --events 'orders/*.csv' --schedule spike`

    Parameters
    ----------
    url
        The service; without a path /v1/offers is asked.
    schedule
        constant, ramp (from nothing to the rate), step (1×, 5×, 1×), spike (10× for a tenth of the
        time), or replay (the moments of the events' own orders).
    rate
        Requests per second; where steps and spikes begin. Not for a replay.
    seconds
        Length of the whole schedule. Not for a replay.
    arrivals
        poisson (independent of each other) or even. Not for a replay.
    events
        Files or patterns of order lines, read as `almanac build` reads them: each order becomes a
        request with its customer, its cart and its context. By default requests are those of a
        synthetic shop.
    config
        An almanac.toml, for how events are read.
    rename
        SOURCE=OURS, renames a column.
    max_bad
        Share of bad rows above which nothing is sent, with exit code 5; fewer are left out.
    since
        Orders from then on become requests; earlier ones tell who is known, thin or cold.
    until
        Orders before then become requests.
    speed
        Of a replay: seconds of the shop's time in one of ours; 1 by default.
    scale
        Of a replay, instead of a speed: so many orders a day on average.
    shares
        Of known, thin and cold customers; as in the events by default. Not for a replay.
    placement
        Where offers are asked for, with events.
    k
        Offers asked for, with events.
    customers
        Of the synthetic shop.
    offers
        Of the synthetic shop.
    connections
        At most so many at once; a request that finds none free waits, and its wait counts.
    fresh
        Make a connection for each request; making it counts.
    unix
        Reach the service over this Unix socket.
    timeout_ms
        A request is given up so long after it was due.
    processes
        Drivers that share the load.
    core
        Where drivers may run; give it several times for several cores.
    seed
        Of all draws.
    emit_for
        Write the same load for k6, vegeta or wrk2, and send nothing.
    emit_dir
        Folder it is written into, under names that tell the tool.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of tables.
    """
    target = target_of(url, unix)
    is_replay = schedule == "replay"
    _check(
        is_replay=is_replay,
        has_events=bool(events),
        n_speeds=(speed is not None) + (scale is not None),
        has_shares=shares is not None,
        emits_for_unix=emit_for is not None and unix is not None,
    )
    orders = _orders(events, config, rename, max_bad, since=since, until=until) if events else None
    if orders is None:
        mix = synthetic_mix(Shape(n_customers=customers, n_offers=offers), _SYNTHETIC_BODIES)
    else:
        mix = mix_of_orders(orders, placement=placement, k=k)
    if is_replay:
        assert orders is not None
        times = 1.0 if speed is None else speed
        if scale is not None:
            times = speed_for(orders.ts_us, scale)
        plan = replayed(orders.ts_us, times)
        which: Ints = np.arange(len(plan))
    else:
        plan = scheduled(SHAPES[schedule](rate, seconds), arrivals, seed)
        which = mix.draw(len(plan), seed, shares)
    if emit_for is not None:
        whole = Load(
            target=target,
            schedule=plan,
            bodies=mix.bodies,
            which=which,
            connections=connections,
            timeout_ms=timeout_ms,
            stays=not fresh,
        )
        print(emit(emit_for, whole, emit_dir))
        return 0
    work = Work(
        target=target,
        wire=[target.request(body, stays=not fresh) for body in mix.bodies],
        due_ns=plan.due_ns,
        which=which,
        connections=connections,
        stays=not fresh,
        timeout_ns=timeout_ms * 1_000_000,
    )
    make_folder(out_dir, flag="--out-dir")
    facts = machine_facts(shlex.join(["almanac", *sys.argv[1:]]))
    print(f"sending {many(len(plan), 'request')} in {plan.seconds:,.1f} s", file=sys.stderr)
    traces, host = drive(work, processes=processes, cores=core or ())
    samples = gathered(plan, mix.kinds, mix.kind[which], traces)
    summary = {
        "machine": facts,
        "target": target.url,
        "mix": mix.facts(which),
        **summary_of(samples, traces, host),
    }
    tell_run(
        "load", summary, load_text(summary), samples=samples.arrays(), out_dir=out_dir, json=json
    )
    return 0 if summary["verdict"]["is_given"] else NO_VERDICT


def _check(
    *, is_replay: bool, has_events: bool, n_speeds: int, has_shares: bool, emits_for_unix: bool
) -> None:
    """Refuse flags that can't be meant together, before anything is read."""
    if is_replay and not has_events:
        raise Contradiction("a replay needs --events: the orders whose moments are replayed")
    if is_replay and has_shares:
        raise Contradiction("a replay sends each order as it was: --shares has no meaning there")
    if n_speeds and not is_replay:
        raise Contradiction("--speed and --scale are for a replay only")
    if n_speeds > 1:
        raise Contradiction("--speed and --scale both say how fast orders come: give one of them")
    if emits_for_unix:
        raise Contradiction("k6, vegeta and wrk2 are written for TCP: leave --unix out")


def _orders(
    events: list[str],
    config: Path | None,
    rename: list[str] | None,
    max_bad: float | None,
    *,
    since: datetime | None,
    until: datetime | None,
) -> Orders:
    # The synthetic shop's requests must be sent where nothing that only learning needs is there.
    from bench.load.orders import read_orders  # noqa: PLC0415
    from builder.cli import renames  # noqa: PLC0415
    from builder.config import load as load_config  # noqa: PLC0415

    overrides: dict[str, object] = {
        "input.map": renames(rename) if rename else None,
        "input.max_bad": max_bad,
    }
    chosen = load_config(config, overrides)
    orders = read_orders(
        events,
        chosen,
        since_us=None if since is None else chosen.moment_us(since),
        until_us=None if until is None else chosen.moment_us(until),
    )
    if orders.left_out is not None:
        print(f"left out: {orders.left_out}", file=sys.stderr)
    return orders
