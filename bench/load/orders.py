"""Orders of events files: when they came, from whom, with what in the cart.

Files are read as a build reads them: formats, renamed columns, times and rules for bad rows are
its own. Customer ids stay what they are, since requests name customers as the shop does; they go to
the service that is asked, and into the files that are emitted for other tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from bench.load.schedule import Ints
from builder.clean import judge, prepare
from builder.columns import CONTEXT_PREFIX, check_renames, choose
from builder.config import Config
from builder.duck import connect
from builder.errors import InputNotFound
from builder.events import CONTEXTS, EVENTS, PURCHASE, EventSettings, event_rules, parsed_events
from builder.intake import end_of_today
from builder.sources import SourceFile, expand, inspected, inspections, open_rows

_MEMORY_BYTES: Final = 2**31
_DAY_US: Final = 86_400_000_000
# An order is what a build takes for one: lines without an id belong to a customer's day, else to a
# session.
_LINES: Final = """
INSERT INTO lines
SELECT ts_us, row, {file} AS file, item_id, customer_id,
    CASE WHEN order_id IS NOT NULL THEN 'o' || order_id
        WHEN identity IS NOT NULL THEN 'c' || (ts_us // {day_us}) || identity
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
    """

    ts_us: Ints
    customer_ids: Sequence[str | None]
    carts: Sequence[Sequence[str]]
    contexts: Sequence[dict[str, str]]
    earlier: Ints


def read_orders(
    patterns: Sequence[str | Path],
    config: Config,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
) -> Orders:
    """Read what was ordered.

    Args:
        patterns: names and patterns of the files.
        config: how they are read.
        since_us: the stretch begins here; whatever is before tells who is known.
        until_us: the stretch ends before this.

    Raises:
        InputNotFound: there is no such file, or there is no order in the stretch.
        InputUnreadable: a file is damaged, empty or of no format we read.
        UsageError: columns are missing, or named twice, or renamed in vain.
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
            for file in files:
                _read_lines(connection, file, config, scratch_dir / f"rows-{file.number}")
            rows = connection.execute(query).fetchall()
            connection.execute("DROP TABLE lines")
            connection.execute("DROP TABLE judged")
    if not rows:
        raise InputNotFound(
            f"{', '.join(map(str, patterns))}: no order in this stretch of time",
            hint="choose another --since or --until",
        )
    return Orders(
        ts_us=np.array([row[0] for row in rows], dtype=np.int64),
        customer_ids=[row[1] for row in rows],
        carts=[list(dict.fromkeys(row[2])) for row in rows],
        contexts=[{f: v for f, v in row[3].items() if v is not None} for row in rows],
        earlier=np.array([row[4] for row in rows], dtype=np.int64),
    )


def _inspect(patterns: Sequence[str | Path], config: Config, scratch_dir: Path) -> list[SourceFile]:
    welcome = {*EVENTS.known, *(source.strip().lower() for source in config.input.map)}
    folders = []
    for task in inspections(expand(patterns), welcome):
        folders.append(scratch_dir / task.name)
        folders[-1].mkdir()
        task.run(folders[-1], _MEMORY_BYTES)
    files = inspected(folders)
    check_renames(config.input.map, [EVENTS], files)
    return files


def _read_lines(connection: Any, file: SourceFile, config: Config, scratch_dir: Path) -> None:
    wanted = dict(choose(file, EVENTS, config.input.map).wanted)
    named = {
        name.removeprefix(CONTEXT_PREFIX) for name in wanted if name.startswith(CONTEXT_PREFIX)
    }
    contexts = sorted({*CONTEXTS, *named})
    settings = EventSettings.of(config, end_of_today())
    rows = open_rows(connection, file, wanted, scratch_dir)
    parsed = parsed_events(rows, rows.rows, contexts, settings)
    judge(connection, parsed, event_rules(settings), table="judged")
    members = ", ".join(f"'{name}': ctx_{name}" for name in contexts)
    connection.execute(
        _LINES.format(
            file=file.number, day_us=_DAY_US, context=f"MAP {{{members}}}", purchase=PURCHASE
        )
    )
