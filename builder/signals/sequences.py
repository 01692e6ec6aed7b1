"""Pairs of a session: what is looked at after an item, and how soon.

The steps of a unit (see `counts`) are its lines, an item that comes again among them. Of two steps
that are d apart, the later one's offers count 1 / d of a unit for the earlier one's item, as in
sequential rules (Kamehkhosh, Jannach, Ludewig 2017, *A comparison of frequent pattern techniques
and a deep learning method for session-based recommendation*), and the earlier one's offers half of
that for the later one's item. An item that comes again is a pair with its own offers: what was just
looked at may be looked at next. Those pairs serve `viewed` alone, since offers of what is in a cart
never appear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from builder.signals.orders import write_sorted

_AFTER: Final = 1000
_BEFORE: Final = 500


def write_sequence_pairs(
    connection: duckdb.DuckDBPyConnection, out_dir: Path, own: str, max_steps: int
) -> None:
    """Write `pairs.parquet`, see `counts`.

    Args:
        connection: with the tables of `orders.load_orders` and `units(order_row, unit_key)`.
        out_dir: where to.
        own: SQL of `item_row`, `offer_row`: the offers of each item.
        max_steps: of a longer unit so many steps count, the newest.
    """
    connection.execute(
        f"""
        CREATE TEMP TABLE walked AS
        SELECT unit_key, item_row, row_number() OVER newest AS place
        FROM steps JOIN units USING (order_row)
        WINDOW newest AS (PARTITION BY unit_key ORDER BY line DESC, item_row)
        QUALIFY row_number() OVER newest <= {max_steps}
        """
    )
    # Places count from the end: of two steps the later one has the smaller place.
    write_sorted(
        connection,
        f"""SELECT item_row, offer_row, sum(n_milli)::BIGINT AS n_milli, is_own
            FROM (SELECT one.item_row, offer_row,
                         (one.item_row, offer_row) IN (SELECT (item_row, offer_row) FROM {own})
                             AS is_own,
                         CASE WHEN one.place > other.place
                              THEN {_AFTER} // (one.place - other.place)
                              ELSE {_BEFORE} // (other.place - one.place) END AS n_milli
                  FROM walked AS one JOIN walked AS other USING (unit_key)
                  JOIN {own} AS offered ON offered.item_row = other.item_row
                  WHERE one.place <> other.place)
            GROUP BY item_row, offer_row, is_own""",
        ["item_row", "offer_row"],
        out_dir / "pairs.parquet",
    )
