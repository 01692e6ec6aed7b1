"""The verbs `almanac bench …`: parse, measure, keep the samples, print a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from bench.decision import RAW, Samples, measure_decisions
from bench.machine import machine_facts
from bench.results import DEFAULT_DIR, aligned, write_run
from bench.synthetic import Shape


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
    run_dir = write_run("decision", summary, raw, out_dir)
    print(orjson.dumps(summary).decode() if json else _table(runs))
    print(f"samples and summary: {run_dir}", file=sys.stderr)


def _figures(samples: list[Samples]) -> dict[str, dict[str, float]]:
    base = next(sample.figures()["p50_us"] for sample in samples if sample.name == RAW)
    return {
        sample.name: figures | {"p50_in_gets": round(figures["p50_us"] / base, 1)}
        for sample in samples
        for figures in [sample.figures()]
    }


def _table(runs: list[dict[str, Any]]) -> str:
    head = ["decision", "customers", "p50 µs", "p99 µs", "p99.9 µs", "per CPU s", "p50 / get"]
    rows = [head]
    for run in runs:
        for name, figures in run["contenders"].items():
            rows.append(
                [
                    name,
                    f"{run['snapshot']['customers']:,}",
                    f"{figures['p50_us']:.1f}",
                    f"{figures['p99_us']:.1f}",
                    f"{figures['p999_us']:.1f}",
                    f"{figures['per_cpu_second']:,.0f}",
                    f"{figures['p50_in_gets']:.1f}",
                ]
            )
    return aligned(rows)
