"""The way of the data from input files to what learners read, stage by stage.

`inspect` looks at every file; `import` parses and judges rows; here the data gate is held;
`events` brings each customer's rows together; `vocabulary` numbers items and offers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from builder.catalogue import ITEMS, ImportItems, item_rules
from builder.clean import QUARANTINE, Rule
from builder.columns import (
    CONTEXT_PREFIX,
    Chosen,
    check_renames,
    check_times,
    choose,
    context_columns,
)
from builder.config import Config
from builder.duck import connect, literal
from builder.engine import Engine, Task
from builder.errors import DataGate
from builder.events import CONTEXTS, EVENTS, EventSettings, event_rules
from builder.import_report import (
    TableImport,
    gate_sentence,
    hidden_notice,
    notices,
    table_report,
    vocabulary_notices,
)
from builder.importing import ImportEvents
from builder.merging import EVENTS_NAME, LOT_DAYS, LOT_PARTS, MERGE_RULES, MergeEvents
from builder.offers import OFFER_RULES, OFFERS, ImportOffers
from builder.parent import Parent
from builder.sources import SourceFile, expand, inspected, inspections
from builder.tally import Tally, read_tally, total
from builder.vocabulary import MakeVocabulary, count_hidden
from index.layout import secret_check

REPORT_NAME: Final = "import-report.json"
QUARANTINE_NAME: Final = "quarantine.csv"
# A partition of this many rows fits a worker's memory many times over.
_ROWS_PER_PARTITION: Final = 500_000
_MIN_PARTITIONS: Final = 4
# So few rows take less time than it takes to begin and end a task four times over.
_ROWS_OF_ONE: Final = 10_000
_MAX_PARTITIONS: Final = 256
_ROWS_PER_TASK: Final = 500_000
_REPORT_MEMORY_BYTES: Final = 2**30
_BY_LOT: Final = (
    "events: all have the same time, so which orders are later is drawn by lot, over"
    f" {LOT_DAYS} days before it; lines without an order are dealt into {LOT_PARTS}"
)
_TABLES: Final = (EVENTS, ITEMS, OFFERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Names and patterns of the input files."""

    events: tuple[str | Path, ...]
    items: tuple[str | Path, ...] = ()
    offers: tuple[str | Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What learning starts from.

    Attributes:
        events: one file of canonical events per partition; partitions and rows in customer order.
        vocabulary_dir: holds items.parquet, offers.parquet and item_offers.parquet.
        contexts: context features, without the prefix `ctx_` of their columns.
        first_us: the earliest event.
        last_us: the latest event.
        by_lot: all events had the same time, and orders got theirs by lot.
        report: the import report, as in `report_path`.
        quarantine_path: CSV of the bad rows (file, row, reason, raw); None when there is none.
    """

    events: tuple[Path, ...]
    vocabulary_dir: Path
    contexts: tuple[str, ...]
    first_us: int
    last_us: int
    by_lot: bool
    report: dict[str, Any]
    report_path: Path
    quarantine_path: Path | None


def end_of_today() -> int:
    """The last microsecond of this UTC day: the usual `now`, the same for a build that resumes."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today + timedelta(days=1)).timestamp()) * 1_000_000 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of the inputs on its way: its files, and the tasks that import them."""

    table: str
    files: Sequence[SourceFile]
    chosen: Sequence[Chosen]
    rules: Sequence[Rule]
    tasks: Sequence[Task]

    def imported(self, folders: Sequence[Path]) -> TableImport:
        return TableImport(
            table=self.table,
            files=self.files,
            chosen=self.chosen,
            rules=self.rules,
            tally=total(map(read_tally, folders)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is imported, and how events are split."""

    parts: tuple[_Part, ...]
    contexts: tuple[str, ...]
    n_partitions: int

    @property
    def tasks(self) -> list[Task]:
        return [task for part in self.parts for task in part.tasks]


def import_inputs(
    engine: Engine,
    inputs: Inputs,
    config: Config,
    secret: bytes,
    *,
    now_us: int | None = None,
    parent: Parent | None = None,
    as_of_us: int | None = None,
    in_part: bool = False,
    inherited: Mapping[str, str] | None = None,
) -> Imported:
    """Read, clean and order everything.

    Args:
        engine: runs the stages; report and quarantine are written into its work folder.
        inputs: which files.
        config: the brand's choices.
        secret: keys customer ids.
        now_us: events after this are in the future; by default `end_of_today`.
        parent: an earlier snapshot whose rows items and offers keep.
        as_of_us: the moment the tables shall stand for; None for the end of the data.
        in_part: the choices are of a build that had other inputs besides, so a renaming may be
            meant for those, and what can be shown is not told by these.
        inherited: renamings of an earlier build; see `check_renames`.

    Raises:
        InputNotFound: a name or pattern stands for no file.
        InputUnreadable: a file is damaged, empty or of no format we read.
        UsageError: columns are missing, or named twice, or renamed in vain.
        DataGate: more than `input.max_bad` of an input's rows are bad, or no event is left.
    """
    settings = EventSettings.of(config, end_of_today() if now_us is None else now_us)
    files = _inspect(engine, inputs, config, in_part=in_part, inherited=inherited or {})
    plan = _plan(files, config, settings, secret)
    results = iter(engine.run("import", plan.tasks))
    folders = {part.table: [next(results) for _ in part.tasks] for part in plan.parts}
    tables = [part.imported(folders[part.table]) for part in plan.parts]
    quarantine_path = _write_quarantine(engine, folders)
    _hold_gate(engine, tables, config, quarantine_path)

    first_us = tables[0].tally.first_us
    by_lot = first_us is not None and first_us == tables[0].tally.last_us
    merged = engine.run("events", _merges(plan, folders["events"], config, by_lot=by_lot))
    tables[0] = replace(
        tables[0],
        rules=(*tables[0].rules, *MERGE_RULES),
        tally=_after(tables[0].tally, total(map(read_tally, merged))),
    )
    vocabulary = MakeVocabulary(
        events=tuple(merged),
        items=tuple(folders["items"]),
        offers=tuple(folders["offers"]),
        parent=parent,
    )
    [vocabulary_dir] = engine.run("vocabulary", [vocabulary])
    report = _report(tables, config, read_tally(vocabulary_dir))
    if by_lot:
        report["notices"].append(_BY_LOT)
    tally = tables[0].tally
    if not in_part and tally.last_us is not None:
        from_us = tally.last_us + 1 if as_of_us is None else as_of_us
        hidden = count_hidden(vocabulary_dir, from_us, _REPORT_MEMORY_BYTES)
        report["notices"] += filter(None, [hidden_notice(*hidden, from_us)])
    report_path = _write_report(engine, report)
    for notice in report["notices"]:
        engine.listener.say(notice)
    if tally.first_us is None or tally.last_us is None:
        raise _no_events(tally, report_path, quarantine_path)
    return Imported(
        events=tuple(folder / EVENTS_NAME for folder in merged),
        vocabulary_dir=vocabulary_dir,
        contexts=plan.contexts,
        first_us=tally.first_us,
        last_us=tally.last_us,
        by_lot=by_lot,
        report=report,
        report_path=report_path,
        quarantine_path=quarantine_path,
    )


def partition_count(n_rows: int) -> int:
    """How many parts customers are split into: it depends on the input alone.

    >>> partition_count(1_000), partition_count(100_000), partition_count(10_000_000)
    (1, 4, 32)
    """
    if n_rows <= _ROWS_OF_ONE:
        return 1
    wanted = max(1, -(-n_rows // _ROWS_PER_PARTITION))
    return min(_MAX_PARTITIONS, max(_MIN_PARTITIONS, 1 << (wanted - 1).bit_length()))


def _inspect(
    engine: Engine,
    inputs: Inputs,
    config: Config,
    *,
    in_part: bool,
    inherited: Mapping[str, str],
) -> dict[str, list[SourceFile]]:
    named = {
        "events": expand(inputs.events),
        "items": expand(inputs.items),
        "offers": expand(inputs.offers),
    }
    welcome = {name for table in _TABLES for name in table.known}
    welcome |= {source.strip().lower() for source in config.input.map}
    paths = [path for files in named.values() for path in files]
    files = inspected(engine.run("inspect", inspections(paths, welcome)))
    read = [table for table in _TABLES if named[table.table]]
    unread = [table for table in _TABLES if in_part and table not in read]
    check_renames(config.input.map, read, files, unread, inherited)
    found = iter(files)
    return {table: [next(found) for _ in paths] for table, paths in named.items()}


def _plan(
    files: Mapping[str, Sequence[SourceFile]],
    config: Config,
    settings: EventSettings,
    secret: bytes,
) -> _Plan:
    chosen = {
        table.table: [choose(file, table, config.input.map) for file in files[table.table]]
        for table in _TABLES
    }
    for table, names in (("events", ("ts",)), ("offers", ("starts_at", "expires_at"))):
        for file, columns in zip(files[table], chosen[table], strict=True):
            check_times(file, columns, names)
    found = context_columns(chosen["events"])
    contexts = tuple(sorted({*CONTEXTS, *(name.removeprefix(CONTEXT_PREFIX) for name in found)}))
    n_partitions = config.input.partitions or partition_count(
        sum(file.n_rows for file in files["events"])
    )
    events = [
        ImportEvents(
            file=file,
            wanted=columns.wanted,
            contexts=contexts,
            settings=settings,
            n_partitions=n_partitions,
            first_row=first,
            last_row=last,
            secret_check=secret_check(secret),
            secret=secret,
        )
        for file, columns in zip(files["events"], chosen["events"], strict=True)
        for first, last in _ranges(file)
    ]
    items = [
        ImportItems(
            file=file,
            wanted=columns.wanted,
            currency=config.brand.currency,
            separator=config.input.category_separator,
            max_cents=settings.max_cents,
        )
        for file, columns in zip(files["items"], chosen["items"], strict=True)
    ]
    offers = [
        ImportOffers(
            file=file,
            wanted=columns.wanted,
            zone=config.brand.timezone,
            separator=config.input.category_separator,
        )
        for file, columns in zip(files["offers"], chosen["offers"], strict=True)
    ]
    rules: dict[str, Sequence[Rule]] = {
        "events": event_rules(settings),
        "items": item_rules(config.brand.currency, settings.max_cents),
        "offers": OFFER_RULES,
    }
    tasks: dict[str, Sequence[Task]] = {"events": events, "items": items, "offers": offers}
    parts = tuple(
        _Part(
            table=name, files=files[name], chosen=chosen[name], rules=rules[name], tasks=tasks[name]
        )
        for name in tasks
    )
    return _Plan(parts=parts, contexts=contexts, n_partitions=n_partitions)


def _ranges(file: SourceFile) -> list[tuple[int, int]]:
    """First and last row of each task: Parquet can be entered anywhere, text cannot."""
    # A file without rows has a task as well, which writes that there are none.
    n_rows = max(1, file.n_rows)
    step = _ROWS_PER_TASK if file.format == "parquet" else n_rows
    return [(first, min(first + step - 1, n_rows)) for first in range(1, n_rows + 1, step)]


def _merges(plan: _Plan, folders: Sequence[Path], config: Config, *, by_lot: bool) -> list[Task]:
    return [
        MergeEvents(
            partition=number,
            parts=tuple(folders),
            contexts=plan.contexts,
            bot_max_orders_per_day=config.input.bot_max_orders_per_day,
            bot_max_events_per_day=config.input.bot_max_events_per_day,
            by_lot=by_lot,
        )
        for number in range(plan.n_partitions)
    ]


def _after(imported: Tally, merged: Tally) -> Tally:
    """Rows as read by the import, and what was left of them after the merge."""
    tally = total([imported, merged])
    tally.n_read, tally.n_kept = imported.n_read, merged.n_kept
    tally.first_us, tally.last_us = merged.first_us, merged.last_us
    return tally


def _write_quarantine(engine: Engine, folders: Mapping[str, Sequence[Path]]) -> Path | None:
    """Gather the bad rows of all tasks into one CSV, readable by its owner only."""
    paths = [
        path
        for several in folders.values()
        for folder in several
        for path in sorted((folder / QUARANTINE).glob("*.parquet"))
    ]
    target = engine.work_dir / QUARANTINE_NAME
    target.unlink(missing_ok=True)
    if not paths:
        return None
    listed = ", ".join(map(literal, paths))
    with connect(_REPORT_MEMORY_BYTES, engine.work_dir) as connection:
        connection.execute(
            f"COPY (FROM read_parquet([{listed}]) ORDER BY file, row) TO {literal(target)}"
            " (FORMAT csv, HEADER)"
        )
    target.chmod(0o600)
    shutil.rmtree(engine.work_dir / "spill", ignore_errors=True)
    return target


def _hold_gate(
    engine: Engine, tables: Sequence[TableImport], config: Config, quarantine_path: Path | None
) -> None:
    limit = config.input.max_bad
    problems = [gate_sentence(table, limit) for table in tables if table.bad_share > limit]
    if problems:
        report_path = _write_report(engine, _report(tables, config, None))
        raise DataGate(
            "; ".join(problems),
            report_path=report_path,
            quarantine_path=quarantine_path,
            path=report_path,
            hint=f"every bad row is in {quarantine_path}, the counts are in {report_path};"
            " mend the data, or allow more with --max-bad",
        )


def _no_events(tally: Tally, report_path: Path, quarantine_path: Path | None) -> DataGate:
    if not tally.n_read:
        return DataGate(
            "events: the files hold no rows",
            report_path=report_path,
            quarantine_path=quarantine_path,
            path=report_path,
            hint="is there more in them than a header?",
        )
    return DataGate(
        f"events: none of {tally.n_read} rows is left to learn from",
        report_path=report_path,
        quarantine_path=quarantine_path,
        path=report_path,
        hint=f"{report_path} says which rules took them out",
    )


def _report(
    tables: Sequence[TableImport], config: Config, vocabulary: Tally | None
) -> dict[str, Any]:
    report: dict[str, Any] = {table.table: table_report(table) for table in tables if table.files}
    if vocabulary is not None:
        report["vocabulary"] = {"n_items": vocabulary.n_kept, **vocabulary.counts}
    report["notices"] = [
        notice
        for table in tables
        for notice in notices(table, config.brand.timezone, config.brand.currency)
    ]
    if vocabulary is not None:
        report["notices"] += vocabulary_notices(vocabulary)
    return report


def _write_report(engine: Engine, report: dict[str, Any]) -> Path:
    path = engine.work_dir / REPORT_NAME
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
