"""Snapshots of any size whose records look like real ones: for measuring cost, never relevance.

Rows are drawn once into a pool and shared by many customers; a decision reads, sums and ranks them
just as it would rows that were learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from index.encode import offer_fragment
from index.layout import NO_ROW, customer_key, item_key, row_key, secret_check
from index.model import TIERS, Feature, Model, TierModel
from index.records import (
    NO_EXPIRY_US,
    NO_START_US,
    OFFER_AVAILABLE,
    ContextRecord,
    CustomerRecord,
    ItemRecord,
    OfferRecord,
    pack_context,
    pack_customer,
    pack_item,
    pack_offer,
)
from index.writer import SnapshotWriter

SECRET: Final = b"bench-secret-bench-secret"
HOURS: Final = 168
DEVICES: Final = ("desktop", "mobile", "tablet")
SOURCES: Final = ("direct", "google", "newsletter", "instagram", "partner")
COUNTRIES: Final = tuple(f"c{number:02d}" for number in range(20))
CATEGORIES: Final = 200
BANDS: Final = 5

_FIRST_CATEGORY: Final = HOURS + len(DEVICES) + len(SOURCES) + len(COUNTRIES)
_POOL: Final = 4096
_AS_OF_US: Final = 1_764_547_200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a synthetic shop is.

    Attributes:
        n_customers: customers with a record; every tenth is thin.
        n_offers: offers, each an item of its own.
        personal_rows: offers in a customer's row.
        history_rows: offers a customer bought.
        affinity_rows: offers in an item's row.
        context_rows: offers in the row of a value of hour, device, source or country.
        cart_context_rows: offers in the row of a category or price band.
        dim: length of a vector.
        seed: of all draws.
    """

    n_customers: int
    n_offers: int = 20_000
    personal_rows: int = 128
    history_rows: int = 100
    affinity_rows: int = 128
    context_rows: int = 64
    cart_context_rows: int = 64
    dim: int = 32
    seed: int = 1


def customer_id(number: int) -> str:
    """Id of a synthetic customer; even numbers in the tens' place are no different."""
    return f"customer-{number}"


def item_id(number: int) -> str:
    """Id of a synthetic item and its offer."""
    return f"item-{number}"


def is_thin(number: int) -> bool:
    """Whether a synthetic customer has one order only."""
    return number % 10 == 0


def write_synthetic(out_dir: Path, shape: Shape) -> None:
    """Write a snapshot of this shape."""
    rng = np.random.default_rng(shape.seed)
    prior = np.sort(rng.normal(-6.0, 1.5, shape.n_offers)).astype(np.float32)[::-1].copy()
    model = _model(shape, prior)
    with SnapshotWriter(out_dir, binding=model.binding) as writer:
        record_bytes = 16 + 12 * shape.personal_rows + 4 * shape.history_rows
        writer.customers(
            0,
            1,
            _customers(shape, rng),
            expected=shape.n_customers,
            capacity_bytes=shape.n_customers * (record_bytes + 16),
        )
        contexts = list(_contexts(shape, model.n_contexts, rng))
        writer.contexts(contexts, expected=len(contexts), capacity_bytes=_size(contexts))
        items = sorted(_items(shape, rng))
        writer.items(items, expected=len(items), capacity_bytes=_size(items))
        offers = [(row_key(row), _offer(row)) for row in range(shape.n_offers)]
        writer.offers(offers, expected=len(offers), capacity_bytes=_size(offers))
        vectors = rng.normal(size=(shape.n_offers, shape.dim)).astype(np.float32)
        writer.vectors(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        manifest = writer.finish(
            model,
            as_of_us=_AS_OF_US,
            data={},
            counts={"orders": 10 * shape.n_customers, "customers": shape.n_customers},
            invariants={},
            build={"seed": shape.seed},
            golden_requests=[],
        )
        writer.publish(manifest, {})


def _model(shape: Shape, prior: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Model:
    names: dict[str, list[str]] = {
        "hour_of_week": [str(hour) for hour in range(HOURS)],
        "device": list(DEVICES),
        "referrer_source": list(SOURCES),
        "country": list(COUNTRIES),
        "category": [f"category {number}" for number in range(CATEGORIES)],
        "price_band": [str(band) for band in range(BANDS)],
    }
    features = []
    n_contexts = 0
    for name, values in names.items():
        rows = {value: n_contexts + place for place, value in enumerate(values)}
        n_contexts += len(values)
        kind = name if name in ("hour_of_week", "category", "price_band") else "request"
        features.append(Feature(name=name, kind=kind, rows=rows))  # type: ignore[arg-type]
    weights = dict.fromkeys(("personal", "cart", "viewed", "similar"), 0.9)
    weights |= dict.fromkeys(("cart_sum", "viewed_sum"), 0.2)
    weights |= dict.fromkeys((f"context:{name}" for name in names), 0.4)
    return Model(
        brand="bench",
        timezone="UTC",
        currency="EUR",
        binding=bytes(16),
        secret_check=secret_check(SECRET),
        n_items=shape.n_offers,
        n_offers=shape.n_offers,
        n_contexts=n_contexts,
        n_customers=shape.n_customers,
        n_shards=1,
        dim=shape.dim,
        prior=prior,
        prior_top={"*": np.arange(min(128, shape.n_offers), dtype=np.uint32)},
        values=None,
        features=tuple(features),
        price_edges_cents=(199, 399, 999, 2999),
        tiers={tier: TierModel(weights=weights) for tier in TIERS},
        cart_power=0.5,
    )


def _customers(shape: Shape, rng: np.random.Generator) -> Iterator[tuple[bytes, bytes]]:
    size = min(shape.n_customers, _POOL)
    pools = {
        thin: [_customer(shape, rng, n_orders=1 if thin else 12) for _ in range(size)]
        for thin in (False, True)
    }
    keyed = sorted(
        (customer_key(SECRET, customer_id(number)), number) for number in range(shape.n_customers)
    )
    for key, number in keyed:
        yield key, pools[is_thin(number)][number % size]


def _customer(shape: Shape, rng: np.random.Generator, n_orders: int) -> bytes:
    rows = _draw(shape, rng, shape.personal_rows)
    history = _draw(shape, rng, shape.history_rows)
    values = rng.gamma(2.0, 1.0, len(rows)).astype(np.float32)
    counts = rng.integers(0, n_orders + 1, len(rows)).astype(np.uint32)
    return pack_customer(CustomerRecord(n_orders, 20_000, rows, values, counts, history))


def _contexts(
    shape: Shape, n_contexts: int, rng: np.random.Generator
) -> Iterator[tuple[bytes, bytes]]:
    nothing = np.empty(0, dtype=np.float32)
    for row in range(n_contexts):
        is_cart_row = row >= _FIRST_CATEGORY
        n_rows = shape.cart_context_rows if is_cart_row else shape.context_rows
        rows = _draw(shape, rng, n_rows)
        values = rng.normal(0.0, 0.5, len(rows)).astype(np.float32)
        counts = np.full(len(rows), 40, dtype=np.uint32)
        yield row_key(row), pack_context(ContextRecord(row, 5000, rows, values, counts, nothing))


def _items(shape: Shape, rng: np.random.Generator) -> Iterator[tuple[bytes, bytes]]:
    vectors = rng.normal(size=(shape.n_offers, shape.dim)).astype(np.float32)
    for row in range(shape.n_offers):
        # The last hundredth of the items is new: nothing was ever bought with them.
        is_new = row >= shape.n_offers * 99 // 100
        rows = _draw(shape, rng, 0 if is_new else shape.affinity_rows)
        record = ItemRecord(
            row,
            0 if is_new else 100,
            int(rng.integers(50, 5000)),
            NO_ROW if is_new else _FIRST_CATEGORY + row % CATEGORIES,
            (row,),
            rows,
            rng.gamma(2.0, 0.7, len(rows)).astype(np.float32),
            np.full(len(rows), 9, dtype=np.uint32),
            vectors[row],
        )
        yield item_key(item_id(row)), pack_item(record)


def _offer(row: int) -> bytes:
    fragment = offer_fragment(
        {
            "title": f"Synthetic offer {row}",
            "category": f"category {row % CATEGORIES}",
            "brand": "Bench",
            "price": 12.5,
            "url": f"https://shop.example/p/{row}",
        }
    )
    return pack_offer(
        OfferRecord(
            row,
            OFFER_AVAILABLE,
            0,
            NO_START_US,
            NO_EXPIRY_US,
            float("nan"),
            100,
            item_id(row),
            b"",
            fragment,
        )
    )


def _draw(
    shape: Shape, rng: np.random.Generator, n: int
) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Rising offer rows, popular ones more often, as in a shop."""
    n = min(n, shape.n_offers // 2)
    picked = np.unique((shape.n_offers * rng.random(3 * n) ** 3).astype(np.uint32))
    return np.sort(rng.permutation(picked)[:n])


def _size(records: list[tuple[bytes, bytes]]) -> int:
    return sum(len(key) + len(value) for key, value in records)
