"""How costs grow, as text: workers, then customers, each beside what was aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.results import aligned

SCALING_AIM: Final = 1.7
P50_AIM: Final = 1.3
OPEN_AIM_MS: Final = 50.0
FIRST_AIM: Final = 2.0
MEMORY_AIM: Final = 1.05
"""Private memory "unchanged": pages come and go by some hundreds of kilobytes."""


def worker_table(summary: Mapping[str, Any]) -> str:
    """One line per number of workers, and what the second one brings."""
    lines = [["workers", "CPU µs", "per second", "driver busy", "busiest worker's share"]]
    for n, row in summary["workers"].items():
        cells = [n, f"{row['cpu_us']:.0f}", f"{row['per_second']:,.0f}"]
        lines.append([*cells, f"{row['driver_busy']:.0%}", f"{row['busiest_share']:.0%}"])
    scaling = summary["scaling"]
    return (
        f"{aligned(lines)}\n\n1 → 2 workers: {scaling['by_cpu']:.2f} × by processor time "
        f"({scaling['lowest']:.2f} to {scaling['highest']:.2f}; aim: at least {SCALING_AIM}), "
        f"{scaling['by_clock']:.2f} × by the clock"
        + (
            ""
            if summary["workers"]["2"]["driver_has_own_core"]
            else ", where the driver needs a core"
        )
    )


def size_table(sizes: Sequence[Mapping[str, Any]]) -> str:
    """One line per number of customers."""
    head = [
        "customers",
        "disk MB",
        "open ms",
        "warm ms",
        "decide p50 µs",
        "first µs",
        "HTTP p50 µs",
    ]
    head += ["new connection µs", "after a pause µs", "HTTP first µs"]
    lines = [[*head, "private MB of a worker"]]
    for row in sizes:
        cells = [f"{row['customers']:,}", f"{row['disk_bytes'] / 1e6:,.0f}"]
        cells += [
            f"{row['open_ms']:.1f}",
            f"{row['warm_ms']:.1f}",
            f"{row['p50_us']:.1f}",
            f"{row['first_us']:.0f}",
        ]
        cells += [f"{row[f'served_{what}_us']:.0f}" for what in ("p50", "new", "paused", "first")]
        lines.append([*cells, f"{row['worker_private_bytes'] / 1e6:.1f}"])
    return aligned(lines)


def judged(sizes: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float, bool]]:
    """Each aim for growing: what it says, what was found, the limit, whether it was kept."""
    smallest = sizes[0]
    found = [
        ("decide p50, largest beside smallest", _worst(sizes, "p50_us", smallest), P50_AIM),
        ("HTTP p50, largest beside smallest", _worst(sizes, "served_p50_us", smallest), P50_AIM),
        (
            "private memory of a worker, beside the smallest",
            _worst(sizes, "worker_private_bytes", smallest),
            MEMORY_AIM,
        ),
        ("longest open, ms", max(row["open_ms"] for row in sizes), OPEN_AIM_MS),
        (
            "first decision after a change-over, beside p50",
            max(row["first_us"] / row["p50_us"] for row in sizes),
            FIRST_AIM,
        ),
        (
            "first request of a fresh worker, beside others over new connections after a pause",
            max(row["served_first_us"] / row["served_paused_us"] for row in sizes),
            FIRST_AIM,
        ),
        (
            "first request of a fresh worker, beside others over new connections without one",
            max(row["served_first_us"] / row["served_new_us"] for row in sizes),
            FIRST_AIM,
        ),
    ]
    return [(name, value, limit, value <= limit) for name, value, limit in found]


def judgement_table(sizes: Sequence[Mapping[str, Any]]) -> str:
    """The aims as text."""
    lines = [["aim", "found", "at most", ""]]
    for name, value, limit, kept in judged(sizes):
        lines.append([name, f"{value:.2f}", f"{limit:g}", "kept" if kept else "missed"])
    return aligned(lines)


def _worst(sizes: Sequence[Mapping[str, Any]], key: str, smallest: Mapping[str, Any]) -> float:
    return max(float(row[key]) / float(smallest[key]) for row in sizes)
