"""The verb `almanac bench churn`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from bench.churn import as_summary, churn_table, measure_churn
from bench.machine import machine_facts
from bench.results import DEFAULT_DIR, tell_run
from builder.effort import Effort
from builder.places import make_folder


def churn(
    *,
    nights: Annotated[int, Parameter(validator=Number(gte=1, lte=30))] = 3,
    effort: Effort = "quick",
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> None:
    """Measure what consecutive nights change, and what a node must fetch of it.

    Builds the demo's shop for midnight after midnight from 2017-12-01 on, whole and on top of the
    night before, publishes both with deltas, and counts the bytes that a node fetches that has the
    night before. Takes two builds a night. The summary is kept under `--out-dir`, the snapshots are
    not.

    Parameters
    ----------
    nights
        Nights that are shipped, after the first.
    effort
        How much is spent on learning: quick, standard or thorough.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of a table.
    """
    make_folder(out_dir, flag="--out-dir")
    facts = machine_facts(f"almanac bench churn --nights {nights} --effort {effort}")
    with TemporaryDirectory(prefix="almanac-churn-") as work_dir:
        found = measure_churn(Path(work_dir), nights=nights, effort=effort)
    summary = {"machine": facts, "nights": as_summary(found)}
    tell_run("churn", summary, churn_table(found), out_dir=out_dir, json=json)
