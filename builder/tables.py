"""From learned arrays to a snapshot's tables: the one place where the builder speaks records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.duck import connect, literal
from builder.errors import DataGate
from builder.scoring import read_runs, run_facts
from builder.signals.context import ContextTable, open_context
from builder.signals.orders import Vocabulary
from builder.signals.rows import SparseRows, open_array, open_rows
from index.context import category_row
from index.eligibility import normal_value, parse_rules
from index.encode import offer_fragment
from index.layout import NO_ROW, item_key, row_key
from index.model import Feature, FeatureKind
from index.records import (
    NO_EXPIRY_US,
    NO_PRICE,
    NO_START_US,
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    OFFER_HAS_WINDOW,
    ContextRecord,
    ItemRecord,
    OfferRecord,
    pack_context,
    pack_item,
    pack_offer,
)
from index.writer import SnapshotWriter

CATEGORY: Final = "category"
PRICE_BAND: Final = "price_band"
HOUR_OF_WEEK: Final = "hour_of_week"
CUSTOMERS_PER_SHARD: Final = 2_000_000
MAX_PLACEMENTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedArrays:
    """The arrays of one cut, mapped, and the vocabulary's texts.

    Attributes:
        prior: float32, shape (n_offers,).
        contexts: rows by feature and value.
        affinity: rows by item.
        item_vectors: float32, shape (n_items, dim).
        offer_vectors: float32, shape (n_offers, dim).
        item_orders: int64, shape (n_items,): orders that held each item.
        offer_orders: int64, shape (n_offers,).
        items: columns of the items vocabulary, in row order.
        offers: columns of the offers vocabulary, in row order.
        own_offers: for each item row, its offers.
        price_edges_cents: rising bounds between price bands, hundredths.
    """

    prior: NDArray[np.float32]
    contexts: ContextTable
    affinity: SparseRows
    item_vectors: NDArray[np.float32]
    offer_vectors: NDArray[np.float32]
    item_orders: NDArray[np.int64]
    offer_orders: NDArray[np.int64]
    items: Mapping[str, Sequence[Any]]
    offers: Mapping[str, Sequence[Any]]
    own_offers: Sequence[Sequence[int]]
    price_edges_cents: tuple[int, ...]

    @property
    def n_items(self) -> int:
        return len(self.items["item_id"])

    @property
    def n_offers(self) -> int:
        return len(self.offers["offer_id"])

    @property
    def dim(self) -> int:
        return int(self.offer_vectors.shape[1])


def open_learned(
    globals_dir: Path, merged_dir: Path, vocabulary: Vocabulary, memory_bytes: int, temp_dir: Path
) -> LearnedArrays:
    """Map what the learning tasks of one cut wrote."""
    with connect(memory_bytes, temp_dir) as connection:

        def columns(path: Path, order: str) -> dict[str, list[Any]]:
            result = connection.execute(f"FROM read_parquet({literal(path)}) ORDER BY {order}")
            names = [column[0] for column in result.description or ()]
            fetched = result.fetchall()
            return {name: [row[place] for row in fetched] for place, name in enumerate(names)}

        items = columns(vocabulary.items_path, "item_row")
        offers = columns(vocabulary.offers_path, "offer_row")
        links = columns(vocabulary.item_offers_path, "item_row, offer_row")
        item_counts = columns(merged_dir / "items.parquet", "item_row")
        offer_counts = columns(merged_dir / "offers.parquet", "offer_row")
    own: list[list[int]] = [[] for _ in items["item_id"]]
    for item_row, offer_row in zip(links["item_row"], links["offer_row"], strict=True):
        own[item_row].append(offer_row)
    return LearnedArrays(
        prior=np.asarray(open_array(globals_dir / "prior.npy"), dtype=np.float32),
        contexts=open_context(globals_dir),
        affinity=open_rows(globals_dir, "affinity"),
        item_vectors=np.asarray(open_array(globals_dir / "item_vectors.npy"), dtype=np.float32),
        offer_vectors=np.asarray(open_array(globals_dir / "offer_vectors.npy"), dtype=np.float32),
        item_orders=_dense(item_counts["item_row"], item_counts["n_orders"], len(own)),
        offer_orders=_dense(
            offer_counts["offer_row"], offer_counts["n_orders"], len(offers["offer_id"])
        ),
        items=items,
        offers=offers,
        own_offers=own,
        price_edges_cents=tuple(open_array(merged_dir / "price_edges.npy").tolist()),
    )


def binding_of(learned: LearnedArrays, secret_check: str) -> bytes:
    """16 bytes that differ whenever row numbers of two builds could mean different things."""
    digest = blake2b(secret_check.encode(), digest_size=16)
    for texts in (
        learned.items["item_id"],
        learned.offers["offer_id"],
        (f"{feature}={value}" for feature, value in learned.contexts.names),
    ):
        for text in texts:
            digest.update(text.encode() + b"\0")
        digest.update(b"\1")
    digest.update(learned.offer_vectors.tobytes())
    return digest.digest()


def features_of(contexts: ContextTable) -> tuple[Feature, ...]:
    """Vocabularies of the context features; a value's row is its place in the table."""
    kinds: dict[str, FeatureKind] = {
        HOUR_OF_WEEK: "hour_of_week",
        CATEGORY: "category",
        PRICE_BAND: "price_band",
    }
    rows: dict[str, dict[str, int]] = {}
    for row, (name, value) in enumerate(contexts.names):
        rows.setdefault(name, {}).setdefault(normal_value(value), row)
    return tuple(
        Feature(name=name, kind=kinds.get(name, "request"), rows=values)
        for name, values in sorted(rows.items())
    )


def placements_of(learned: LearnedArrays) -> tuple[str, ...]:
    """Placements that offers are restricted to, sorted.

    Raises:
        DataGate: there are more than an offer's record has bits for.
    """
    names = sorted({name for names in learned.offers["placements"] for name in names or ()})
    if len(names) > MAX_PLACEMENTS:
        raise DataGate(
            f"offers: {len(names)} different placements, at most {MAX_PLACEMENTS} fit",
            hint="name only placements that an offer is restricted to",
        )
    return tuple(names)


ItemPass = Callable[[str, ItemRecord], ItemRecord]
"""What an item's record becomes, by its id."""


def write_tables(
    writer: SnapshotWriter,
    learned: LearnedArrays,
    runs: Sequence[Path],
    item_pass: ItemPass | None = None,
) -> tuple[int, int]:
    """Write every table of a snapshot.

    Args:
        writer: an entered writer.
        learned: arrays of the shipped cut.
        runs: the customers' runs, in partition order.
        item_pass: lets items keep records of an earlier snapshot.

    Returns:
        Number of customers and of shards.
    """
    n_customers, n_shards = _write_customers(writer, runs)
    contexts = list(_context_records(learned))
    writer.contexts(contexts, expected=len(contexts), capacity_bytes=_size(contexts))
    items = sorted(_item_records(learned, item_pass))
    writer.items(items, expected=len(items), capacity_bytes=_size(items))
    del items
    offers = list(_offer_records(learned))
    writer.offers(offers, expected=len(offers), capacity_bytes=_size(offers))
    if learned.dim:
        writer.vectors(np.ascontiguousarray(learned.offer_vectors))
    return n_customers, n_shards


def _write_customers(writer: SnapshotWriter, runs: Sequence[Path]) -> tuple[int, int]:
    """Runs hold ascending ranges of keys, so a shard is a stretch of whole runs."""
    total = run_facts(runs).n_records
    n_shards = 1
    while total / n_shards > CUSTOMERS_PER_SHARD and n_shards < min(len(runs), 256):
        n_shards *= 2
    per_shard = len(runs) // n_shards
    for shard in range(n_shards):
        mine = runs[shard * per_shard : (shard + 1) * per_shard]
        facts = run_facts(mine)
        writer.customers(
            shard,
            n_shards,
            read_runs(mine),
            expected=facts.n_records,
            capacity_bytes=facts.n_bytes,
        )
    return total, n_shards


def _context_records(learned: LearnedArrays) -> Iterator[tuple[bytes, bytes]]:
    directions = _category_directions(learned)
    nothing = np.empty(0, dtype=np.float32)
    for row, (name, value) in enumerate(learned.contexts.names):
        rows, values, counts = learned.contexts.rows.row(row)
        vector = directions.get(normal_value(value), nothing) if name == CATEGORY else nothing
        record = ContextRecord(row, learned.contexts.n_orders[row], rows, values, counts, vector)
        yield row_key(row), pack_context(record)


def _category_directions(learned: LearnedArrays) -> dict[str, NDArray[np.float32]]:
    """Mean direction of the items of each category path and each of its parents."""
    if not learned.dim:
        return {}
    items: dict[str, list[int]] = {}
    for row, path in enumerate(learned.items["category"]):
        text = normal_value(path) if path else ""
        while text:
            items.setdefault(text, []).append(row)
            text = text.rpartition(" > ")[0]
    orders = (learned.item_orders + 1).astype(np.float32)
    weighed = (learned.item_vectors * orders[:, None]).astype(np.float64)
    sums = {path: weighed[rows].sum(axis=0) for path, rows in items.items()}
    lengths = {path: float(np.linalg.norm(total)) for path, total in sums.items()}
    return {
        path: (total / lengths[path]).astype(np.float32)
        for path, total in sums.items()
        if lengths[path] > 0.0
    }


def _item_records(
    learned: LearnedArrays, item_pass: ItemPass | None
) -> Iterator[tuple[bytes, bytes]]:
    categories: Mapping[str, int] = next(
        (feature.rows for feature in features_of(learned.contexts) if feature.kind == "category"),
        {},
    )
    nothing = np.empty(0, dtype=np.float32)
    has_vector = np.any(learned.item_vectors != 0.0, axis=1)
    for row, item_id in enumerate(learned.items["item_id"]):
        path, price = learned.items["category"][row], learned.items["price_cents"][row]
        record = ItemRecord(
            row,
            int(learned.item_orders[row]),
            NO_PRICE if price is None else min(price, NO_PRICE - 1),
            category_row(normal_value(path), categories) if path else NO_ROW,
            learned.own_offers[row],
            *learned.affinity.row(row),
            learned.item_vectors[row] if has_vector[row] else nothing,
        )
        kept = record if item_pass is None else item_pass(item_id, record)
        yield item_key(item_id), pack_item(kept)


def _offer_records(learned: LearnedArrays) -> Iterator[tuple[bytes, bytes]]:
    placements = placements_of(learned)
    items_of = _items_of_offers(learned)
    for row in range(learned.n_offers):
        offer = {name: column[row] for name, column in learned.offers.items()}
        inside = items_of.get(row, [])
        item = {
            name: column[inside[0]] if len(inside) == 1 else None
            for name, column in learned.items.items()
        }
        is_sold_out = bool(inside) and not any(learned.items["available"][i] for i in inside)
        rules = parse_rules(offer["eligibility"]) if offer["eligibility"] else b""
        starts_us, expires_us = offer["starts_us"], offer["expires_us"]
        mask = sum(1 << placements.index(name) for name in offer["placements"] or ())
        flags = (
            OFFER_AVAILABLE * (not is_sold_out)
            | OFFER_HAS_RULES * bool(rules)
            | OFFER_HAS_WINDOW * (starts_us is not None or expires_us is not None)
            | OFFER_HAS_PLACEMENTS * bool(mask)
        )
        record = OfferRecord(
            row,
            flags,
            mask,
            NO_START_US if starts_us is None else starts_us,
            NO_EXPIRY_US if expires_us is None else expires_us,
            float("nan") if offer["value"] is None else float(offer["value"]),
            int(learned.offer_orders[row]),
            offer["offer_id"],
            rules,
            _fragment(offer, item),
            len(inside) if len(inside) > 1 else 0,
        )
        yield row_key(row), pack_offer(record)


def _fragment(offer: Mapping[str, Any], item: Mapping[str, Any]) -> bytes:
    price = item.get("price_cents")
    return offer_fragment(
        {
            "title": offer["title"] or item.get("title"),
            "category": item.get("category"),
            "brand": item.get("brand"),
            "price": None if price is None else price / 100,
            "url": item.get("url"),
            "image_url": item.get("image_url"),
            "value": offer["value"],
            "creative": json.loads(offer["creative"]) if offer["creative"] else None,
        }
    )


def _items_of_offers(learned: LearnedArrays) -> dict[int, list[int]]:
    """The items of each offer that has some."""
    items: dict[int, list[int]] = {}
    for item_row, own in enumerate(learned.own_offers):
        for offer_row in own:
            items.setdefault(offer_row, []).append(item_row)
    return items


def _dense(rows: Sequence[int], counts: Sequence[int], n: int) -> NDArray[np.int64]:
    dense = np.zeros(n, dtype=np.int64)
    dense[np.array(rows, dtype=np.int64)] = counts
    return dense


def _size(records: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(len(key) + len(value) for key, value in records)
