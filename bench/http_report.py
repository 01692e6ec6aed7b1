"""A run over HTTP as text: rows of the closed loop, after what it can't show, and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.http_dependence import ASPECTS
from bench.percentiles import as_cell
from bench.results import aligned

CANNOT_SHOW: Final = """\
A closed loop: a connection asks again when it was answered, so waiting for one's turn is not in
these latencies, and they say nothing about a peak. With many connections on one busy core a
latency is mostly the queue behind the others. Only processor time compares what services cost.
How long requests wait that come at a rate stands below, in an open loop."""
AIMS: Final = {
    "edge-heads": "told",
    "edge-asgi": "told",
    "no-op": "at most 1.35",
    "redis": "at most 0.77",
    "feast": "at most 0.2",
    "model": "at most 0.1",
    "scikit": "at most 0.1",
    "nginx": "told",
}
"""Of the edge's processor time per request in theirs: 1.3, 5 and 10 times the throughput."""


def row_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per service and number of connections."""
    head = ["service", "connections", "CPU µs", "of it redis", "decide p50 µs", "per second"]
    head += ["core busy", "driver busy", "p50 µs", "p99 µs", "p99.9 µs", "bytes", "errors"]
    lines = [head]
    for name, row in sorted(rows.items(), key=_by_connections):
        service, _, connections = name.rpartition(" ")
        cells = [service, connections, as_cell(row["cpu_together_us"])]
        decided_us = row["decide_p50_us"]
        cells += [as_cell(row["redis_cpu_us"]), "" if decided_us is None else f"{decided_us:.0f}"]
        cells += [f"{row['per_second']:,.0f}"]
        cells += [f"{row['core_busy']:.0%}", f"{row['driver_busy']:.0%}"]
        cells += [as_cell(row[key]) for key in ("p50_us", "p99_us", "p99.9_us")]
        lines.append([*cells, f"{row['answer_bytes']}", f"{row['errors']}"])
    return aligned(lines)


def ratio_lines(ratios: Mapping[str, Mapping[str, float]]) -> str:
    """The edge's processor time per request in that of the others, with its spread over rounds."""
    lines = [["CPU per request", "median", "lowest", "highest", "aim", "throughput per core"]]
    for name, ratio in ratios.items():
        cells = [f"{ratio[key]:.2f}" for key in ("median", "lowest", "highest")]
        lines.append([name, *cells, AIMS[other_of(name)], f"{ratio['times_per_core']:.2f} ×"])
    return aligned(lines)


def other_of(ratio: str) -> str:
    """With whom a ratio compares.

    >>> other_of("edge uvicorn / feast gunicorn 16")
    'feast'
    """
    return ratio.partition(" / ")[2].partition(" ")[0]


def dependence_table(depends_on: Mapping[str, Mapping[str, str]]) -> str:
    """What changed each contender's offers, as probes found it."""
    lines = [["offers depend on", *ASPECTS]]
    lines += [[name, *(found[aspect] for aspect in ASPECTS)] for name, found in depends_on.items()]
    return aligned(lines)


def skipped_lines(skipped: Mapping[str, str]) -> list[str]:
    """Who did not take part, and why."""
    return [f"{name} took no part: {why}" for name, why in skipped.items()]


def company_line(facts: Mapping[str, Any]) -> str:
    """Who else used the machine: where it is much, only the ratios mean something."""
    return (
        f"Other work took {facts['share_of_other_work']:.0%} of all cores meanwhile, "
        f"the host {facts['share_stolen_by_the_host']:.0%}."
    )


def profile_table(figures: Mapping[str, Mapping[str, float | None]]) -> str:
    """One line per part of a request."""
    lines = [["in process", "p50 µs", "p99 µs", "p99.9 µs"]]
    for name, row in figures.items():
        lines.append([name, *(as_cell(row[key], 1) for key in ("p50_us", "p99_us", "p99.9_us"))])
    return aligned(lines)


def _by_connections(named: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
    service, _, connections = named[0].rpartition(" ")
    return -int(connections), service
