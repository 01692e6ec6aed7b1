"""A run under open load as text: the verdict first, since without it the rest means nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.percentiles import as_ms
from bench.results import aligned
from index.wording import many


def load_text(summary: Mapping[str, Any]) -> str:
    """The whole report."""
    verdict = summary["verdict"]
    parts = [verdict["sentence"], *verdict["remarks"], phase_table(summary["phases"])]
    parts.append(kind_table(summary["kinds"]))
    carts = summary["mix"]["cart_items"]
    parts.append(f"items in the cart: p50 {carts['p50']}, p90 {carts['p90']}, max {carts['max']}")
    return "\n\n".join([*parts, driver_lines(summary)])


def phase_table(phases: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per phase; what a closed loop would have said stands beside it."""
    head, rows = phase_cells(phases)
    return aligned([head, *rows])


def phase_cells(phases: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The columns' names and the cells of each phase, as texts."""
    head = ["phase", "asked/s", "due/s", "answered/s", "errors", "late", "waited"]
    head += ["p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "from sending: p99 ms"]
    rows = []
    for name, phase in phases.items():
        rates = [f"{phase[key]:,.1f}" for key in ("asked_per_s", "due_per_s", "answered_per_s")]
        latency = [as_ms(value) for value in phase["latency"].values()]
        rows.append([name, *rates, *_counts(phase), *latency, as_ms(phase["service"]["p99_us"])])
    return head, rows


def kind_table(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per kind of request."""
    rows = [["kind", "requests", "errors", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]]
    for name, kind in kinds.items():
        latency = [as_ms(value) for value in kind["latency"].values()]
        rows.append([name, f"{kind['requests']:,}", _errors(kind["errors"]), *latency])
    return aligned(rows)


def driver_lines(summary: Mapping[str, Any]) -> str:
    """What the drivers cost, and how busy the machine was."""
    lines = [
        f"driver {number}: busy {driver['busy_share']:.0%} of its time"
        f" ({driver['busy_us_per_request']} µs per request), {driver['cpu_share']:.0%} of a core"
        f" with watching, {many(driver['connects'], 'connection')} made, answers unread for"
        f" {as_ms(driver['unread']['p99_us'])} ms (p99)"
        for number, driver in enumerate(summary["drivers"], 1)
    ]
    host = summary["host"]
    lines.append(
        f"all cores busy {host['busy_share']:.0%}, {host['stolen_share']:.0%} taken by the host"
    )
    return "\n".join(lines)


def _counts(phase: Mapping[str, Any]) -> list[str]:
    return [
        _errors(phase["errors"]),
        f"{phase['late']:,}",
        f"{phase['waited_for_connection']:,}",
    ]


def _errors(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in errors.items()) or "0"
