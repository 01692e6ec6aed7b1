"""The rows a finished snapshot gave to items and offers, as the files that cases are read with.

A snapshot keeps no item ids, only digests of them, so ids come from the files that it is to be
evaluated on: each is looked up as a request's would be. What the snapshot does not know has no row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from builder.duck import connect, literal
from builder.metrics import Ints
from builder.signals.orders import Vocabulary
from index.generation import Generation
from index.records import NO_EXPIRY_US

_CATEGORY: Final = "category="


def write_known_rows(
    generation: Generation, items_path: Path, out_dir: Path, *, memory_bytes: int
) -> Vocabulary:
    """Write a vocabulary with the snapshot's own rows.

    Writes `items.parquet` (item_row, item_id, category), `offers.parquet` (offer_row, expires_us)
    and `item_offers.parquet` (item_row, offer_row), each by its rows.

    Args:
        generation: the snapshot.
        items_path: items with their ids and categories, see `vocabulary.MakeVocabulary`. An item
            that has no category there gets the one the snapshot knows.
        out_dir: where to write.
        memory_bytes: for DuckDB.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    vocabulary = Vocabulary.in_dir(out_dir)
    with connect(memory_bytes, out_dir) as connection:
        listed = connection.execute(
            f"SELECT item_id, category FROM read_parquet({literal(items_path)}) ORDER BY item_id"
        ).fetchall()
        items, links = _known(generation, listed)
        for table, order, path in (
            (items, "item_row", vocabulary.items_path),
            (_offers(generation), "offer_row", vocabulary.offers_path),
            (links, "item_row, offer_row", vocabulary.item_offers_path),
        ):
            connection.register("found", table)
            connection.execute(
                f"COPY (SELECT {_columns(table)} FROM found ORDER BY {order}) TO {literal(path)}"
                " (FORMAT parquet)"
            )
            connection.unregister("found")
    return vocabulary


def orders_of_offers(generation: Generation) -> Ints:
    """In how many orders of the snapshot each offer stands: int64, shape (n_offers,)."""
    with generation.reading() as reader:
        records = map(reader.offer, range(generation.model.n_offers))
        return np.array([record.n_orders if record else 0 for record in records], dtype=np.int64)


def _known(
    generation: Generation, listed: list[tuple[str, str | None]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of the items that the snapshot knows, and of their offers."""
    ids: list[str] = []
    rows: list[int] = []
    categories: list[str | None] = []
    item_of: list[int] = []
    offer_of: list[int] = []
    with generation.reading() as reader:
        for item_id, category in listed:
            item = reader.item(item_id)
            if item is None:
                continue
            known = generation.lookup.names.get(item.category_row, "")
            ids.append(item_id)
            rows.append(item.item_row)
            categories.append(category or known.removeprefix(_CATEGORY) or None)
            item_of += [item.item_row] * len(item.own_offers)
            offer_of += item.own_offers
    items = {
        "item_row": np.array(rows, dtype=np.uint32),
        "item_id": np.array(ids, dtype=object),
        "category": np.array(categories, dtype=object),
    }
    links = {
        "item_row": np.array(item_of, dtype=np.uint32),
        "offer_row": np.array(offer_of, dtype=np.uint32),
    }
    return items, links


def _offers(generation: Generation) -> dict[str, Any]:
    with generation.reading() as reader:
        records = [reader.offer(row) for row in range(generation.model.n_offers)]
    known = [record for record in records if record is not None]
    return {
        "offer_row": np.array([record.offer_row for record in known], dtype=np.uint32),
        "expires_us": np.array([record.expires_us for record in known], dtype=np.int64),
    }


def _columns(table: dict[str, Any]) -> str:
    """What is read of a table: texts as such, even where all are missing."""
    kinds = {
        "item_id": "item_id::VARCHAR AS item_id",
        "category": "category::VARCHAR AS category",
        "expires_us": f"nullif(expires_us, {NO_EXPIRY_US}) AS expires_us",
    }
    return ", ".join(kinds.get(name, name) for name in table)
