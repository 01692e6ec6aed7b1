"""The verb `almanac build`: parse, call, print, exit code."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import orjson
from cyclopts import Parameter
from cyclopts.validators import Number

from builder.build import Built
from builder.build import build as run_build
from builder.config import Config, load
from builder.effort import Effort
from builder.engine_cli import engine_from, full_disk_told, memory_from
from builder.errors import UsageError
from builder.intake import Imported, Inputs, import_inputs
from builder.night import Night, plan_for
from builder.parent import Parent, open_parent
from builder.places import make_folder
from builder.report_text import evaluation_table
from index.layout import STORE_NAME, secret_check
from index.secret import brand_secret

_UNSHIPPABLE: Final = (
    "brand: {!r} can be built and served, but not published: a store takes letters, digits, and"
    " . _ - after the first"
)


def build(
    *,
    events: Annotated[list[str], Parameter(consume_multiple=True)],
    out: Path,
    items: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    offers: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    config: Path | None = None,
    as_of: str | None = None,
    seed: int | None = None,
    rename: Annotated[list[str] | None, Parameter(name="--map", consume_multiple=True)] = None,
    target: Literal["purchase", "view", "add_to_cart"] | None = None,
    effort: Effort | None = None,
    incremental: Path | None = None,
    refresh: Annotated[int, Parameter(validator=Number(gte=1))] = 14,
    max_bad: float | None = None,
    secret_file: Path | None = None,
    memory: str = "4GiB",
    workers: int | None = None,
    engine_url: Annotated[str | None, Parameter(name="--engine")] = None,
    work: Path | None = None,
    keep_work: bool = False,
    force: bool = False,
    json: bool = False,
) -> None:
    """Learn from order lines and write a snapshot, with a report on its quality.

    When it fails half way nothing is at --out; run the same command again and it goes on after the
    last finished task.

    Example: almanac build --events 'orders/*.csv.gz' --items catalogue.csv --out snapshots/today

    Parameters
    ----------
    events
        Files or patterns of order lines and other events: CSV, JSON lines or Parquet.
    out
        Directory to make.
    items
        Files of the catalogue.
    offers
        Files of offers; without them every item is an offer.
    config
        An almanac.toml; flags override it.
    as_of
        The moment the tables stand for (a time, or a date in the brand's time zone). Later events
        enter no table and no weight; the figures of the report come from them.
    seed
        Draws the samples; the same input and seed give the same snapshot.
    rename
        SOURCE=OURS, renames a column.
    effort
        How much is spent on learning: quick, standard or thorough.
    incremental
        Directory of an earlier snapshot, usually yesterday's: records of customers and items that
        nothing happened to are kept from it, byte for byte, so that little has to be shipped.
    refresh
        Every so many builds everything is made anew, whatever --incremental says.
    target
        The event that offers are meant to bring about.
    max_bad
        Share of bad rows above which the build stops with exit code 5.
    secret_file
        File with the brand's secret, which keys customer ids.
    memory
        Memory for the whole build, such as 4GiB.
    workers
        Processes at a time; by default one per core.
    engine_url
        Where tasks run: dask://HOST:PORT, a Dask cluster; by default processes of this machine.
        Its machines see the input files and --work under the same names as this one, and --memory
        is for what happens here alone.
    work
        Folder for intermediate results; by default beside --out, and removed at the end.
    keep_work
        Leave the work folder.
    force
        Ship tables even when they are worse than plain popularity.
    json
        Print the result as JSON.
    """
    overrides = {
        "learn.seed": seed,
        "learn.effort": effort,
        "input.max_bad": max_bad,
        "input.target": target,
        "input.map": renames(rename) if rename else None,
    }
    chosen = load(config, overrides)
    as_of_us, memory_bytes = moment_us(as_of, chosen), memory_from(memory)
    _check_place(out)
    work_dir = work or out.parent / f".{out.name}.work"
    secret = brand_secret(chosen.brand.name, secret_file=secret_file or _named(chosen))
    parent = None if incremental is None else parent_for(incremental, refresh, chosen, secret)
    with (
        full_disk_told(work_dir),
        engine_from(engine_url, work_dir, workers, memory_bytes) as engine,
    ):
        if not re.match(STORE_NAME, chosen.brand.name):
            engine.listener.say(_UNSHIPPABLE.format(chosen.brand.name))
        inputs = Inputs(events=tuple(events), items=tuple(items or ()), offers=tuple(offers or ()))
        imported = import_inputs(engine, inputs, chosen, secret, parent=parent, as_of_us=as_of_us)
        plan = plan_for(imported, chosen, as_of_us, memory_bytes, work_dir)
        night = Night(
            engine=engine,
            config=chosen,
            imported=imported,
            plan=plan,
            secret=secret,
            memory_bytes=memory_bytes // 2,
            parent=parent,
        )
        built = run_build(night, out, command=shlex.join(["almanac", *sys.argv[1:]]), force=force)
    bad_rows = _keep_quarantine(imported, out)
    if not keep_work and bad_rows in (None, _quarantine_beside(out)):
        shutil.rmtree(work_dir, ignore_errors=True)
    print(_as_json(built, out, bad_rows) if json else _as_text(built, out, imported, bad_rows))


def parent_for(directory: Path, refresh: int, config: Config, secret: bytes) -> Parent | None:
    """The earlier snapshot to go on from; None when it is time for a whole build."""
    parent = open_parent(
        directory,
        brand=config.brand.name,
        secret_check=secret_check(secret),
        target=config.input.target,
    )
    if parent.depth + 1 < refresh:
        return parent
    print(
        f"{parent.depth} incremental builds since the last whole one: this one is whole",
        file=sys.stderr,
    )
    return None


def moment_us(text: str | None, config: Config) -> int | None:
    """UTC microseconds of a time, or of a date's first moment, in the brand's time zone.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    try:
        return config.moment_us(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise UsageError(
            f"--as-of {text!r} is no time", hint="say it as 2026-11-23 or 2026-11-23T06:00:00Z"
        ) from None


def _check_place(out: Path) -> None:
    """Refuse now what the writer would refuse when everything is learned."""
    if out.exists():
        raise UsageError(
            f"{out}: something is there already",
            hint="snapshots are never changed: give another --out",
            path=out,
        )
    make_folder(out.parent, flag="--out", asked=out)


def renames(pairs: list[str]) -> dict[str, str]:
    """Source column and ours, from SOURCE=OURS.

    Raises:
        UsageError: one of them is no such pair, or two are of the same column.
    """
    split = [pair.partition("=") for pair in pairs]
    if wrong := [source for source, equals, ours in split if not (source and equals and ours)]:
        raise UsageError(
            f"--map {wrong[0]!r} is no rename", hint="say it as --map basket_id=order_id"
        )
    found: dict[str, str] = {}
    for source, _, ours in split:
        if found.setdefault(source, ours) != ours:
            raise UsageError(
                f"--map renames {source} twice: to {found[source]} and to {ours}",
                hint="a column is read as one of ours only: leave one of them out",
            )
    return found


def _named(config: Config) -> Path | None:
    return Path(config.brand.secret_file) if config.brand.secret_file else None


def _quarantine_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.quarantine.csv")


def _keep_quarantine(imported: Imported, out: Path) -> Path | None:
    """Bring the bad rows beside the snapshot; where they are then, and None where there are none.

    What they hold may be of customers, so only the owner reads them there, too. Where there is no
    room for them they stay in the work folder: the snapshot is made.
    """
    if imported.quarantine_path is None:
        return None
    path = _quarantine_beside(out)
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        with imported.quarantine_path.open("rb") as found:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(found, file)
        aside.replace(path)
    except OSError as problem:
        aside.unlink(missing_ok=True)
        print(f"note: {path}: cannot be written ({problem.strerror})", file=sys.stderr)
        return imported.quarantine_path
    return path


def _as_text(built: Built, out: Path, imported: Imported, bad_rows: Path | None) -> str:
    table = evaluation_table(built.report, is_terminal=sys.stdout.isatty())
    told = f"{table}\nsnapshot: {out}\nreport: {out / 'report.html'}"
    if bad_rows is None:
        return told
    tables = (imported.report.get(name, {}) for name in ("events", "items", "offers"))
    n_bad = sum(table.get("rows_bad", 0) for table in tables)
    return f"{told}\nbad rows: {bad_rows} ({n_bad:,})"


def _as_json(built: Built, out: Path, bad_rows: Path | None) -> str:
    return orjson.dumps(
        {
            "snapshot": str(out),
            "bad_rows": None if bad_rows is None else str(bad_rows),
            "snapshot_id": built.manifest.snapshot_id,
            "model_id": built.manifest.model_id,
            "counts": built.manifest.counts,
            "report": built.report,
        },
        option=orjson.OPT_NON_STR_KEYS,
    ).decode()
