"""The verbs `almanac bench …`: parse, measure, keep the samples, print a table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number

from bench.decision import RAW, Samples, measure_decisions
from bench.http import Plan, measure_http
from bench.http_contenders import SERVERS, ServerName, http_facts
from bench.http_figures import summary_of
from bench.http_open import open_rows
from bench.http_peers import PeerName
from bench.http_profile import profile_edge
from bench.http_report import (
    CANNOT_SHOW,
    company_line,
    dependence_table,
    profile_table,
    ratio_lines,
    row_table,
    skipped_lines,
)
from bench.machine import machine_facts
from bench.percentiles import as_cell, percentiles_us
from bench.results import DEFAULT_DIR, aligned, tell_run
from bench.synthetic import Shape
from builder.places import make_folder

if TYPE_CHECKING:
    from bench.bars import BarRun

Effort = Literal["quick", "standard", "thorough"]


def decision(
    *,
    customers: list[int] | None = None,
    offers: int = 20_000,
    calls: int = 20_000,
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> None:
    """Measure decisions in process, beside a bare table lookup.

    Writes a synthetic snapshot of each size, opens it as the edge does, and lets all kinds of
    decision take turns with a raw LMDB get. Raw samples and a summary are kept under `--out-dir`.

    Parameters
    ----------
    customers
        Customers in the snapshot; give it several times for several sizes (100,000 and 1,000,000
        by default).
    offers
        Offers in the snapshot.
    calls
        Timed calls of each kind.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    make_folder(out_dir, flag="--out-dir")
    sizes = customers or [100_000, 1_000_000]
    runs: list[dict[str, Any]] = []
    raw: dict[str, Any] = {}
    facts = machine_facts(f"almanac bench decision --calls {calls} --offers {offers}")
    print(f"writing and measuring snapshots of {sizes} customers", file=sys.stderr)
    shapes = [Shape(n_customers=size, n_offers=offers) for size in sizes]
    for snapshot, samples in measure_decisions(shapes, n_calls=calls):
        runs.append({"snapshot": snapshot, "contenders": _figures(samples)})
        size = snapshot["customers"]
        raw |= {f"{size}/{sample.name}": sample.nanoseconds for sample in samples}
    summary = {"machine": facts, "runs": runs}
    tell_run("decision", summary, _table(runs), samples=raw, out_dir=out_dir, json=json)


def http(
    *,
    customers: Annotated[int, Parameter(validator=Number(gte=1000))] = 100_000,
    offers: Annotated[int, Parameter(validator=Number(gte=1000))] = 20_000,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 10,
    requests: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 3000,
    connections: Annotated[int, Parameter(validator=Number(gte=2, lte=1000))] = 16,
    rate: Annotated[float, Parameter(validator=Number(gt=0, lte=1_000_000))] = 2000.0,
    server: list[ServerName] | None = None,
    without: list[Literal["redis"]] | None = None,
    with_: Annotated[list[PeerName] | None, Parameter(name="--with")] = None,
    profile: bool = False,
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> None:
    """Measure the edge over HTTP beside what else could stand there.

    The no-op app has the same server and router, reads the same bodies and sends a fixed answer of
    the same size. The Redis service is what a team would build by itself: every customer's list
    ready as JSON, the popular one for strangers. With `--with`, Feast serves the same lists from
    the same Redis, a model of factors (implicit) or of boosted trees (scikit-learn) is asked in
    its handler, and nginx sends a file per customer; `make peers` installs what all but nginx
    need. All run at once on one core and take turns, first asked again whenever they have answered,
    then at a rate; the driver has another core. Nothing but the loopback is used. Raw samples and a
    summary are kept under `--out-dir`. When a service fails nothing is kept, and all processes are
    ended.

    Example: `almanac bench http --rounds 5 --server uvicorn --with nginx --with feast`

    Parameters
    ----------
    customers
        Customers in the synthetic snapshot.
    offers
        Offers in the snapshot.
    rounds
        Turns of every service; one more warms up.
    requests
        Requests in a turn, once over one connection, once over many, and once at the rate.
    connections
        How many are many; each has one request under way.
    rate
        Requests a second in the open loop, where they come whether others were answered or not; a
        tenth of it for Feast and the models.
    server
        Server to run everybody under: uvicorn or granian; both by default.
    without
        Leave a contender out: redis.
    with_
        Let a contender take part that has a server of its own: feast, model, scikit or nginx;
        where it is not installed the run goes on without it and says why.
    profile
        Instead, time the parts of the edge's app in process, without a server.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    make_folder(out_dir, flag="--out-dir")
    shape = Shape(n_customers=customers, n_offers=offers)
    words = f"almanac bench http --customers {customers} --offers {offers} --requests {requests}"
    if profile:
        _profile(machine_facts(f"{words} --profile"), shape, requests, out_dir, json=json)
        return
    plan = Plan(
        shape=shape,
        rounds=rounds,
        requests=requests,
        connections=connections,
        rate=rate,
        servers=server or SERVERS,
        with_redis="redis" not in (without or ()),
        peers=with_ or (),
    )
    words += f" --rounds {rounds} --connections {connections} --rate {rate:g}"
    words += "".join(f" --server {name}" for name in server or ())
    words += "" if plan.with_redis else " --without redis"
    words += "".join(f" --with {name}" for name in plan.peers)
    facts = machine_facts(words) | {"servers": http_facts(with_redis=plan.with_redis)}
    print(f"starting services over a snapshot of {customers} customers", file=sys.stderr)
    run = measure_http(plan)
    summary = {"machine": facts, **summary_of(run)}
    told = [CANNOT_SHOW, row_table(summary["rows"]), ratio_lines(summary["cpu_ratios"])]
    told.append(aligned(open_rows(summary["at_rate"])))
    told += [dependence_table(run.facts["depends_on"]), *skipped_lines(run.facts["skipped"])]
    text = "\n\n".join((*told, company_line(run.facts)))
    tell_run("http", summary, text, samples=run.samples(), out_dir=out_dir, json=json)


def soak(
    *,
    swaps: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 300,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 2,
    seconds_between: Annotated[float, Parameter(validator=Number(gte=0, lte=3600))] = 2.0,
    rate: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 200,
    connections: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 8,
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> int:
    """Let a node change over again and again under load, and check every answer.

    A real node on loopback follows a signed channel that points at three snapshots in turn; each
    change is announced, fetched, proved and swapped as ever, while callers in a process of their
    own ask at a fixed rate. An answer counts as torn unless it is, byte for byte, what the snapshot
    it names gives. Ends with exit code 7 when a request failed or an answer was torn, when a worker
    died, when mappings, open files or memory grew, or when p99 around swaps is more than twice
    that between them. Memory needs 300 swaps to tell, p99 needs 100. Takes about 3 seconds a swap.
    Raw samples and a summary are kept under `--out-dir`, the store and the node are not.

    Example: `almanac bench soak --swaps 100`

    Parameters
    ----------
    swaps
        How often the channel is announced.
    workers
        Processes of the node that answer.
    seconds_between
        From the end of a swap to the next announcement.
    rate
        Requests per second.
    connections
        Over how many connections, which stay.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    # The other verbs must run where nothing that shipping needs is installed.
    from bench.soak_figures import soak_summary, soak_table  # noqa: PLC0415
    from bench.swap_soak import SoakPlan  # noqa: PLC0415
    from bench.swap_soak import soak as run_soak  # noqa: PLC0415

    make_folder(out_dir, flag="--out-dir")
    plan = SoakPlan(
        swaps=swaps,
        workers=workers,
        seconds_between=seconds_between,
        rate=rate,
        connections=connections,
    )
    words = f"--swaps {swaps} --workers {workers} --seconds-between {seconds_between}"
    facts = machine_facts(f"almanac bench soak {words} --rate {rate} --connections {connections}")
    with TemporaryDirectory(prefix="almanac-soak-") as work_dir:
        run = run_soak(Path(work_dir), plan, lambda line: print(line, file=sys.stderr))
    summary = {"machine": facts, **soak_summary(run)}
    samples = {"due_ns": run.heard.due_ns, "nanoseconds": run.heard.nanoseconds}
    samples |= {"statuses": run.heard.statuses, "snapshots": run.heard.snapshots}
    samples |= {"announced_ns": np.array(run.announced_ns), "served_ns": np.array(run.served_ns)}
    samples |= {
        f"private {name}": np.array([held[name].private_bytes for held in run.held if name in held])
        for name in run.held[0]
    }
    tell_run("soak", summary, soak_table(summary), samples=samples, out_dir=out_dir, json=json)
    return 7 if summary["broken"] else 0


def coupons(*, out_dir: Path = DEFAULT_DIR, json: bool = False) -> None:
    """Measure which of a campaign's coupons households redeem, beside popularity and frequency.

    Builds a snapshot of the demo's shop as of 2017-08-01, with coupons as offers, and asks it about
    each household and later campaign with a redemption. Takes a minute or two.
    The lists and a summary are kept under `--out-dir`, the snapshot is not.

    Parameters
    ----------
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    # The other verbs must run where nothing that only learning needs is installed.
    from bench.coupons import coupon_table, measure_coupons  # noqa: PLC0415

    make_folder(out_dir, flag="--out-dir")
    facts = machine_facts("almanac bench coupons")
    with TemporaryDirectory(prefix="almanac-coupons-") as work_dir:
        run = measure_coupons(Path(work_dir))
    summary = {
        "machine": facts,
        "choices": run.n_choices,
        "methods": run.methods,
        "differences": run.differences,
    }
    tell_run("coupons", summary, coupon_table(run), samples=run.ranked, out_dir=out_dir, json=json)


def bars(*, effort: Effort = "standard", out_dir: Path = DEFAULT_DIR, json: bool = False) -> None:
    """Repeat the published protocol on Complete Journey: what each household orders next.

    Builds a snapshot of the demo's shop as of 2017-12-01 from all lines, with nobody held out, and
    measures all methods on items of at least five order lines. Takes as long as a build. The
    summary with the build's whole report is kept under `--out-dir`, the snapshot is not.

    Parameters
    ----------
    effort
        How much is spent on learning: quick, standard or thorough.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    # The other verbs must run where nothing that only learning needs is installed.
    from bench.bars import bar_table, measure_bars  # noqa: PLC0415

    _build_and_keep("bars", measure_bars, bar_table, effort, out_dir, json=json)


def discovery(
    *, effort: Effort = "standard", out_dir: Path = DEFAULT_DIR, json: bool = False
) -> None:
    """Measure a shop where nobody buys anything twice, beside methods made for that.

    Builds snapshots of the first purchases of the demo's shop as of 2017-06-01, 2017-09-01 and
    2017-12-01, and asks what each household buys next. Takes as long as three builds. The summary
    with the builds' whole reports is kept under `--out-dir`, the snapshots are not.

    Parameters
    ----------
    effort
        How much is spent on learning: quick, standard or thorough.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    # The other verbs must run where nothing that only learning needs is installed.
    from bench.discovery import discovery_table, measure_discovery  # noqa: PLC0415

    _build_and_keep("discovery", measure_discovery, discovery_table, effort, out_dir, json=json)


def _build_and_keep(
    name: str,
    measure: Callable[..., BarRun],
    table: Callable[[BarRun], str],
    effort: Effort,
    out_dir: Path,
    *,
    json: bool,
) -> None:
    make_folder(out_dir, flag="--out-dir")
    facts = machine_facts(f"almanac bench {name} --effort {effort}")
    with TemporaryDirectory(prefix=f"almanac-{name}-") as work_dir:
        run = measure(Path(work_dir), effort=effort)
    summary = {
        "machine": facts,
        "households": run.n_households,
        "methods": run.methods,
        "reports": run.reports,
    }
    tell_run(name, summary, table(run), out_dir=out_dir, json=json)


def _profile(
    facts: dict[str, Any], shape: Shape, n_calls: int, out_dir: Path, *, json: bool
) -> None:
    times = profile_edge(shape, n_calls)
    figures = {name: percentiles_us(nanoseconds) for name, nanoseconds in times.items()}
    summary = {"machine": facts, "parts": figures}
    tell_run(
        "http-profile", summary, profile_table(figures), samples=times, out_dir=out_dir, json=json
    )


def _figures(samples: list[Samples]) -> dict[str, dict[str, float | None]]:
    found = {sample.name: sample.figures() for sample in samples}
    base_us = found[RAW]["p50_us"]
    for figures in found.values():
        p50_us = figures["p50_us"]
        figures["p50_in_gets"] = round(p50_us / base_us, 1) if p50_us and base_us else None
    return found


def _table(runs: list[dict[str, Any]]) -> str:
    head = ["decision", "customers", "p50 µs", "p99 µs", "p99.9 µs", "per CPU s", "p50 / get"]
    rows = [head]
    for run in runs:
        for name, figures in run["contenders"].items():
            rows.append(
                [
                    name,
                    f"{run['snapshot']['customers']:,}",
                    *(as_cell(figures[key], 1) for key in ("p50_us", "p99_us", "p99.9_us")),
                    as_cell(figures["per_cpu_second"]),
                    as_cell(figures["p50_in_gets"], 1),
                ]
            )
    return aligned(rows)
