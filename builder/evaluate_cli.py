"""The verb `almanac evaluate`: parse, call, print, exit code."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from builder.cli import renames
from builder.engine_cli import engine_from, full_disk_told, memory_from
from builder.errors import NotWritable
from builder.evaluation import evaluate as run_evaluation
from builder.evaluation import settings_for
from builder.evaluation_html import render_evaluation
from builder.evaluation_text import evaluation_text
from builder.intake import Inputs
from builder.report_files import as_json
from index.batch import output_file
from index.secret import brand_secret
from index.snapshot import open_snapshot


def evaluate(
    snapshot: Path,
    *,
    events: Annotated[list[str], Parameter(consume_multiple=True)],
    items: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    config: Path | None = None,
    rename: Annotated[list[str] | None, Parameter(name="--map", consume_multiple=True)] = None,
    ablate: bool = False,
    min_orders: int | None = None,
    max_bad: float | None = None,
    secret_file: Path | None = None,
    memory: str = "4GiB",
    workers: int | None = None,
    engine_url: Annotated[str | None, Parameter(name="--engine")] = None,
    work: Path | None = None,
    html: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Measure a snapshot on events that are later than its tables, beside known methods.

    Orders at or after the moment that the tables stand for are asked about, as the build's report
    asks: for known customers and strangers, with and without a cart. Events from before that moment
    are what the known methods learn from; give them too, or only plain popularity stands beside
    ours. Events are read as the build read its own.

    Example: almanac evaluate snapshots/today --events 'orders/*.csv.gz' --html evaluation.html

    Parameters
    ----------
    snapshot
        Directory that `almanac build --out` wrote.
    events
        Files or patterns of order lines and other events: CSV, JSON lines or Parquet.
    items
        Files of the catalogue; they give segments their categories.
    config
        An almanac.toml; flags override it.
    rename
        SOURCE=OURS, renames a column.
    ablate
        Also take each signal out of the sum in turn, and say what is lost.
    min_orders
        Leave out offers in fewer order lines than this before the tables' moment, for all methods.
    max_bad
        Share of bad rows above which nothing is measured, with exit code 5.
    secret_file
        File with the brand's secret, the one that the build used.
    memory
        Memory for the whole evaluation, such as 4GiB.
    workers
        Processes at a time; by default one per core.
    engine_url
        Where tasks run: dask://HOST:PORT, a Dask cluster; by default processes of this machine.
        Its machines see the input files and --work under the same names as this one, and --memory
        is for what happens here alone.
    work
        Folder for intermediate results, kept for the next run; by default they are thrown away.
    html
        Also write a page with charts.
    out
        Also write the figures as JSON.
    json
        Print the figures as JSON instead of tables.
    """
    with open_snapshot(snapshot) as generation:
        manifest, timezone = generation.manifest, generation.model.timezone
    overrides: dict[str, object] = {
        "input.max_bad": max_bad,
        "input.map": renames(rename) if rename else None,
        "evaluation.min_orders": min_orders,
    }
    chosen = settings_for(manifest, timezone, config, overrides)
    memory_bytes = memory_from(memory)
    for path in (html, out):
        if path is not None:
            _check_file(path)
    named = secret_file or chosen.brand.secret_file
    secret = brand_secret(manifest.brand, secret_file=named, create=False)
    with (
        TemporaryDirectory(prefix="almanac-evaluate-") as thrown_away,
        full_disk_told(work_dir := work or Path(thrown_away)),
        engine_from(engine_url, work_dir, workers, memory_bytes) as engine,
    ):
        found = run_evaluation(
            engine,
            snapshot,
            Inputs(events=tuple(events), items=tuple(items or ())),
            chosen,
            secret,
            ablate=ablate,
            command=shlex.join(["almanac", *sys.argv[1:]]),
            memory_bytes=memory_bytes // 2,
        )
    told = as_json(found)
    if html is not None:
        _write(html, render_evaluation(found).encode())
    if out is not None:
        _write(out, told)
    print(
        told.decode().rstrip("\n")
        if json
        else evaluation_text(found, is_terminal=sys.stdout.isatty())
    )


def _write(path: Path, content: bytes) -> None:
    with output_file(path) as file:
        file.write(content)


def _check_file(path: Path) -> None:
    """Refuse now what could not be written when everything is measured."""
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise NotWritable(
            f"{path}: no file can be written there", hint="give another path", path=path
        )
