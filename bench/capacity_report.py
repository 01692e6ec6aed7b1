"""Capacity as text: the arithmetic, the rehearsal, the simulation beside what really happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.capacity import PARTS
from bench.percentiles import as_ms
from bench.results import aligned
from bench.simulate import BALANCERS


def cost_line(cost: Mapping[str, float]) -> str:
    """What a request costs, in one sentence."""
    return (
        f"A request costs {cost['alone_cpu_us']:.0f} µs of a core when it comes alone and"
        f" {cost['crowded_cpu_us']:.0f} µs where others wait."
    )


def need_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """One row per volume, after a head."""
    per_node = summary["workers_per_node"]
    head = ["volume", "mean per s", "peak per s", "cores busy at the peak, crowded / alone"]
    rows = [[*head, "workers", f"nodes of {per_node}, one to spare"]]
    for told in summary["rehearsals"]:
        volume, needed = told["volume"], told["need"]
        cells = [volume["name"], f"{volume['mean_per_s']:,.1f}", f"{volume['peak_per_s']:,.1f}"]
        cells.append(f"{needed['cores']:,.3f} / {needed['cores_alone']:,.3f}")
        rows.append([*cells, f"{needed['workers']}", f"{needed['nodes']}"])
    return rows


def rehearsal_rows(rehearsals: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One row per volume, balancer and part, after a head."""
    rows = [["volume, balancer", "part", "requests", "lost", "p50 ms", "p99 ms", "longest ms"]]
    for told in rehearsals:
        for balancer in BALANCERS:
            parts = told["balancers"][balancer]
            for name in PARTS:
                part = parts[name]
                cells = [f"{told['volume']['name']}, {balancer}", name]
                cells += [f"{part['requests']:,}", f"{part['lost']:,}"]
                rows.append([*cells, *(as_ms(part[key]) for key in ("p50_us", "p99_us", "max_us"))])
    return rows


def check_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One row per real run, the simulated figure after each real one, after a head."""
    head = ["workers", "load", "per second", "p50 ms real / simulated", "p90 ms", "p99 ms"]
    found = [[*head, "CPU µs", "driver"]]
    for row in rows:
        real, simulated = row["real"], row["simulated"]
        cells = [f"{row['workers']}", f"{row['load']:.0%}", f"{row['per_second']:,.0f}"]
        told = ("p50_us", "p90_us", "p99_us")
        cells += [f"{as_ms(real[key])} / {as_ms(simulated[key])}" for key in told]
        cells.append(f"{real['cpu_us']:.0f} / {simulated['cpu_us']:.0f}")
        found.append([*cells, "kept up" if row["is_trusted"] else "was the bottleneck"])
    return found


def capacity_text(summary: Mapping[str, Any]) -> str:
    """The whole report."""
    cost = summary["cost"]
    told = [cost_line(cost), aligned(need_rows(summary))]
    told.append(aligned(rehearsal_rows(summary["rehearsals"])))
    if summary["check"]:
        told += [aligned(check_rows(summary["check"]))]
        told += [row["verdict"] for row in summary["check"] if not row["is_trusted"]]
    return "\n\n".join(told)
