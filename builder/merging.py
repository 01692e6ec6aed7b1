"""All events of a partition of customers, from every file: duplicates, bots and refunds taken out.

These rules need all rows of a customer, and a customer's rows stand in one partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from builder.clean import LINE_BITS, Rule
from builder.duck import connect, literal
from builder.events import ADD_TO_CART, PURCHASE, REFUND, VIEW
from builder.importing import PARTS
from builder.tally import MAX_SAMPLES, Tally

EVENTS_NAME: Final = "part.parquet"
ITEMS_NAME: Final = "items.parquet"
LOT_DAYS: Final = 280
LOT_PARTS: Final = 10
"""Over so many days orders without times of their own are spread: ten of the usual slices."""

_DAY_US: Final = 86_400_000_000
_CUSTOMER: Final = "customer_hi, customer_lo"
_IS_GUEST: Final = "(customer_hi = 0 AND customer_lo = 0)"

MERGE_RULES: Final = (
    Rule(
        name="duplicate",
        action="drop",
        condition="false",
        sentence="the same line was there already, in this file or another; the first is kept",
    ),
    Rule(
        name="bot_customer",
        action="drop",
        condition="false",
        sentence="of a customer with too many orders or events on one day (input.bot_max_…)",
    ),
    Rule(
        name="bot_session",
        action="drop",
        condition="false",
        sentence="of a session or guest with too many events on one day (input.bot_max_…)",
    ),
    Rule(
        name="refunded",
        action="drop",
        condition="false",
        sentence="a purchase that was taken back, wholly",
    ),
    Rule(
        name="partly_refunded",
        action="adjust",
        condition="false",
        sentence="a purchase that was taken back in part: its quantity is less",
    ),
    Rule(
        name="refund_used",
        action="drop",
        condition="false",
        sentence="a refund whose purchase was found: order and item are the same",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeEvents:
    """The task that brings one partition together: canonical events and the items in them.

    Attributes:
        parts: folders of finished import tasks.
        contexts: context features, without prefix.
        by_lot: the events' times say nothing, because they are all the same: an order gets its
            moment by lot, and lines without an order are dealt into some. Nobody is a bot then: how
            much someone did on one day is not known.
    """

    partition: int
    parts: tuple[Path, ...]
    contexts: tuple[str, ...]
    bot_max_orders_per_day: int
    bot_max_events_per_day: int
    by_lot: bool

    @property
    def name(self) -> str:
        # Not `p=0000`: readers would take that for a column of the data.
        return f"part-{self.partition:04d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        paths = [path for part in self.parts for path in sorted((part / PARTS).iterdir())]
        tally = Tally()
        with connect(memory_bytes, out_dir) as connection:
            self._gather(connection, paths)
            _drop_duplicates(connection, tally)
            if not self.by_lot:
                self._drop_bots(connection, tally)
            _net_refunds(connection, tally)
            if self.by_lot:
                _draw_lots(connection)
            _write(connection, out_dir, tally, self.contexts)
        tally.write(out_dir)

    def _gather(self, connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
        """Make `gathered`: one row per distinct line, with its first and last place."""
        listed = ", ".join(map(literal, paths))
        connection.execute(
            f"""
            CREATE TEMP TABLE gathered AS
            SELECT * EXCLUDE (p, line),
                min(line) AS line, max(line) AS last_line, count(*) AS copies
            FROM read_parquet([{listed}]) WHERE p = {self.partition} GROUP BY ALL
            """
        )

    def _drop_bots(self, connection: duckdb.DuckDBPyConnection, tally: Tally) -> None:
        day, limit = f"ts_us // {_DAY_US}", self.bot_max_events_per_day
        connection.execute(
            f"""
            CREATE TEMP TABLE bot_customers AS SELECT DISTINCT {_CUSTOMER} FROM (
                SELECT {_CUSTOMER}, count(*) AS n_events,
                    count(DISTINCT order_key) FILTER (kind = {PURCHASE}) AS n_orders
                FROM gathered WHERE NOT {_IS_GUEST} GROUP BY {_CUSTOMER}, {day})
            WHERE n_events > {limit} OR n_orders > {self.bot_max_orders_per_day};

            CREATE TEMP TABLE bot_sessions AS SELECT DISTINCT {_CUSTOMER}, visit FROM (
                SELECT {_CUSTOMER}, {_VISIT} AS visit, count(*) AS n_events
                FROM gathered WHERE {_VISIT} <> 0 GROUP BY {_CUSTOMER}, visit, {day})
            WHERE n_events > {limit};
            """
        )
        _take_out(connection, tally, "bot_customer", f"({_CUSTOMER}) IN (FROM bot_customers)")
        _take_out(
            connection, tally, "bot_session", f"({_CUSTOMER}, {_VISIT}) IN (FROM bot_sessions)"
        )


# A guest without a session is at least one order.
_VISIT: Final = f"CASE WHEN session_key = 0 AND {_IS_GUEST} THEN order_key ELSE session_key END"


def _drop_duplicates(connection: duckdb.DuckDBPyConnection, tally: Tally) -> None:
    [(n_read, n_rows, n_orders, samples)] = connection.execute(
        f"""
        SELECT coalesce(sum(copies), 0)::BIGINT, coalesce(sum(copies - 1), 0)::BIGINT,
            count(DISTINCT order_key) FILTER (copies > 1),
            min(last_line, {MAX_SAMPLES}) FILTER (copies > 1)
        FROM gathered
        """
    ).fetchall()
    tally.n_read = n_read
    tally.add("duplicate", n_rows, _places(samples))
    tally.count("orders", [("duplicate", n_orders)])
    connection.execute("ALTER TABLE gathered DROP copies; ALTER TABLE gathered DROP last_line")


def _net_refunds(connection: duckdb.DuckDBPyConnection, tally: Tally) -> None:
    """Let each refund take back what was bought in the same order, later lines first."""
    key = "customer_hi, customer_lo, order_key, item_id"
    connection.execute(
        f"""
        CREATE TEMP TABLE refunds AS SELECT {key}, sum(quantity) AS n_back
        FROM gathered WHERE kind = {REFUND} AND has_order GROUP BY ALL;

        CREATE TEMP TABLE netted AS
        SELECT {key}, line, quantity, greatest(0, least(quantity, n_bought - n_back
            - coalesce(sum(quantity) OVER (PARTITION BY {key} ORDER BY line
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))::INTEGER AS n_left
        FROM (SELECT *, sum(quantity) OVER (PARTITION BY {key}) AS n_bought
              FROM gathered JOIN refunds USING ({key})
              WHERE kind = {PURCHASE} AND has_order);
        """
    )
    partly = "SELECT line FROM netted WHERE n_left BETWEEN 1 AND quantity - 1"
    [(n_partly, samples)] = connection.execute(
        f"SELECT count(*), min(line, {MAX_SAMPLES}) FROM ({partly})"
    ).fetchall()
    tally.add("partly_refunded", n_partly, _places(samples))
    connection.execute(
        "UPDATE gathered SET quantity = n_left FROM netted"
        f" WHERE netted.line = gathered.line AND netted.line IN ({partly})"
    )
    gone = "line IN (SELECT line FROM netted WHERE n_left = 0)"
    used = f"kind = {REFUND} AND has_order AND ({key}) IN (SELECT {key} FROM netted)"
    _take_out(connection, tally, "refunded", gone)
    _take_out(connection, tally, "refund_used", used)


def _draw_lots(connection: duckdb.DuckDBPyConnection) -> None:
    """Spread orders over the time before, by their keys, so that some are later than others.

    Everything is learned by telling later orders from earlier ones. Where no time tells them apart
    any order of them is as good as another, as long as it is the same in every build. Lines that
    belong to no order are dealt into ten orders of their customer, one in each part of the time.
    """
    part_us = LOT_DAYS * _DAY_US // LOT_PARTS
    connection.execute(
        f"""
        CREATE TEMP TABLE dealt AS SELECT line,
            md5_number_lower(concat_ws(' ', customer_hi, customer_lo, order_key, item_id))
                % {LOT_PARTS} AS part,
            md5_number_lower(concat_ws(' ', customer_hi, customer_lo, order_key)) AS visit
        FROM gathered WHERE NOT has_order AND session_key = 0;

        UPDATE gathered SET ts_us = ts_us - ((order_key >> 16) % {LOT_DAYS * _DAY_US})::BIGINT
        WHERE has_order OR session_key <> 0;

        UPDATE gathered SET order_key = greatest(1, md5_number_lower(concat_ws(' ', visit, part))),
            ts_us = ts_us - (part * {part_us} + (visit >> 16) % {part_us})::BIGINT
        FROM dealt WHERE dealt.line = gathered.line;
        """
    )


def _take_out(
    connection: duckdb.DuckDBPyConnection, tally: Tally, rule: str, condition: str
) -> None:
    [(n_rows, samples)] = connection.execute(
        f"SELECT count(*), min(line, {MAX_SAMPLES}) FROM gathered WHERE {condition}"
    ).fetchall()
    if n_rows:
        tally.add(rule, n_rows, _places(samples))
        connection.execute(f"DELETE FROM gathered WHERE {condition}")


def _write(
    connection: duckdb.DuckDBPyConnection, out_dir: Path, tally: Tally, contexts: Sequence[str]
) -> None:
    """Write the canonical events in customer and time order, and what is known of their items."""
    columns = "".join(f", ctx_{name}" for name in contexts)
    priced = f"price_cents IS NOT NULL AND kind IN ({PURCHASE}, {VIEW}, {ADD_TO_CART})"
    connection.execute(
        f"""
        COPY (SELECT customer_hi, customer_lo, order_key, session_key, ts_us, hour_of_week, kind,
                item_id, offer_id, quantity, price_cents, line {columns}
              FROM gathered ORDER BY customer_hi, customer_lo, ts_us, order_key, line)
        TO {literal(out_dir / EVENTS_NAME)} (FORMAT parquet, COMPRESSION zstd);

        COPY (SELECT item_id, count(*) AS n_events,
                max((ts_us, line)) FILTER ({priced}) AS priced_at,
                arg_max(price_cents, (ts_us, line)) FILTER ({priced}) AS price_cents
              FROM gathered WHERE item_id IS NOT NULL GROUP BY item_id ORDER BY item_id)
        TO {literal(out_dir / ITEMS_NAME)} (FORMAT parquet, COMPRESSION zstd);
        """
    )
    [(n_kept, first_us, last_us)] = connection.execute(
        "SELECT count(*), min(ts_us), max(ts_us) FROM gathered"
    ).fetchall()
    tally.n_kept = n_kept
    tally.span(first_us, last_us)


def _places(lines: list[int] | None) -> list[tuple[int, int]]:
    """File number and row of each line."""
    return [(line >> LINE_BITS, line & (1 << LINE_BITS) - 1) for line in lines or ()]
