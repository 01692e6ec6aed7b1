"""A small shop whose right answers are provable on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from index.encode import offer_fragment
from index.layout import NO_ROW, customer_key, item_key, row_key, secret_check, shard_of
from index.manifest import Manifest
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
from index.request import Request
from index.writer import SnapshotWriter

SECRET = b"toy-secret-toy-secret"
BINDING = bytes(range(16))
AS_OF_US = 1_764_547_200_000_000
N_OFFERS = 40
DIM = 4

Row = Mapping[int, float]


def item_id(row: int) -> str:
    """Id of the toy item (and offer) of a row: `item-007`."""
    return f"item-{row:03d}"


def toy_customer_key(name: str) -> bytes:
    """Table key of a toy customer."""
    return customer_key(SECRET, name)


def toy_model(**changes: object) -> Model:
    """The toy model: prior falls with the row number, weights are one, nothing is calibrated."""
    model = Model(
        brand="toy",
        timezone="Europe/Berlin",
        currency="EUR",
        binding=BINDING,
        secret_check=secret_check(SECRET),
        n_items=N_OFFERS,
        n_offers=N_OFFERS,
        n_contexts=9,
        n_customers=2,
        n_shards=1,
        dim=DIM,
        prior=np.linspace(-2.0, -6.0, N_OFFERS, dtype=np.float32),
        prior_top={"*": np.arange(20, dtype=np.uint32)},
        values=None,
        features=(
            Feature(name="hour_of_week", kind="hour_of_week", rows={"33": 0}),
            Feature(name="device", kind="request", rows={"mobile": 1, "desktop": 2}),
            Feature(name="category", kind="category", rows={"food": 3, "food > bread": 4}),
            Feature(name="price_band", kind="price_band", rows={"0": 5, "1": 6}),
            Feature(name="store", kind="request", rows={"7": 7, "true": 8}),
        ),
        price_edges_cents=(500,),
        tiers={tier: TierModel(weights=_ones()) for tier in TIERS},
        cart_power=0.5,
    )
    return replace(model, **changes)  # type: ignore[arg-type]


def _ones() -> dict[str, float]:
    names = ("hour_of_week", "device", "category", "price_band", "store")
    signals = ("personal", "cart", "viewed", "similar")
    return dict.fromkeys((*signals, *(f"context:{name}" for name in names)), 1.0)


def toy_customers() -> dict[str, CustomerRecord]:
    """`ann` ordered nine times and loves items 30 and 31; `bob` ordered once."""
    return {
        "ann": _customer(9, {30: 5.0, 31: 4.0}, history=(30, 31, 39)),
        "bob": _customer(1, {25: 3.0}, history=(25,)),
    }


def _customer(n_orders: int, row: Row, *, history: Sequence[int]) -> CustomerRecord:
    rows, values = _row(row)
    counts = np.full(len(rows), n_orders, dtype=np.uint32)
    return CustomerRecord(
        n_orders, 20_000, rows, values, counts, np.array(history, dtype=np.uint32)
    )


def toy_contexts() -> dict[int, Row]:
    """Lifts by context row; see `toy_model` for what the rows mean."""
    return {
        0: {10: 1.0},
        1: {11: 3.0, 12: 2.5},
        2: {13: 3.0},
        3: {14: 2.0},
        4: {15: 4.0},
        5: {16: 0.5},
        6: {17: 0.5},
        7: {18: 4.0},
        8: {19: 4.0},
    }


def toy_items() -> dict[int, Row]:
    """Affinity rows by item: item 1 goes with 21 and 22, item 2 with 22; the last ten have none."""
    rows: dict[int, Row] = {row: {} for row in range(N_OFFERS)}
    rows[1] = {21: 3.0, 22: 2.0}
    rows[2] = {22: 2.0, 23: 1.0}
    return rows


def toy_vectors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Unit axes: offer i points along axis i mod 4."""
    return np.eye(DIM, dtype=np.float32)[np.arange(N_OFFERS) % DIM]


def toy_offer(row: int) -> OfferRecord:
    """A plain, always available offer."""
    fragment = offer_fragment({"title": f"Item {row}"})
    return OfferRecord(
        row,
        OFFER_AVAILABLE,
        0,
        NO_START_US,
        NO_EXPIRY_US,
        float("nan"),
        100 - row,
        item_id(row),
        b"",
        fragment,
    )


def write_toy(
    out_dir: Path,
    *,
    model: Model | None = None,
    offers: Mapping[int, OfferRecord] | None = None,
    customers: Mapping[str, CustomerRecord] | None = None,
    contexts: Mapping[int, Row] | None = None,
    items: Mapping[str, ItemRecord] | None = None,
    golden: Sequence[tuple[bytes | None, Request]] = (),
    reports: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write the toy snapshot.

    Args:
        out_dir: directory to make.
        model: `toy_model()` or a variation.
        offers: offer records that differ from `toy_offer`.
        customers: records by customer id instead of `toy_customers`.
        contexts: lifts by context row instead of `toy_contexts`.
        items: item records by item id, besides or instead of those of `toy_items`.
        golden: golden requests.
        reports: report files by name.
    """
    model = model or toy_model()
    vectors = toy_vectors()
    customer_records = sorted(
        (customer_key(SECRET, name), pack_customer(record))
        for name, record in (customers or toy_customers()).items()
    )
    context_records = [
        (
            row_key(row),
            pack_context(
                ContextRecord(row, 50, *_row(lifts), _counts(lifts), vectors[row % len(vectors)])
            ),
        )
        for row, lifts in (contexts or toy_contexts()).items()
    ]
    known = {item_id(row): toy_item(row, lifts) for row, lifts in toy_items().items()}
    item_records = sorted(
        (item_key(name), pack_item(record)) for name, record in (known | dict(items or {})).items()
    )
    records = [(offers or {}).get(row, toy_offer(row)) for row in range(N_OFFERS)]
    with SnapshotWriter(out_dir, binding=model.binding) as writer:
        for shard in range(model.n_shards):
            part = [
                (key, data)
                for key, data in customer_records
                if shard_of(key, model.n_shards) == shard
            ]
            writer.customers(
                shard, model.n_shards, part, expected=len(part), capacity_bytes=1 << 16
            )
        writer.contexts(context_records, expected=len(context_records), capacity_bytes=1 << 16)
        writer.items(item_records, expected=len(item_records), capacity_bytes=1 << 16)
        writer.offers(
            ((row_key(record.offer_row), pack_offer(record)) for record in records),
            expected=N_OFFERS,
            capacity_bytes=1 << 16,
        )
        writer.vectors(vectors)
        manifest = writer.finish(
            model,
            as_of_us=AS_OF_US,
            data={},
            counts={"orders": 1000, "customers": 2, "items": N_OFFERS, "offers": N_OFFERS},
            invariants={},
            build={},
            golden_requests=golden,
        )
        writer.publish(manifest, dict(reports or {}))
    return manifest


def toy_item(row: int, lifts: Row) -> ItemRecord:
    """An item that is its own offer, with what goes with it; item 2 is dear bread."""
    category = 4 if row == 2 else NO_ROW
    own = (row,)
    return ItemRecord(
        row,
        100 - row,
        1000 if row == 2 else 200,
        category,
        own,
        *_row(lifts),
        _counts(lifts),
        toy_vectors()[row],
    )


def _row(
    lifts: Row,
) -> tuple[
    np.ndarray[tuple[int], np.dtype[np.uint32]], np.ndarray[tuple[int], np.dtype[np.float32]]
]:
    rows = sorted(lifts)
    return (
        np.array(rows, dtype=np.uint32),
        np.array([lifts[row] for row in rows], dtype=np.float32),
    )


def _counts(lifts: Row) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.full(len(lifts), 5, dtype=np.uint32)
