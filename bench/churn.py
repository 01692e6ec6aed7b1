"""Churn: what consecutive nights of Complete Journey change, and what has to be shipped of it.

Each night sees the orders before one more midnight of the shop. It is built twice: whole, and on
top of the night before (`--incremental`). Both are published into a store of their own, with deltas
from the night before; what a node that has that one must fetch is counted from what the store then
holds, object by object, as a node would choose.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from bench.demo_builds import build_demo
from bench.results import aligned
from builder.comparison import OURS
from builder.demo_inputs import write_inputs
from builder.effort import Effort
from index.diff_decisions import golden_questions, replay
from index.diff_tables import TableChurn, churn_of
from index.manifest import read_manifest
from index.shipping.delta_list import read_delta_list
from index.shipping.delta_ways import way_to
from index.shipping.publish import publish, ready_snapshot
from index.shipping.publish_deltas import publish_deltas
from index.shipping.store import Store, open_store
from index.snapshot import open_snapshot

FIRST_NIGHT: Final = date(2017, 12, 1)
MANNERS: Final = ("whole", "incremental")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightShipped:
    """One night of one manner.

    Attributes:
        night: the midnight before which orders are seen.
        manner: `whole` or `incremental`.
        snapshot_bytes: of all files.
        object_bytes: of those that differ from the night before.
        fetched_bytes: what a node that has the night before fetches.
        build_s: wall seconds of the build.
        tables: churn against the night before.
        same_lists: share of golden questions with the same list as the night before.
        incremental: what the manifest says was kept; empty for a whole build.
        ndcg: NDCG@10 of the report, by slice, as `question/slice`.
    """

    night: str
    manner: str
    snapshot_bytes: int
    object_bytes: int
    fetched_bytes: int
    build_s: float
    tables: list[TableChurn]
    same_lists: float
    incremental: dict[str, Any]
    ndcg: dict[str, float]


def measure_churn(work_dir: Path, *, nights: int, effort: Effort) -> list[NightShipped]:
    """Build consecutive nights and ship them.

    Args:
        work_dir: folder for inputs, snapshots and stores; holds none of these yet.
        nights: how many nights are shipped, besides the first one, which nothing is compared with.
        effort: of the builds.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    secret_path = work_dir / "brand.key"
    secret_path.write_text("complete-journey-churn-secret\n")
    shipped: list[NightShipped] = []
    for number in range(nights + 1):
        night = FIRST_NIGHT + timedelta(days=number)
        inputs_dir = work_dir / f"inputs-{night}"
        inputs_dir.mkdir()
        inputs = write_inputs(inputs_dir, before=str(night))
        for manner in MANNERS if number else MANNERS[:1]:
            before = _snapshot(
                work_dir, night - timedelta(days=1), manner if number > 1 else "whole"
            )
            out = _snapshot(work_dir, night, manner)
            parent = before if manner == "incremental" else None
            began_s = time.perf_counter()
            build_demo(inputs, out, secret_path=secret_path, effort=effort, parent=parent)
            took_s = time.perf_counter() - began_s
            if number:
                store = open_store(work_dir / f"store-{manner}")
                shipped.append(_shipped(store, night, manner, before, out, took_s))
                _say(shipped[-1])
    return shipped


def _snapshot(work_dir: Path, night: date, manner: str) -> Path:
    return work_dir / f"{manner}-{night}"


def _shipped(  # noqa: PLR0917  # what one row of the table is made of
    store: Store, night: date, manner: str, before: Path, out: Path, took_s: float
) -> NightShipped:
    for directory in (before, out):
        publish(store, ready_snapshot(directory, ()))
    manifest = read_manifest(out)
    publish_deltas(store, out, manifest, [before])
    here = {entry.sha256 for entry in read_manifest(before).files}
    missing = [entry for entry in manifest.files if entry.sha256 not in here]
    fetched = 0
    for entry in missing:
        way = way_to(
            entry.sha256,
            entry.size,
            listed=lambda sha256: read_delta_list(store, sha256),
            is_here=here.__contains__,
        )
        fetched += entry.size if way is None else sum(step.delta.size for step in way)
    with open_snapshot(before) as old, open_snapshot(out) as new:
        tables = list(churn_of(old, new))
        answers = replay(old, new, golden_questions(old, new))
    report = orjson.loads((out / "report.json").read_bytes())
    return NightShipped(
        night=str(night),
        manner=manner,
        snapshot_bytes=sum(entry.size for entry in manifest.files),
        object_bytes=sum(entry.size for entry in missing),
        fetched_bytes=fetched,
        build_s=took_s,
        tables=tables,
        same_lists=answers.same if answers else 1.0,
        incremental=manifest.build.get("incremental", {}),
        ndcg={
            f"{result['question']}/{result['slice_name']}": method["ndcg"]["mean"]["value"]
            for result in report["evaluation"]
            for method in result["methods"]
            if method["method"] == OURS
        },
    )


def _say(night: NightShipped) -> None:
    sys.stderr.write(
        f"{night.night} {night.manner}: {night.fetched_bytes:,} of {night.snapshot_bytes:,} bytes\n"
    )


def churn_table(nights: Sequence[NightShipped]) -> str:
    """A row for each night and manner."""
    names = [table.table for table in nights[0].tables]
    head = ["night", "build", "fetched", "of", "share", *(f"{name} put" for name in names)]
    rows = [[*head, "same lists", "build s"]]
    for night in nights:
        share = night.fetched_bytes / night.snapshot_bytes
        churns = [f"{table.churn:.1%}" for table in night.tables]
        rows.append(
            [
                night.night,
                night.manner,
                f"{night.fetched_bytes:,}",
                f"{night.snapshot_bytes:,}",
                f"{share:.1%}",
                *churns,
                f"{night.same_lists:.0%}",
                f"{night.build_s:.0f}",
            ]
        )
    return aligned(rows)


def as_summary(nights: Sequence[NightShipped]) -> list[dict[str, Any]]:
    """For the summary that is kept."""
    return [asdict(night) for night in nights]
