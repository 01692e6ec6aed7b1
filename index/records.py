"""The four records, packing and unpacking side by side; `docs/format.md` draws them.

All numbers are little-endian. Customer, item and context records are whole 32-bit words, so one
`np.frombuffer` gives every part as a slice. What unpacking returns are views of the given buffer:
they live as long as the table they came from.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from index.arrays import Counts, Rows, Scores, Vector
from index.errors import WriteFailed

_WORD = np.dtype("<u4")
_FLOAT = np.dtype("<f4")
_MAX_COUNT = 0xFFFFFFFF
_MAX_PARTS = 0xFFFF

_CUSTOMER = struct.Struct("<IHHII")
_CUSTOMER_WORDS = _CUSTOMER.size // 4
_ITEM = struct.Struct("<IIIIHHHH")
_ITEM_WORDS = _ITEM.size // 4
_CONTEXT = struct.Struct("<IIHHI")
_CONTEXT_WORDS = _CONTEXT.size // 4
_OFFER = struct.Struct("<IIQqqdIIHHI")

NO_PRICE = 0xFFFFFFFF
NO_EXPIRY_US = (1 << 63) - 1
NO_START_US = -(1 << 63)

OFFER_AVAILABLE = 1
OFFER_HAS_RULES = 2
OFFER_HAS_WINDOW = 4
OFFER_HAS_PLACEMENTS = 8


class CustomerRecord(NamedTuple):
    """What the customers table knows of one customer.

    Attributes:
        n_orders: orders before the snapshot's cut.
        last_day: days since 1970-01-01 (UTC) of the last of them.
        rows: offers named by the personal signal, rising, shape (n,).
        values: their log-lift over the prior, shape (n,).
        counts: in how many orders the customer took each, 0 for new ones, shape (n,).
        history: rows of all offers the customer took (the most recent ones when capped), rising.
    """

    n_orders: int
    last_day: int
    rows: Rows
    values: Scores
    counts: Counts
    history: Rows


def pack_customer(record: CustomerRecord) -> bytes:
    """Bytes of a customer record."""
    n, n_history = len(record.rows), len(record.history)
    _require_parts(n, n_history)
    return b"".join(
        (
            _CUSTOMER.pack(record.n_orders, n, n_history, record.last_day, 0),
            record.rows.astype(_WORD).tobytes(),
            record.values.astype(_FLOAT).tobytes(),
            _packed_counts(record.counts),
            record.history.astype(_WORD).tobytes(),
        )
    )


def unpack_customer(data: bytes | memoryview) -> CustomerRecord:
    """Views of a customer record's parts."""
    n_orders, n, n_history, last_day, _ = _CUSTOMER.unpack_from(data)
    words = np.frombuffer(data, _WORD)
    start = _CUSTOMER_WORDS
    return CustomerRecord(
        n_orders,
        last_day,
        words[start : start + n],
        words[start + n : start + 2 * n].view(_FLOAT),
        words[start + 2 * n : start + 3 * n],
        words[start + 3 * n : start + 3 * n + n_history],
    )


class ItemRecord(NamedTuple):
    """What the items table knows of one item.

    Attributes:
        item_row: row number of the item.
        n_orders: orders that held it.
        price_cents: unit price in minor units, `NO_PRICE` when unknown.
        category_row: context row of its nearest known category, `layout.NO_ROW` when none.
        own_offers: offers that are, or contain, this item, shape (m,).
        rows: offers that go with it, rising, shape (n,).
        values: their log-lift over the prior, shape (n,).
        counts: orders that held both, shape (n,).
        vector: float32, shape (dim,), L2-normalised; empty when the item has none.
    """

    item_row: int
    n_orders: int
    price_cents: int
    category_row: int
    own_offers: Rows
    rows: Rows
    values: Scores
    counts: Counts
    vector: Vector


def pack_item(record: ItemRecord) -> bytes:
    """Bytes of an item record."""
    m, n, dim = len(record.own_offers), len(record.rows), len(record.vector)
    _require_parts(m, n, dim)
    return b"".join(
        (
            _ITEM.pack(
                record.item_row,
                record.n_orders,
                record.price_cents,
                record.category_row,
                m,
                n,
                dim,
                0,
            ),
            record.own_offers.astype(_WORD).tobytes(),
            record.rows.astype(_WORD).tobytes(),
            record.values.astype(_FLOAT).tobytes(),
            _packed_counts(record.counts),
            record.vector.astype(_FLOAT).tobytes(),
        )
    )


def unpack_item(data: bytes | memoryview) -> ItemRecord:
    """Views of an item record's parts."""
    item_row, n_orders, price_cents, category_row, m, n, dim, _ = _ITEM.unpack_from(data)
    words = np.frombuffer(data, _WORD)
    start = _ITEM_WORDS + m
    return ItemRecord(
        item_row,
        n_orders,
        price_cents,
        category_row,
        words[_ITEM_WORDS:start],
        words[start : start + n],
        words[start + n : start + 2 * n].view(_FLOAT),
        words[start + 2 * n : start + 3 * n],
        words[start + 3 * n : start + 3 * n + dim].view(_FLOAT),
    )


class ContextRecord(NamedTuple):
    """What the contexts table knows of one value of one context feature.

    Attributes:
        context_row: row number of the value.
        n_orders: orders made in this context.
        rows: offers it speaks of, rising, shape (n,).
        values: their shrunken log-lift over the prior, shape (n,).
        counts: orders in this context that held the offer, shape (n,).
        vector: mean direction of what is bought in this context, shape (dim,); may be empty.
    """

    context_row: int
    n_orders: int
    rows: Rows
    values: Scores
    counts: Counts
    vector: Vector


def pack_context(record: ContextRecord) -> bytes:
    """Bytes of a context record."""
    n, dim = len(record.rows), len(record.vector)
    _require_parts(n, dim)
    return b"".join(
        (
            _CONTEXT.pack(record.context_row, record.n_orders, n, dim, 0),
            record.rows.astype(_WORD).tobytes(),
            record.values.astype(_FLOAT).tobytes(),
            _packed_counts(record.counts),
            record.vector.astype(_FLOAT).tobytes(),
        )
    )


def unpack_context(data: bytes | memoryview) -> ContextRecord:
    """Views of a context record's parts."""
    context_row, n_orders, n, dim, _ = _CONTEXT.unpack_from(data)
    words = np.frombuffer(data, _WORD)
    start = _CONTEXT_WORDS
    return ContextRecord(
        context_row,
        n_orders,
        words[start : start + n],
        words[start + n : start + 2 * n].view(_FLOAT),
        words[start + 2 * n : start + 3 * n],
        words[start + 3 * n : start + 3 * n + dim].view(_FLOAT),
    )


class OfferRecord(NamedTuple):
    """What the offers table knows of one offer; copies, not views.

    Attributes:
        flags: `OFFER_…` bits; an offer without `OFFER_AVAILABLE` is never shown.
        placements: bit i set when the offer may appear at the model's placement i.
        starts_us: first moment of validity, UTC microseconds.
        expires_us: first moment after validity.
        value: what taking the offer is worth to the brand, in its currency; NaN when not given.
        n_orders: orders that held it.
        offer_id: the shop's id.
        rules: eligibility rules as packed by `index.eligibility`; empty when there are none.
        fragment: ready JSON members for the answer.
    """

    offer_row: int
    flags: int
    placements: int
    starts_us: int
    expires_us: int
    value: float
    n_orders: int
    offer_id: str
    rules: bytes
    fragment: bytes


def pack_offer(record: OfferRecord) -> bytes:
    """Bytes of an offer record."""
    offer_id = record.offer_id.encode()
    _require_parts(len(offer_id), len(record.rules))
    head = _OFFER.pack(
        record.offer_row,
        record.flags,
        record.placements,
        record.starts_us,
        record.expires_us,
        record.value,
        record.n_orders,
        0,
        len(offer_id),
        len(record.rules),
        len(record.fragment),
    )
    return head + offer_id + record.rules + record.fragment


def unpack_offer(data: bytes | memoryview) -> OfferRecord:
    """An offer record's parts, copied out of the buffer."""
    (
        offer_row,
        flags,
        placements,
        starts_us,
        expires_us,
        value,
        n_orders,
        _,
        id_len,
        rules_len,
        fragment_len,
    ) = _OFFER.unpack_from(data)
    start = _OFFER.size
    rules = start + id_len
    fragment = rules + rules_len
    return OfferRecord(
        offer_row,
        flags,
        placements,
        starts_us,
        expires_us,
        value,
        n_orders,
        str(data[start:rules], "utf-8"),
        bytes(data[rules:fragment]),
        bytes(data[fragment : fragment + fragment_len]),
    )


def _packed_counts(counts: Counts) -> bytes:
    return np.minimum(counts, _MAX_COUNT).astype(_WORD).tobytes()


def _require_parts(*lengths: int) -> None:
    if max(lengths) > _MAX_PARTS:
        raise WriteFailed(f"a record part has {max(lengths)} entries, at most {_MAX_PARTS} fit")
