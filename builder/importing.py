"""From a file of events to canonical events: parsed, judged, and split by customer.

Here customers become keys: their ids leave the task only in the quarantine of bad rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from builder.clean import (
    QUARANTINE,
    count,
    count_damage,
    judge,
    line_of,
    prepare,
    quarantine,
    quarantine_damage,
)
from builder.duck import connect, literal
from builder.events import (
    KINDS,
    PURCHASE,
    REDEEM,
    REFUND,
    WITHOUT_QUANTITY,
    EventSettings,
    event_rules,
    is_foreign,
    parsed_events,
)
from builder.sources import Column, Rows, SourceFile, open_rows
from builder.tally import Tally
from index.layout import customer_key, customer_keys

BATCH_ROWS: Final = 500_000
PARTS: Final = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportEvents:
    """The task that imports one file of events, or a range of its rows.

    Attributes:
        wanted: our name and the file's column.
        contexts: context features of all files, without prefix.
        n_partitions: a power of two.
        first_row: of the range; 1 for a whole file.
        last_row: inclusive.
        secret: keys customer ids; `secret_check` stands for it in the fingerprint.
    """

    file: SourceFile
    wanted: tuple[tuple[str, Column], ...]
    contexts: tuple[str, ...]
    settings: EventSettings
    n_partitions: int
    first_row: int
    last_row: int
    secret_check: str
    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"events-{self.file.number:05d}-{self.first_row:012d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        tally = Tally()
        (out_dir / PARTS).mkdir()
        with connect(memory_bytes, out_dir) as connection:
            prepare(connection)
            # The salt keeps keys of orders and sessions from being guessed; it is no literal, so
            # that it stands in no error message.
            salt = customer_key(self.secret, "orders and sessions").hex()
            connection.execute("SET VARIABLE salt = $1", [salt])
            rows = open_rows(connection, self.file, dict(self.wanted), out_dir / "spill" / "rows")
            count_damage(connection, rows, tally, file_number=self.file.number)
            quarantine_damage(
                connection, rows, out_dir / QUARANTINE / "damage.parquet", file=self.file
            )
            for first in range(self.first_row, self.last_row + 1, BATCH_ROWS):
                self._batch(connection, rows, tally, out_dir, first)
        tally.write(out_dir)

    def _batch(
        self,
        connection: duckdb.DuckDBPyConnection,
        rows: Rows,
        tally: Tally,
        out_dir: Path,
        first: int,
    ) -> None:
        last = min(first + BATCH_ROWS - 1, self.last_row)
        selected = f"(FROM {rows.rows} WHERE row BETWEEN {first} AND {last})"
        rules, part = event_rules(self.settings), f"{first:012d}.parquet"
        parsed = parsed_events(rows, selected, self.contexts, self.settings)
        judge(connection, parsed, rules, table="judged")
        count(connection, rules, tally, table="judged", file_number=self.file.number)
        _count_facts(connection, tally)
        quarantine(
            connection,
            selected,
            rules,
            out_dir / QUARANTINE / part,
            table="judged",
            file=self.file,
        )
        _register_keys(connection, self.secret)
        connection.execute(
            f"COPY ({self._canonical()} ORDER BY p, line) TO {literal(out_dir / PARTS / part)}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 16384)"
        )

    def _canonical(self) -> str:
        """SQL of the kept rows as canonical events, with their partition."""
        settings, bits = self.settings, self.n_partitions.bit_length() - 1
        top = f"(CASE WHEN identity IS NULL THEN order_key ELSE customer_hi END) >> {64 - bits}"
        contexts = "".join(f", ctx_{name}" for name in self.contexts)
        day = f"local_day(ts_us, {literal(settings.zone)})::VARCHAR"
        return f"""
        SELECT * EXCLUDE (identity), {top if bits else 0}::USMALLINT AS p FROM (
            SELECT coalesce(customer_hi, 0)::UBIGINT AS customer_hi,
                coalesce(customer_lo, 0)::UBIGINT AS customer_lo, identity,
                greatest(1, md5_number_lower(getvariable('salt') || CASE
                    WHEN order_id IS NOT NULL THEN 'o' || order_id
                    WHEN identity IS NOT NULL THEN 'c' || {day} || identity
                    ELSE 's' || session_id END))::UBIGINT AS order_key,
                CASE WHEN session_id IS NULL THEN 0 ELSE greatest(1, md5_number_lower(
                    getvariable('salt') || 's' || session_id)) END::UBIGINT AS session_key,
                ts_us, hour_of_local_week(ts_us, {literal(settings.zone)}) AS hour_of_week,
                CASE WHEN written_kind = {PURCHASE} AND quantity < 0 THEN {REFUND}
                    ELSE written_kind END::UTINYINT AS kind,
                item_id, CASE WHEN written_kind = {REDEEM} THEN offer_id END AS offer_id,
                CASE WHEN written_kind IN ({WITHOUT_QUANTITY}) OR quantity IS NULL THEN 1
                    ELSE greatest(1, round(abs(quantity))) END::INTEGER AS quantity,
                CASE WHEN NOT ({is_foreign(settings)}) THEN abs(price_cents) END::BIGINT
                    AS price_cents,
                {line_of(self.file)} AS line
                {contexts}, order_id IS NOT NULL AS has_order
            FROM judged LEFT JOIN customer_keys USING (identity) WHERE rule IS NULL)
        """


def _register_keys(connection: duckdb.DuckDBPyConnection, secret: bytes) -> None:
    """Hash the batch's distinct identities and make them joinable as `customer_keys`."""
    found = connection.execute(
        "SELECT DISTINCT identity FROM judged WHERE rule IS NULL AND identity IS NOT NULL"
    ).fetchall()
    ids = [identity for (identity,) in found]
    digests = b"".join(map(customer_keys(secret), ids))
    halves = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 2)
    # A row that no identity equals: an empty table would have no type.
    table = {
        "identity": np.array(["", *ids], dtype=object),
        "customer_hi": np.concatenate([np.zeros(1, np.uint64), halves[:, 0]]),
        "customer_lo": np.concatenate([np.zeros(1, np.uint64), halves[:, 1]]),
    }
    connection.register("keys_of_batch", table)
    connection.execute("CREATE OR REPLACE TEMP TABLE customer_keys AS FROM keys_of_batch")
    connection.unregister("keys_of_batch")


def _count_facts(connection: duckdb.DuckDBPyConnection, tally: Tally) -> None:
    [(n_kept, n_anonymous, n_guest, first_us, last_us)] = connection.execute(
        """
        SELECT count(*), count(*) FILTER (customer_id IS NULL AND anonymous_id IS NOT NULL),
            count(*) FILTER (identity IS NULL), min(ts_us), max(ts_us)
        FROM judged WHERE rule IS NULL
        """
    ).fetchall()
    tally.n_kept += n_kept
    tally.span(first_us, last_us)
    tally.count("rows", [("anonymous", n_anonymous), ("guest", n_guest)])
    for group, column in (
        ("kinds", "written_kind"),
        ("times", "time_unit"),
        ("currencies", "currency"),
    ):
        found = connection.execute(
            f"SELECT {column}, count(*) AS n FROM judged WHERE rule IS NULL"
            f" AND {column} IS NOT NULL GROUP BY {column} ORDER BY n DESC, {column} LIMIT 20"
        ).fetchall()
        tally.count(group, [(KINDS[v] if group == "kinds" else v, n) for v, n in found])
