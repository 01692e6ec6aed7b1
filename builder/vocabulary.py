"""Rows for items and offers: the outside ids in order, each with its inside number.

One vocabulary serves every cut: an item keeps its row whatever may be learned about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from builder import catalogue, merging, offers
from builder.catalogue import LEVELS
from builder.duck import connect, literal
from builder.events import REDEEM
from builder.parent import Ints, Parent, dense_rows, item_rows_in, offer_ids_in, rows_by_name
from builder.tally import Tally
from index.snapshot import open_snapshot

ITEMS_NAME: Final = "items.parquet"
OFFERS_NAME: Final = "offers.parquet"
ITEM_OFFERS_NAME: Final = "item_offers.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeVocabulary:
    """The task that numbers items and offers.

    Writes, each sorted by its row or rows:

    - `items.parquet`: item_row UINTEGER (by item id, or as `parent` has it), item_id, title,
      category, brand, price_cents, available, url, image_url, in_catalogue. Items are those of the
      catalogue and of the events; a price that the catalogue lacks is the last one paid. With a
      catalogue, an item that is not in it is not available.
    - `offers.parquet`: offer_row UINTEGER (likewise), offer_id, title, value, starts_us,
      expires_us, placements (empty: all), creative, eligibility.
    - `item_offers.parquet`: item_row, offer_row. Without offers each item is an offer.

    Attributes:
        events: folders of finished merge tasks.
        items: folders of finished imports of items.
        offers: folders of finished imports of offers.
        parent: an earlier snapshot whose rows items and offers keep; None for rows by their ids.
    """

    events: tuple[Path, ...]
    items: tuple[Path, ...]
    offers: tuple[Path, ...]
    parent: Parent | None = None
    name: str = "vocabulary"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        tally = Tally()
        with connect(memory_bytes, out_dir) as connection:
            _number_items(connection, self.events, self.items, tally)
            if self.parent is not None:
                _keep_item_rows(connection, self.parent)
            if self.offers:
                _number_offers(connection, self.offers, self.parent, tally)
            else:
                connection.execute(_IDENTITY)
            _count_redemptions(connection, self.events, tally)
            for table, name, order in (
                ("items", ITEMS_NAME, "item_row"),
                ("offers", OFFERS_NAME, "offer_row"),
                ("item_offers", ITEM_OFFERS_NAME, "item_row, offer_row"),
            ):
                connection.execute(
                    f"COPY (FROM {table} ORDER BY {order}) TO {literal(out_dir / name)}"
                    " (FORMAT parquet, COMPRESSION zstd)"
                )
        tally.write(out_dir)


def count_hidden(vocabulary_dir: Path, moment_us: int, memory_bytes: int) -> tuple[int, int, int]:
    """How many offers there are, and of these, how many can't be shown from a moment on.

    Args:
        vocabulary_dir: folder of a finished `MakeVocabulary`.
        moment_us: UTC microseconds.
        memory_bytes: for this process.

    Returns:
        Offers; of these, expired ones; of the others, those of which no item is available.
    """
    with connect(memory_bytes, vocabulary_dir) as connection:
        [(n_offers, n_expired, n_sold_out)] = connection.execute(
            f"""
            SELECT count(*), count_if(is_over), count_if(NOT is_over AND is_sold_out) FROM (
                SELECT coalesce(expires_us <= {moment_us}, false) AS is_over,
                    coalesce(NOT bool_or(available), false) AS is_sold_out
                FROM {literal(vocabulary_dir / OFFERS_NAME)}
                LEFT JOIN {literal(vocabulary_dir / ITEM_OFFERS_NAME)} USING (offer_row)
                LEFT JOIN {literal(vocabulary_dir / ITEMS_NAME)} AS items USING (item_row)
                GROUP BY offer_row, expires_us)
            """
        ).fetchall()
    return n_offers, n_expired, n_sold_out


def _number_items(
    connection: duckdb.DuckDBPyConnection,
    events: Sequence[Path],
    items: Sequence[Path],
    tally: Tally,
) -> None:
    source = _parts(items, catalogue.PART) if items else _NO_ITEMS
    listed = _latest(connection, source, "item_id", table="listed")
    tally.count("items", [("listed_again", listed)])
    connection.execute(
        f"""
        CREATE TEMP TABLE seen AS
        SELECT item_id, arg_max(price_cents, priced_at) AS price_cents, sum(n_events) AS n_events
        FROM {_parts(events, merging.ITEMS_NAME)} GROUP BY item_id;

        CREATE TEMP TABLE items AS
        SELECT (row_number() OVER (ORDER BY item_id) - 1)::UINTEGER AS item_row, item_id, title,
            category, brand, coalesce(listed.price_cents, seen.price_cents) AS price_cents,
            coalesce(available, {"false" if items else "true"}) AS available, url, image_url,
            line IS NOT NULL AS in_catalogue
        FROM seen FULL JOIN listed USING (item_id);
        """
    )
    [(n_items, n_listed, n_available, n_events, n_lost)] = connection.execute(
        """
        SELECT count(*), count(*) FILTER (in_catalogue), count(*) FILTER (available),
            coalesce(sum(n_events), 0)::BIGINT,
            coalesce(sum(n_events) FILTER (NOT in_catalogue), 0)::BIGINT
        FROM items LEFT JOIN seen USING (item_id)
        """
    ).fetchall()
    tally.n_read = tally.n_kept = n_items
    numbers = [("in_catalogue", n_listed), ("available", n_available), ("events", n_events)]
    tally.count("items", [*numbers, ("events_not_in_catalogue", n_lost if items else 0)])


def _keep_item_rows(connection: duckdb.DuckDBPyConnection, parent: Parent) -> None:
    ids = _ids(connection, "items", "item_id", "item_row")
    with open_snapshot(parent.directory) as generation:
        rows = dense_rows(item_rows_in(generation, ids))
    _renumber(connection, "items", "item_row", rows)


def _keep_offer_rows(connection: duckdb.DuckDBPyConnection, parent: Parent) -> None:
    ids = _ids(connection, "offers", "offer_id", "offer_row")
    with open_snapshot(parent.directory) as generation:
        rows = rows_by_name(offer_ids_in(generation), ids)
    _renumber(connection, "offers", "offer_row", rows)


def _ids(connection: duckdb.DuckDBPyConnection, table: str, name: str, row: str) -> list[str]:
    found = connection.execute(f"SELECT {name} FROM {table} ORDER BY {row}").fetchall()
    return [text for (text,) in found]


def _renumber(connection: duckdb.DuckDBPyConnection, table: str, row: str, rows: Ints) -> None:
    """Give each line of a table another row; `rows[i]` is the new one of row i."""
    connection.register("rows", {"old": np.arange(len(rows)), "new": rows})
    connection.execute(
        f"UPDATE {table} SET {row} = rows.new::UINTEGER FROM rows WHERE {table}.{row} = rows.old"
    )
    connection.unregister("rows")


def _number_offers(
    connection: duckdb.DuckDBPyConnection,
    folders: Sequence[Path],
    parent: Parent | None,
    tally: Tally,
) -> None:
    source = _parts(folders, offers.PART)
    again = _latest(connection, source, "offer_id", table="offered")
    connection.execute(
        """
        CREATE TEMP TABLE offers AS
        SELECT (row_number() OVER (ORDER BY offer_id) - 1)::UINTEGER AS offer_row, offer_id, title,
            value, starts_us, expires_us, placements, creative, eligibility
        FROM offered;
        """
    )
    if parent is not None:
        _keep_offer_rows(connection, parent)
    connection.execute(
        f"""
        CREATE TEMP TABLE named AS
        SELECT offer_row, unnest(item_ids) AS item_id FROM offered JOIN offers USING (offer_id);

        CREATE TEMP TABLE filed AS
        SELECT offer_row, lower(unnest(categories)) AS category
        FROM offered JOIN offers USING (offer_id);

        CREATE TEMP TABLE item_offers AS
        SELECT item_row, offer_row FROM named JOIN items USING (item_id)
        UNION
        SELECT item_row, offer_row FROM filed JOIN (
            SELECT item_row, unnest({_PARENTS}) AS category FROM items WHERE category IS NOT NULL
        ) USING (category);
        """
    )
    [(n_unknown, n_bare)] = connection.execute(
        """
        SELECT (SELECT count(*) FROM named ANTI JOIN items USING (item_id)),
            (SELECT count(*) FROM offers ANTI JOIN item_offers USING (offer_row))
        """
    ).fetchall()
    numbers = [("listed_again", again), ("unknown_items", n_unknown), ("without_items", n_bare)]
    tally.count("offers", numbers)


def _count_redemptions(
    connection: duckdb.DuckDBPyConnection, events: Sequence[Path], tally: Tally
) -> None:
    """How many there are, and of offers that nobody knows: nothing can be learned from these."""
    [(n_all, n_unknown)] = connection.execute(
        f"""
        SELECT count(*), count_if(offers.offer_id IS NULL)
        FROM {_parts(events, merging.EVENTS_NAME)} AS events LEFT JOIN offers USING (offer_id)
        WHERE kind = {REDEEM}
        """
    ).fetchall()
    if n_all:
        tally.count("redemptions", [("events", n_all), ("of_unknown_offers", n_unknown)])


def _latest(connection: duckdb.DuckDBPyConnection, source: str, key: str, *, table: str) -> int:
    """Make a table with the last line of each id; how many lines were replaced by later ones."""
    connection.execute(
        f"CREATE TEMP TABLE {table} AS FROM {source}"
        f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY line DESC) = 1"
    )
    [(n_replaced,)] = connection.execute(
        f"SELECT (SELECT count(*) FROM {source}) - (SELECT count(*) FROM {table})"
    ).fetchall()
    return int(n_replaced)


def _parts(folders: Sequence[Path], part: str) -> str:
    return f"read_parquet([{', '.join(literal(folder / part) for folder in folders)}])"


# Every path that leads to an item's category: `a > b > c` is also under `a > b` and `a`.
_PARENTS: Final = (
    f"list_transform(range(1, len(string_split(category, '{LEVELS}')) + 1), lambda depth:"
    f" lower(array_to_string(string_split(category, '{LEVELS}')[:depth], '{LEVELS}')))"
)

_NO_ITEMS: Final = """(SELECT NULL::VARCHAR AS item_id, NULL::VARCHAR AS title,
    NULL::VARCHAR AS category, NULL::VARCHAR AS brand, NULL::BIGINT AS price_cents,
    NULL::BOOLEAN AS available, NULL::VARCHAR AS url, NULL::VARCHAR AS image_url,
    NULL::UBIGINT AS line WHERE false)"""

_IDENTITY: Final = """
CREATE TEMP TABLE offers AS
SELECT item_row AS offer_row, item_id AS offer_id, title, NULL::DOUBLE AS value,
    NULL::BIGINT AS starts_us, NULL::BIGINT AS expires_us, []::VARCHAR[] AS placements,
    CASE WHEN coalesce(url, image_url) IS NOT NULL
        THEN json_merge_patch('{}', json_object('url', url, 'image_url', image_url))::VARCHAR
    END AS creative, NULL::VARCHAR AS eligibility
FROM items;

CREATE TEMP TABLE item_offers AS SELECT item_row, item_row AS offer_row FROM items;
"""
