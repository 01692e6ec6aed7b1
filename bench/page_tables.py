"""What the documents say of the newest runs, as Markdown: pure functions of their summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.capacity import UTILISATION
from bench.capacity_report import check_rows, cost_line, need_rows, rehearsal_rows
from bench.http_dependence import ASPECTS
from bench.http_open import open_rows
from bench.http_report import other_of
from bench.percentiles import as_cell
from bench.scale_report import SCALING_AIM, judged
from index.wording import many

_Run = Mapping[str, Any]
_LEAST: Final[Mapping[str, float | None]] = {
    "edge-heads": None,
    "edge-asgi": None,
    "no-op": 1 / 1.35,
    "redis": 1.3,
    "feast": 5.0,
    "model": 10.0,
    "scikit": 10.0,
    "nginx": None,
}
"""How many times the throughput per core of each contender was aimed at."""
_WHO: Final[Mapping[str, str]] = {
    "edge": "Almanac",
    "edge-heads": "Almanac, every head new",
    "edge-asgi": "Almanac through ASGI",
    "no-op": "no-op: a fixed answer",
    "redis": "Starlette + Redis, lists ready",
    "feast": "`feast serve` + Redis, vectors precomputed",
    "model": "FastAPI + implicit ALS, asked in the handler",
    "scikit": "FastAPI + scikit-learn boosted trees, asked in the handler",
    "nginx": "nginx, a ready file per customer: the limit",
}
_OVER_HTTP: Final = """\
All of it over HTTP (`almanac bench http`).
It is a closed loop: latencies are those of a lone caller, and say nothing about a peak; what a \
fleet costs stands in [docs/capacity.md](docs/capacity.md)."""
_AT_RATE: Final = """\
In the same run in an open loop: requests come at a rate, independently of each other and of the \
answers, and each waits from the moment it was due. Whose callers wait least at the median stands \
first; the tails are the machine's too, which stands still now and then. Longer runs, steps and \
spikes are what `almanac bench load` is for ([docs/load.md](docs/load.md))."""
_BESIDE: Final = """\
Beside what else could stand there: the same requests over HTTP (four of five from known \
customers, 3 items in the cart, 10 offers), taking turns in one run, one core for each together \
with its Redis, compared by processor time of all its processes."""
_KINDS: Final = (
    ("raw LMDB get", "a raw LMDB get"),
    ("individual, 0 cart items", "individual, empty cart"),
    ("individual, 3 cart items", "individual, 3 items in the cart"),
    ("individual, 10 cart items", "individual, 10 items in the cart"),
    ("context, 3 cart items", "a stranger, 3 items in the cart"),
    ("context, 1 new item (vector search)", "a stranger, a new item (vector search)"),
)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first as its head.

    >>> print(markdown([["a", "b"], ["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def readme_numbers(runs: Mapping[str, _Run]) -> str:
    """The README's numbers: first where Almanac is ahead and where it is not."""
    http, scale = runs["http"], runs["scale"]
    skipped = http["facts"]["skipped"].items()
    return "\n\n".join(
        [
            f"Measured by `make bench` on {_on(http['machine'])}; {_company(http)}",
            _BESIDE,
            markdown(beside_rows(http)),
            *[f"`{name}` took no part: {why}." for name, why in skipped],
            _beside_words(http),
            f"How it grows (`{scale['machine']['command']}`):",
            markdown(growth_rows(scale)),
            _OVER_HTTP,
            markdown(http_rows(http)),
            _AT_RATE,
            markdown(open_rows(http["at_rate"])),
            "Decisions in process, before JSON, p50 / p99 µs (`almanac bench decision`):",
            markdown(decision_rows(runs["decision"])),
        ]
    )


def beside_rows(http: _Run) -> list[list[str]]:
    """The edge under each server beside everybody who was compared with it, at many connections."""
    crowd = _crowd(http)
    rows = [["service", "CPU µs per request", "offers depend on customer / cart / moment"]]
    rows[0] += ["Almanac's throughput per core", "aim", ""]
    depends = http["facts"]["depends_on"]
    for name, row in sorted(http["rows"].items(), key=_by_cost):
        who, server, connections = name.split(" ")
        if int(connections) != crowd:
            continue
        cells = [f"{_WHO[who]} ({server})", as_cell(row["cpu_together_us"])]
        cells.append(" / ".join(depends[who][aspect] for aspect in ASPECTS))
        rows.append([*cells, *_compared(http, who, server, crowd)])
    return rows


def http_rows(http: _Run) -> list[list[str]]:
    """Every service at one connection and at many."""
    crowd = _crowd(http)
    rows = [["service", f"CPU µs per request, 1 / {crowd} connections", "of it Redis"]]
    rows[0] += [f"per second, {crowd} connections", "1 connection, p50 / p99 / p99.9 µs", "errors"]
    for name, one in http["rows"].items():
        who, server, connections = name.split(" ")
        if connections != "1":
            continue
        many = http["rows"][f"{who} {server} {crowd}"]
        redis = f"{as_cell(one['redis_cpu_us'])} / {as_cell(many['redis_cpu_us'])}"
        cells = [
            f"{who}, {server}",
            f"{as_cell(one['cpu_together_us'])} / {as_cell(many['cpu_together_us'])}",
        ]
        cells += [redis if many["redis_cpu_us"] else "", f"{many['per_second']:,.0f}"]
        cells.append(" / ".join(as_cell(one[key]) for key in ("p50_us", "p99_us", "p99.9_us")))
        rows.append([*cells, f"{one['errors'] + many['errors']}"])
    return rows


def growth_rows(scale: _Run) -> list[list[str]]:
    """Each aim for growing, what was found, and whether it was kept."""
    scaling = scale["scaling"]
    least, most = scale["sizes"][0]["customers"], scale["sizes"][-1]["customers"]
    rows = [["aim", "found", "limit", ""]]
    rows.append(
        [
            "throughput of 2 workers in that of 1, by processor time",
            f"{scaling['by_cpu']:.2f}",
            f"at least {SCALING_AIM}",
            _verdict(scaling["by_cpu"] >= SCALING_AIM),
        ]
    )
    for name, value, limit, kept in judged(scale["sizes"]):
        cells = [f"{name} ({least:,} to {most:,} customers)", f"{value:.2f}"]
        rows.append([*cells, f"at most {limit:g}", _verdict(kept)])
    return rows


def decision_rows(decision: _Run) -> list[list[str]]:
    """Decisions in process, a column for each size."""
    runs = decision["runs"]
    head = ["decision", *(f"{run['snapshot']['customers']:,} customers" for run in runs)]
    rows = [head]
    for key, name in _KINDS:
        figures = [run["contenders"][key] for run in runs]
        rows.append(
            [name, *(f"{as_cell(one['p50_us'])} / {as_cell(one['p99_us'])}" for one in figures)]
        )
    return rows


def capacity_page(runs: Mapping[str, _Run]) -> str:
    """The figures of docs/capacity.md."""
    told, scale = runs["capacity"], runs["scale"]
    machine = told["machine"]
    sizes = [["customers", "disk MB", "open / warm-up ms", "decide first / p50 µs"]]
    sizes[0] += [
        "HTTP first / new connection after a pause / without one / p50 µs",
        "private MB of a worker",
    ]
    for row in scale["sizes"]:
        cells = [f"{row['customers']:,}", f"{row['disk_bytes'] / 1e6:,.0f}"]
        cells.append(f"{row['open_ms']:.0f} / {row['warm_ms']:.1f}")
        cells.append(f"{row['first_us']:.0f} / {row['p50_us']:.0f}")
        served = [f"{row[f'served_{what}_us']:,.0f}" for what in ("first", "paused", "new", "p50")]
        cells.append(" / ".join(served))
        sizes.append([*cells, f"{row['worker_private_bytes'] / 1e6:.1f}"])
    workers = [["workers", "CPU µs per request", "per second", "driver busy"]]
    for n, row in scale["workers"].items():
        cells = [n, f"{row['cpu_us']:.0f}", f"{row['per_second']:,.0f}"]
        workers.append([*cells, f"{row['driver_busy']:.0%}"])
    return "\n\n".join(
        [
            f"Measured on {_on(machine)}{_priority(machine)} (`{machine['command']}`).",
            "### What a request costs, and what that needs",
            cost_line(told["cost"])
            + f" Workers are to be at most {UTILISATION:.0%} busy at the peak.",
            markdown(need_rows(told)),
            "### A rehearsal",
            markdown(rehearsal_rows(told["rehearsals"][-1:])),
            "### The simulation beside real runs",
            markdown(check_rows(told["check"])),
            "### Two workers, and more customers",
            markdown(workers),
            markdown(sizes),
        ]
    )


def _compared(http: _Run, who: str, server: str, crowd: int) -> list[str]:
    """Almanac's throughput in theirs, what was aimed at, and the verdict."""
    found = {
        name: ratio
        for name, ratio in http["cpu_ratios"].items()
        if name.endswith(f" / {who} {server} {crowd}")
    }
    if not found:
        return ["", "", ""]
    times = " / ".join(f"{ratio['times_per_core']:.2f} ×" for ratio in found.values())
    aim = _LEAST[who]
    best = max(ratio["times_per_core"] for ratio in found.values())
    standing = "ahead" if best > 1 else "behind"
    if aim is None:
        return [times, "told", standing]
    return [times, f"{aim:.3g} ×", f"{standing}; aim {_verdict(best >= aim)}"]


def _beside_words(http: _Run) -> str:
    servers = list(
        dict.fromkeys(name.split(" ")[1] for name in http["rows"] if name.startswith("edge "))
    )
    others = {other_of(name) for name in http["cpu_ratios"]}
    words = (
        "Who brings a server of its own is compared with Almanac under"
        f" {' and '.join(servers)}, in this order; others with Almanac under the same server."
    )
    if {"model", "scikit"} <= others:
        words += (
            " Of the models, the factors know the customer only; the trees rank the 200 most"
            " popular offers and the customer's own by customer, cart and moment, as Almanac does."
        )
    if "nginx" in others:
        words += " nginx computes nothing: what stands beside it is the price of deciding at all."
    return words


def _on(machine: _Run) -> str:
    return (
        f"{many(machine['cores'], 'core')} of {machine['cpu']}, Python {machine['python']}, "
        f"{machine['date'][:10]}, commit {machine['commit']}"
    )


def _priority(machine: Mapping[str, Any]) -> str:
    return ", with real-time priority" if machine["is_real_time"] else ""


def _company(http: _Run) -> str:
    facts = http["facts"]
    return (
        f"other work took {facts['share_of_other_work']:.0%} of all cores meanwhile, "
        f"the host {facts['share_stolen_by_the_host']:.0%}."
    )


def _crowd(http: _Run) -> int:
    return max(int(name.rpartition(" ")[2]) for name in http["rows"])


def _by_cost(named: tuple[str, _Run]) -> tuple[bool, float]:
    cost_us = named[1]["cpu_together_us"]
    return cost_us is None, cost_us or 0.0


def _verdict(is_kept: bool) -> str:  # noqa: FBT001 - a yes or no is all it is about
    return "kept" if is_kept else "missed"
