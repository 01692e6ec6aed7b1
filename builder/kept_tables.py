"""What an incremental build keeps of an earlier snapshot's shared tables.

Contexts keep their rows. Vectors stay what they were, and new ones are turned into the same space
(orthogonal Procrustes, Schönemann 1966): a record with an old vector and one with a new vector must
mean the same by them. An item's record is kept, byte for byte, when as many orders hold it as did,
and when every offer it names is still the same offer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builder.parent import offer_ids_in, rows_by_name
from builder.signals.context import ContextTable
from builder.signals.rows import pack_rows
from builder.tables import LearnedArrays
from index.arrays import Vectors
from index.eligibility import normal_value
from index.generation import Generation, Reader
from index.layout import VECTORS_NAME
from index.records import ItemRecord, ItemView
from index.vectors import read_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTables:
    """What is kept, and what is not.

    Attributes:
        arrays: the learned arrays with earlier rows and vectors.
        is_same: bool, shape (n_offers of the earlier snapshot,): whether each of its offer rows
            still means the same offer.
        keeps_items: whether items' records may be kept at all: not when vectors are new ones.
    """

    arrays: LearnedArrays
    is_same: NDArray[np.bool_]
    keeps_items: bool


def keep_tables(learned: LearnedArrays, generation: Generation) -> KeptTables:
    """Bring today's arrays into the earlier snapshot's order and space.

    Args:
        learned: today's arrays; items and offers have the earlier rows already.
        generation: the earlier snapshot.
    """
    arrays = replace(learned, contexts=_in_order(learned.contexts, _context_names(generation)))
    is_same = _same_offers(arrays, generation)
    item_vectors = _item_vectors(arrays, generation)
    turned = _turn(arrays.item_vectors, item_vectors)
    if turned is None or generation.vectors is None:
        return KeptTables(arrays=arrays, is_same=is_same, keeps_items=not arrays.dim)
    arrays = replace(
        arrays,
        item_vectors=_kept(arrays.item_vectors @ turned, item_vectors),
        offer_vectors=_kept(
            arrays.offer_vectors @ turned, _offer_vectors(generation, is_same, arrays.n_offers)
        ),
    )
    return KeptTables(arrays=arrays, is_same=is_same, keeps_items=True)


def write_same(is_same: NDArray[np.bool_], work_dir: Path) -> Path:
    """Write which offer rows mean the same, for tasks; the name tells the contents."""
    digest = blake2b(is_same.tobytes(), digest_size=6).hexdigest()
    path = work_dir / f"same-offers-{digest}.npy"
    np.save(path, is_same)
    return path


class KeptItems:
    """Gives items' records that still say what they should.

    Args:
        reader: of the earlier snapshot; it is used as long as this is.
        tables: see there.
    """

    def __init__(self, reader: Reader, tables: KeptTables) -> None:
        self._reader = reader
        self._tables = tables
        self.n_kept = 0

    def record(self, item_id: str, today: ItemRecord) -> ItemRecord:
        """The earlier record when it is as good as today's, else today's."""
        earlier = self._reader.item(item_id) if self._tables.keeps_items else None
        if earlier is None or not self._still_says(earlier, today):
            return today
        self.n_kept += 1
        return today._replace(
            rows=earlier.rows, values=earlier.values, counts=earlier.counts, vector=earlier.vector
        )

    def _still_says(self, earlier: ItemView, today: ItemRecord) -> bool:
        return (
            earlier.item_row == today.item_row
            and earlier.n_orders == today.n_orders
            and bool(self._tables.is_same[earlier.rows].all())
        )


def _context_names(generation: Generation) -> list[str]:
    """Feature and value of each context row, as one text."""
    names = [""] * generation.model.n_contexts
    for feature in generation.model.features:
        for value, row in feature.rows.items():
            names[row] = _named(feature.name, value)
    return names


def _named(feature: str, value: str) -> str:
    return f"{feature}={normal_value(value)}"


def _in_order(table: ContextTable, before: Sequence[str]) -> ContextTable:
    """A table whose values have the rows they had, as far as rows stay without gaps."""
    seen = set[str]()
    names = []
    for feature, value in table.names:
        name = _named(feature, value)
        # Of several spellings the first has the row that requests find.
        names.append(f"{name}\0{value}" if name in seen else name)
        seen.add(name)
    rows = rows_by_name(before, names)
    order = np.argsort(rows)
    return ContextTable(
        names=[table.names[at] for at in order],
        n_orders=[table.n_orders[at] for at in order],
        rows=pack_rows(
            len(rows),
            np.repeat(rows, np.diff(table.rows.starts)),
            table.rows.rows,
            table.rows.values,
            table.rows.counts,
        ),
    )


def _same_offers(arrays: LearnedArrays, generation: Generation) -> NDArray[np.bool_]:
    """Offers that have their id, their items, and time left."""
    before, now = offer_ids_in(generation), arrays.offers["offer_id"]
    is_same = np.zeros(len(before), dtype=np.bool_)
    shared = min(len(before), len(now))
    is_same[:shared] = [old == new for old, new in zip(before, now, strict=False)]
    as_of_us = generation.manifest.data["as_of_us"]
    for row, expires_us in enumerate(arrays.offers["expires_us"][:shared]):
        # Of offers that had expired by then no record speaks.
        is_same[row] &= expires_us is None or expires_us > as_of_us
    with generation.reading() as reader:
        for item_row, item_id in enumerate(arrays.items["item_id"]):
            item = reader.item(item_id)
            own = arrays.own_offers[item_row]
            if item is not None and [*item.own_offers] != [*own]:
                changed = {*item.own_offers} ^ {*own}
                is_same[[row for row in changed if row < len(before)]] = False
    return is_same


def _item_vectors(arrays: LearnedArrays, generation: Generation) -> Vectors:
    """The earlier vectors of today's items, zero for those that had none."""
    found = np.zeros((arrays.n_items, generation.model.dim), dtype=np.float32)
    with generation.reading() as reader:
        for row, item_id in enumerate(arrays.items["item_id"]):
            item = reader.item(item_id)
            if item is not None and len(item.vector):
                found[row] = item.vector
    return found


def _offer_vectors(generation: Generation, is_same: NDArray[np.bool_], n_offers: int) -> Vectors:
    """The earlier vectors of today's offers, zero for those that had none."""
    earlier = read_vectors(generation.directory / VECTORS_NAME)
    found = np.zeros((n_offers, earlier.shape[1]), dtype=np.float32)
    rows = np.flatnonzero(is_same)
    found[rows] = earlier[rows]
    return found


def _turn(today: Vectors, earlier: Vectors) -> NDArray[np.float64] | None:
    """The rotation that brings today's vectors nearest to the earlier ones; None if none can.

    Directions in which no shared vector points stay as they happen to be: nothing was said there.
    """
    if earlier.shape[1] != today.shape[1]:
        return None
    shared = (today != 0.0).any(axis=1) & (earlier != 0.0).any(axis=1)
    u, _, vt = np.linalg.svd(today[shared].T.astype(np.float64) @ earlier[shared])
    rotation: NDArray[np.float64] = u @ vt
    return rotation


def _kept(turned: NDArray[np.float64], earlier: Vectors) -> Vectors:
    """Earlier vectors where there are any, today's elsewhere."""
    had = (earlier != 0.0).any(axis=1)
    kept: Vectors = np.where(had[:, None], earlier, turned).astype(np.float32)
    return kept
