"""Figures of a soak, and which promises it broke: pure functions of what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.percentiles import as_cell, percentiles_us
from bench.results import aligned
from bench.soak_load import Heard
from bench.soak_node import Held
from bench.swap_soak import Soak
from index.wording import many

WINDOWS: Final = ("steady", "bringing", "changing over")
MOST_RATIO: Final = 2.0
MOST_BYTES_PER_SWAP: Final = 8 << 10
FEWEST_FOR_LATENCY: Final = 100
"""Swaps below which latency is not judged."""
FEWEST_FOR_MEMORY: Final = 300
"""Swaps below which growth is not judged: now and then a heap grows by a MiB, for good."""
_BEFORE_NS: Final = 300_000_000
_AFTER_NS: Final = 1_500_000_000  # a retired snapshot is closed a second after the swap
NOISE: Final = (
    "Ratios compare windows of one run, but two cores that others use as well make them noisy:"
    " run it twice before believing either."
)


def soak_summary(run: Soak) -> dict[str, Any]:
    """All figures of a run, and the promises it broke as sentences."""
    heard = run.heard
    summary: dict[str, Any] = {
        "plan": asdict(run.plan),
        "swaps": len(run.served_ns),
        "requests": len(heard.statuses),
        "failed": n_failed(heard),
        "refused": int(np.count_nonzero((heard.statuses >= 400) & (heard.statuses < 500))),
        "torn": int(np.count_nonzero(heard.torn)),
        "answered_by": {
            name: int(np.count_nonzero(heard.snapshots == place))
            for place, name in enumerate(heard.names)
        },
        "failures": heard.failures,
        "leaked": run.leaked,
        "restarts": run.restarts,
        "outcomes": run.outcomes,
        "swap_s": _spread(run.announced_ns, run.served_ns),
        "latency": latency_by_window(heard, run.announced_ns, run.served_ns),
        "memory": {name: growth_of(run.held, name) for name in run.held[0]},
    }
    return summary | {"broken": broken(summary)}


def n_failed(heard: Heard) -> int:
    """Requests whose connection broke, or whose answer says that the server failed."""
    return int(np.count_nonzero((heard.statuses < 100) | (heard.statuses >= 500)))


def windows_of(
    due_ns: NDArray[np.int64], announced_ns: Sequence[int], served_ns: Sequence[int]
) -> NDArray[np.int64]:
    """Places in `WINDOWS` of requests by when they were due.

    >>> second = 1_000_000_000
    >>> due = np.array([1, 4, 6, 9]) * second
    >>> windows_of(due, [3 * second], [6 * second]).tolist()
    [0, 1, 2, 0]
    """
    found = np.zeros(len(due_ns), dtype=np.int64)
    for began, served in zip(announced_ns, served_ns, strict=True):
        over = max(began, served - _BEFORE_NS)
        found[(due_ns >= began) & (due_ns < over)] = 1
        found[(due_ns >= over) & (due_ns < served + _AFTER_NS)] = 2
    return found


def latency_by_window(
    heard: Heard, announced_ns: Sequence[int], served_ns: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """Percentiles of each window, how many requests it had, and its p99 in that of `steady`."""
    windows = windows_of(heard.due_ns, announced_ns, served_ns)
    found: dict[str, dict[str, float | None]] = {}
    for place, name in enumerate(WINDOWS):
        times = heard.nanoseconds[(windows == place) & (heard.statuses == 200)]
        found[name] = {"requests": len(times), **percentiles_us(times)}
    steady_us = found["steady"]["p99_us"]
    for figures in found.values():
        p99_us = figures["p99_us"]
        figures["p99_ratio"] = round(p99_us / steady_us, 2) if p99_us and steady_us else None
    return found


def growth_of(held: Sequence[Mapping[str, Held]], name: str) -> dict[str, float]:
    """How what a process holds changed from swap to swap.

    Args:
        held: by process name, before the first swap and after each.
        name: whose.

    Returns:
        Private bytes in the first and the last tenth (medians), the slope of a line through those
        of the second half, and the first and last count of mappings and of open files.
    """
    own = [found[name] for found in held if name in found]
    private = np.array([found.private_bytes for found in own], dtype=np.float64)
    tenth = max(1, len(own) // 10)
    settled = private[len(own) // 2 :]
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] if len(settled) > 1 else 0.0
    return {
        "private_first_tenth": float(np.median(private[:tenth])),
        "private_last_tenth": float(np.median(private[-tenth:])),
        "private_bytes_per_swap": round(float(slope), 1),
        "mapped_before": own[0].mapped,
        "mapped_after": own[-1].mapped,
        "descriptors_before": own[0].descriptors,
        "descriptors_after": own[-1].descriptors,
    }


def broken(summary: Mapping[str, Any]) -> list[str]:
    """The promises that a run did not keep, each as a sentence."""
    found = [
        f"{summary[what]} {told}"
        for what, told in (
            ("failed", "requests failed"),
            ("refused", "requests were refused"),
            ("torn", "answers were not what their snapshot gives"),
            ("leaked", "retired snapshots stayed mapped"),
            ("restarts", "workers had to be replaced"),
        )
        if summary[what]
    ]
    n_swaps = summary["swaps"]
    for name, growth in summary["memory"].items():
        for what, told in (("mapped", "snapshot files mapped"), ("descriptors", "files open")):
            before, after = growth[f"{what}_before"], growth[f"{what}_after"]
            if name.startswith("worker") and after > before:
                found.append(f"{name} has {after} {told}, and had {before}")
        per_swap = growth["private_bytes_per_swap"]
        if n_swaps >= FEWEST_FOR_MEMORY and per_swap > MOST_BYTES_PER_SWAP:
            found.append(f"{name} grows by {per_swap:.0f} bytes a swap")
    for window, figures in summary["latency"].items():
        if n_swaps >= FEWEST_FOR_LATENCY and (figures["p99_ratio"] or 0.0) > MOST_RATIO:
            found.append(f"p99 while {window} is {figures['p99_ratio']} times that between swaps")
    return found


def soak_table(summary: Mapping[str, Any]) -> str:
    """The figures as text."""
    latency = [["window", "requests", "p50 µs", "p99 µs", "p99.9 µs", "p99 / steady"]]
    for window, figures in summary["latency"].items():
        told = [as_cell(figures[key]) for key in ("p50_us", "p99_us", "p99.9_us")]
        latency.append(
            [
                window,
                f"{figures['requests']:,.0f}",
                *told,
                "–" if figures["p99_ratio"] is None else f"{figures['p99_ratio']}",
            ]
        )
    memory = [["process", "MiB first", "MiB last", "late B/swap", "mapped", "open files"]]
    for name, growth in summary["memory"].items():
        memory.append(
            [
                name,
                f"{growth['private_first_tenth'] / 2**20:.1f}",
                f"{growth['private_last_tenth'] / 2**20:.1f}",
                f"{growth['private_bytes_per_swap']:.0f}",
                f"{growth['mapped_before']} → {growth['mapped_after']}",
                f"{growth['descriptors_before']} → {growth['descriptors_after']}",
            ]
        )
    counts = (
        f"{many(summary['swaps'], 'swap')}, {many(summary['requests'], 'request')}:"
        f" {summary['failed']} failed,"
        f" {summary['refused']} refused, {summary['torn']} torn;"
        f" {many(summary['leaked'], 'snapshot')} leaked,"
        f" {many(summary['restarts'], 'worker')} replaced.\n"
        f"From announcement to served: median {summary['swap_s']['median']} s,"
        f" longest {summary['swap_s']['longest']} s."
    )
    verdict = "\n".join(f"BROKEN: {one}" for one in summary["broken"]) or "All promises kept."
    return "\n\n".join((counts, aligned(latency), NOISE, aligned(memory), verdict))


def _spread(began_ns: Sequence[int], ended_ns: Sequence[int]) -> dict[str, float]:
    took_s = (np.array(ended_ns) - np.array(began_ns)) / 1e9
    return {
        "median": round(float(np.median(took_s)), 2),
        "longest": round(float(took_s.max()), 2),
    }
