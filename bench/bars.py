"""The published protocol on Complete Journey, repeated: what each household orders next.

Tables as of 2017-12-01; asked is each household's first order after it that holds any of the 26,858
items on at least five order lines before it, by the 2,041 households with an order before. Lines of
quantity 0 count, nobody is held out, and only those items are ranked. Figures known from outside
this project stand beside ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bench.demo_builds import build_demo
from bench.results import aligned
from builder.comparison import OURS
from builder.demo import AS_OF
from builder.demo_inputs import write_inputs
from builder.effort import Effort

MIN_ORDERS: Final = 5
PUBLISHED: Final[Mapping[str, tuple[float, float]]] = {
    "default": (0.092, 0.097),
    "frequency": (0.182, 0.218),
    "tifu_knn": (0.192, 0.226),
}
"""Recall@10 and NDCG@10 (ideal cut at 10) of these methods, as known from elsewhere."""

WANTED: Final = (0.200, 0.240)
"""What a build should reach: recall@10 and NDCG@10 of all known households."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRun:
    """What was measured.

    Attributes:
        n_households: known to the tables, and asked about.
        methods: by method, recall@10 and NDCG@10 over all of them.
        reports: those of the builds.
    """

    n_households: int
    methods: Mapping[str, tuple[float, float]]
    reports: Sequence[Mapping[str, Any]]


def measure_bars(work_dir: Path, *, effort: Effort) -> BarRun:
    """Build by the protocol and read what the report says.

    Args:
        work_dir: folder for inputs and snapshot; holds none of these yet.
        effort: of the build.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    inputs = write_inputs(work_dir, holdout=0.0, min_orders=MIN_ORDERS, all_lines=True)
    return bars_of([report_of(inputs, work_dir, effort=effort)])


def report_of(
    inputs: tuple[Path, Path, Path], work_dir: Path, *, effort: Effort, as_of: str = AS_OF
) -> Mapping[str, Any]:
    """The report of a build from what `write_inputs` wrote, as report.json has it."""
    snapshot_dir, secret_path = work_dir / f"snapshot-{as_of}", work_dir / "brand.key"
    secret_path.write_text("complete-journey-bars-secret\n")
    build_demo(inputs, snapshot_dir, secret_path=secret_path, effort=effort, as_of=as_of)
    report: Mapping[str, Any] = orjson.loads((snapshot_dir / "report.json").read_bytes())
    return report


def bars_of(reports: Sequence[Mapping[str, Any]]) -> BarRun:
    """Figures over warm and thin households together, each asked about once in each report."""
    known = [
        result
        for report in reports
        for result in report["evaluation"]
        if result["question"] == "next_order" and result["slice_name"] in ("warm", "thin")
    ]
    n = sum(result["n_examples"] for result in known)
    sums: dict[str, tuple[float, float]] = {}
    for result in known:
        for method in result["methods"]:
            recall, ndcg = sums.get(method["method"], (0.0, 0.0))
            sums[method["method"]] = (
                recall + method["recall"]["mean"]["value"] * result["n_examples"],
                ndcg + method["ndcg"]["mean"]["value"] * result["n_examples"],
            )
    means = {method: (recall / n, ndcg / n) for method, (recall, ndcg) in sums.items()}
    return BarRun(n_households=n, methods=means, reports=reports)


def bar_table(run: BarRun) -> str:
    """Every method, measured and published, and whether ours reaches what is wanted."""
    rows = [[f"{run.n_households:,} households", "R@10", "NDCG@10", "published R@10", "NDCG@10"]]
    for method, figures in run.methods.items():
        published = PUBLISHED.get(method)
        told = ("–", "–") if published is None else tuple(f"{one:.3f}" for one in published)
        rows.append([method, *(f"{one:.4f}" for one in figures), *told])
    rows.append(["wanted of ours", *(f"{one:.3f}" for one in WANTED), "", ""])
    reached = all(one >= bar for one, bar in zip(run.methods[OURS], WANTED, strict=True))
    return f"{aligned(rows)}\n{'reached' if reached else 'missed'}"
