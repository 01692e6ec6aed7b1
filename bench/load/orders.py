"""Orders of events files: when they came, from whom, with what in the cart.

Files are read as a build reads them: formats, renamed columns, times, rules for bad rows, and how
many of these there may be, are its own. Customer ids stay what they are, since requests name
customers as the shop does; they go to the service that is asked, and into the files that are
emitted for other tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from bench.load.schedule import Ints
from builder.catalogue import ITEMS
from builder.clean import count, count_damage, judge, prepare
from builder.columns import CONTEXT_PREFIX, Chosen, check_renames, choose
from builder.config import Config
from builder.duck import connect, literal
from builder.errors import DataGate, InputNotFound
from builder.events import CONTEXTS, EVENTS, PURCHASE, EventSettings, event_rules, parsed_events
from builder.import_report import TableImport, gate_sentence
from builder.intake import end_of_today
from builder.offers import OFFERS
from builder.sources import SourceFile, expand, inspected, inspections, open_rows
from builder.tally import Tally

_MEMORY_BYTES: Final = 2**31
# An order is what a build takes for one: lines without an id belong to a customer's day, else to a
# session.
_LINES: Final = """
INSERT INTO lines
SELECT ts_us, row, {file} AS file, item_id, customer_id,
    CASE WHEN order_id IS NOT NULL THEN 'o' || order_id
        WHEN identity IS NOT NULL THEN 'c' || local_day(ts_us, {zone}) || identity
        ELSE 's' || session_id END AS order_key, {context} AS context
FROM judged WHERE rule IS NULL AND written_kind = {purchase} AND coalesce(quantity, 1) >= 0
"""
_ORDERS: Final = """
WITH orders AS (
    SELECT order_key, min(ts_us) AS ts_us, any_value(customer_id) AS customer_id,
        list(item_id ORDER BY ts_us, file, row) AS items,
        arg_min(context, (ts_us, file, row)) AS context
    FROM lines GROUP BY order_key),
counted AS (
    SELECT *, CASE WHEN customer_id IS NOT NULL THEN count(*) FILTER (ts_us < {since_us})
        OVER (PARTITION BY customer_id) ELSE 0 END AS earlier
    FROM orders)
SELECT ts_us, customer_id, items, context, earlier FROM counted
WHERE ts_us >= {since_us} AND ts_us < {until_us} ORDER BY ts_us, order_key
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Orders of a stretch of time, one after the other.

    Attributes:
        ts_us: int64, shape (orders,), rising: microseconds since 1970.
        customer_ids: who ordered; None for guests.
        carts: item ids, each once, as they were bought.
        contexts: what the order's first line says about its moment, by feature.
        earlier: int64, shape (orders,): orders of the customer before the stretch.
        left_out: a sentence about rows that were bad; None where none was.
    """

    ts_us: Ints
    customer_ids: Sequence[str | None]
    carts: Sequence[Sequence[str]]
    contexts: Sequence[dict[str, str]]
    earlier: Ints
    left_out: str | None = None


def read_orders(
    patterns: Sequence[str | Path],
    config: Config,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    remedy: str = "choose another --since or --until",
) -> Orders:
    """Read what was ordered.

    Args:
        patterns: names and patterns of the files.
        config: how they are read.
        since_us: the stretch begins here; whatever is before tells who is known.
        until_us: the stretch ends before this.
        remedy: what to try where no order is in it.

    Raises:
        InputNotFound: there is no such file, or there is no order in the stretch.
        InputUnreadable: a file is damaged, empty or of no format we read.
        UsageError: columns are missing, or named twice, or renamed in vain.
        DataGate: more than `input.max_bad` of the rows are bad.
    """
    query = _ORDERS.format(
        since_us=-(2**62) if since_us is None else since_us,
        until_us=2**62 if until_us is None else until_us,
    )
    with TemporaryDirectory(prefix="almanac-orders-") as name:
        scratch_dir = Path(name)
        files = _inspect(patterns, config, scratch_dir)
        with connect(_MEMORY_BYTES, scratch_dir) as connection:
            prepare(connection)
            connection.execute(
                "CREATE TEMP TABLE lines (ts_us BIGINT, row BIGINT, file INTEGER, item_id VARCHAR,"
                " customer_id VARCHAR, order_key VARCHAR, context MAP(VARCHAR, VARCHAR))"
            )
            events = _read_lines(connection, files, config, scratch_dir)
            rows = connection.execute(query).fetchall()
            connection.execute("DROP TABLE lines")
            connection.execute("DROP TABLE judged")
    left_out = _left_out(events, config.input.max_bad)
    if not rows:
        raise InputNotFound(
            f"{', '.join(map(str, patterns))}: no order in this stretch of time",
            hint=remedy,
        )
    return Orders(
        ts_us=np.array([row[0] for row in rows], dtype=np.int64),
        customer_ids=[row[1] for row in rows],
        carts=[list(dict.fromkeys(row[2])) for row in rows],
        contexts=[{f: v for f, v in row[3].items() if v is not None} for row in rows],
        earlier=np.array([row[4] for row in rows], dtype=np.int64),
        left_out=left_out,
    )


def _inspect(patterns: Sequence[str | Path], config: Config, scratch_dir: Path) -> list[SourceFile]:
    welcome = {*EVENTS.known, *(source.strip().lower() for source in config.input.map)}
    folders = []
    for task in inspections(expand(patterns), welcome):
        folders.append(scratch_dir / task.name)
        folders[-1].mkdir()
        task.run(folders[-1], _MEMORY_BYTES)
    files = inspected(folders)
    check_renames(config.input.map, [EVENTS], files, [ITEMS, OFFERS])
    return files


def _read_lines(
    connection: Any, files: Sequence[SourceFile], config: Config, scratch_dir: Path
) -> TableImport:
    """Put the lines of all files into the table `lines`, and tell what became of their rows."""
    settings = EventSettings.of(config, end_of_today())
    rules, tally = event_rules(settings), Tally()
    chosen = [choose(file, EVENTS, config.input.map) for file in files]
    for file, columns in zip(files, chosen, strict=True):
        rows_dir = scratch_dir / f"rows-{file.number}"
        rows = open_rows(connection, file, dict(columns.wanted), rows_dir)
        count_damage(connection, rows, tally, file_number=file.number)
        contexts = _contexts(columns)
        parsed = parsed_events(rows, rows.rows, contexts, settings)
        judge(connection, parsed, rules, table="judged")
        count(connection, rules, tally, table="judged", file_number=file.number)
        members = ", ".join(f"'{name}': ctx_{name}" for name in contexts)
        connection.execute(
            _LINES.format(
                file=file.number,
                zone=literal(config.brand.timezone),
                context=f"MAP {{{members}}}",
                purchase=PURCHASE,
            )
        )
    return TableImport(table=EVENTS.table, files=files, chosen=chosen, rules=rules, tally=tally)


def _contexts(columns: Chosen) -> list[str]:
    named = {
        name.removeprefix(CONTEXT_PREFIX)
        for name, _ in columns.wanted
        if name.startswith(CONTEXT_PREFIX)
    }
    return sorted({*CONTEXTS, *named})


def _left_out(events: TableImport, limit: float) -> str | None:
    """A sentence about bad rows, or an error where so many are bad that a build would stop."""
    if not events.n_bad:
        return None
    sentence = gate_sentence(events, limit)
    if events.bad_share > limit:
        raise DataGate(sentence, hint="mend the data, or allow more with --max-bad")
    return sentence
