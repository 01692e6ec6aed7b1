"""The four records, packing and reading side by side; `docs/format.md` draws them.

All numbers are little-endian. Customer, item and context records are whole 32-bit words and are
read in place: a view decodes the head at once and a part when it is asked for. Offer records are
copied out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays import Counts, RowBytes, Rows, Scores, Vector
from index.errors import WriteFailed

_WORD = np.dtype("<u4")
_FLOAT = np.dtype("<f4")
PAIR = np.dtype([("row", "<u4"), ("value", "<f4")])
"""An offer and its value, 8 bytes: what sparse rows are made of."""

_MAX_COUNT = 0xFFFFFFFF
_MAX_PARTS = 0xFFFF

_CUSTOMER = struct.Struct("<IHHII")
_ITEM = struct.Struct("<IIIIHHHH")
_ONE_OFFER = struct.Struct("<I")
_CONTEXT = struct.Struct("<IIHHI")
_OFFER = struct.Struct("<IIQqqdIIHHI")
_OFFER_ID_LEN = struct.Struct("<H")
_OFFER_ID_LEN_AT = struct.calcsize("<IIQqqdII")

NO_PRICE = 0xFFFFFFFF
NO_EXPIRY_US = (1 << 63) - 1
NO_START_US = -(1 << 63)

OFFER_AVAILABLE = 1
OFFER_HAS_RULES = 2
OFFER_HAS_WINDOW = 4
OFFER_HAS_PLACEMENTS = 8


class _RowView:
    """A sparse row inside a record: offers with their values, then counts.

    Everything is a view of the record's buffer and lives as long as the table it came from.

    Attributes:
        n: offers in the row.
        pairs: the offers with their values, as `PAIR`. Sums join these bytes, so that no array is
            made per row.
    """

    __slots__ = ("_data", "_start", "n", "pairs")

    def _place(self, data: bytes | memoryview, start: int, n: int) -> None:
        self._data = data
        self._start = start
        self.n = n
        self.pairs = data[start : start + 8 * n]

    @property
    def rows(self) -> Rows:
        """Offer rows, shape (n,)."""
        return np.frombuffer(self.pairs, PAIR)["row"]

    @property
    def values(self) -> Scores:
        """Log-lifts, shape (n,)."""
        return np.frombuffer(self.pairs, PAIR)["value"]

    @property
    def counts(self) -> Counts:
        """Orders behind each value, shape (n,)."""
        return np.frombuffer(self._data, _WORD, self.n, self._start + 8 * self.n)


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
    """Bytes of a customer record.

    Raises:
        WriteFailed: a part is too long, or parts that belong together differ in length.
    """
    n, n_history = len(record.rows), len(record.history)
    _require_parts(n, n_history)
    _require_same_length(record.rows, record.values, record.counts)
    return b"".join(
        (
            _CUSTOMER.pack(record.n_orders, n, n_history, record.last_day, 0),
            packed_pairs(record.rows, record.values),
            _packed_counts(record.counts),
            record.history.astype(_WORD).tobytes(),
        )
    )


class CustomerView(_RowView):
    """A customer record read in place; attributes as in `CustomerRecord`."""

    __slots__ = ("_n_history", "last_day", "n_orders")

    n_orders: int
    last_day: int
    _n_history: int

    def __init__(self, data: bytes | memoryview) -> None:
        self.n_orders, n, self._n_history, self.last_day, _ = _CUSTOMER.unpack_from(data)
        self._place(data, _CUSTOMER.size, n)

    @property
    def history_bytes(self) -> RowBytes:
        """Offers the customer took, as little-endian uint32."""
        start = self._start + 12 * self.n
        return self._data[start : start + 4 * self._n_history]

    @property
    def history(self) -> Rows:
        """Offers the customer took."""
        return np.frombuffer(self.history_bytes, _WORD)

    @property
    def history_pairs(self) -> bytes:
        """Offers the customer took, each with the value 1, as `PAIR`; a copy."""
        return packed_pairs(self.history, np.ones(self._n_history, _FLOAT))


class ItemRecord(NamedTuple):
    """What the items table knows of one item.

    Attributes:
        item_row: row number of the item.
        n_orders: orders that held it.
        price_cents: unit price in hundredths of the currency, `NO_PRICE` when unknown.
        category_row: context row of its nearest known category, `layout.NO_ROW` when none.
        own_offers: offers that are, or contain, this item.
        rows: offers that go with it, rising, shape (n,).
        values: their log-lift over the prior, shape (n,).
        counts: orders that held both, shape (n,).
        vector: float32, shape (dim,), L2-normalised; empty when the item has none.
    """

    item_row: int
    n_orders: int
    price_cents: int
    category_row: int
    own_offers: Sequence[int]
    rows: Rows
    values: Scores
    counts: Counts
    vector: Vector


def pack_item(record: ItemRecord) -> bytes:
    """Bytes of an item record.

    Raises:
        WriteFailed: a part is too long, or parts that belong together differ in length.
    """
    m, n, dim = len(record.own_offers), len(record.rows), len(record.vector)
    _require_parts(m, n, dim)
    _require_same_length(record.rows, record.values, record.counts)
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
            np.array(record.own_offers, dtype=_WORD).tobytes(),
            packed_pairs(record.rows, record.values),
            _packed_counts(record.counts),
            record.vector.astype(_FLOAT).tobytes(),
        )
    )


class ItemView(_RowView):
    """An item record read in place; attributes as in `ItemRecord`."""

    __slots__ = ("_dim", "category_row", "item_row", "n_orders", "own_offers", "price_cents")

    item_row: int
    n_orders: int
    price_cents: int
    category_row: int
    own_offers: tuple[int, ...]
    _dim: int

    def __init__(self, data: bytes | memoryview) -> None:
        (
            self.item_row,
            self.n_orders,
            self.price_cents,
            self.category_row,
            n_own,
            n,
            self._dim,
            _,
        ) = _ITEM.unpack_from(data)
        own = _ONE_OFFER if n_own == 1 else struct.Struct(f"<{n_own}I")
        self.own_offers = own.unpack_from(data, _ITEM.size)
        self._place(data, _ITEM.size + 4 * n_own, n)

    @property
    def has_vector(self) -> bool:
        """Whether the item has a direction."""
        return self._dim > 0

    @property
    def vector(self) -> Vector:
        """Direction of the item; empty when it has none."""
        return np.frombuffer(self._data, _FLOAT, self._dim, self._start + 12 * self.n)


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
    """Bytes of a context record.

    Raises:
        WriteFailed: a part is too long, or parts that belong together differ in length.
    """
    n, dim = len(record.rows), len(record.vector)
    _require_parts(n, dim)
    _require_same_length(record.rows, record.values, record.counts)
    return b"".join(
        (
            _CONTEXT.pack(record.context_row, record.n_orders, n, dim, 0),
            packed_pairs(record.rows, record.values),
            _packed_counts(record.counts),
            record.vector.astype(_FLOAT).tobytes(),
        )
    )


class ContextView(_RowView):
    """A context record read in place; attributes as in `ContextRecord`."""

    __slots__ = ("_dim", "context_row", "n_orders")

    context_row: int
    n_orders: int
    _dim: int

    def __init__(self, data: bytes | memoryview) -> None:
        self.context_row, self.n_orders, n, self._dim, _ = _CONTEXT.unpack_from(data)
        self._place(data, _CONTEXT.size, n)

    @property
    def has_vector(self) -> bool:
        """Whether the context has a direction."""
        return self._dim > 0

    @property
    def vector(self) -> Vector:
        """Mean direction of what is bought here; empty when it has none."""
        return np.frombuffer(self._data, _FLOAT, self._dim, self._start + 12 * self.n)


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
        n_items: how many items it contains, where there are several; else 0.
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
    n_items: int = 0


def pack_offer(record: OfferRecord) -> bytes:
    """Bytes of an offer record.

    Raises:
        WriteFailed: the id or the rules are too long.
    """
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
        record.n_items,
        len(offer_id),
        len(record.rules),
        len(record.fragment),
    )
    return head + offer_id + record.rules + record.fragment


def unpack_offer(data: bytes | memoryview) -> OfferRecord:
    """An offer record's parts, copied out of the buffer.

    Raises:
        ValueError: the record is cut short. struct.error: not even its head is there.
    """
    (
        offer_row,
        flags,
        placements,
        starts_us,
        expires_us,
        value,
        n_orders,
        n_items,
        id_len,
        rules_len,
        fragment_len,
    ) = _OFFER.unpack_from(data)
    start = _OFFER.size
    rules = start + id_len
    fragment = rules + rules_len
    if len(data) < fragment + fragment_len:
        raise ValueError("an offer record is cut short")
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
        n_items,
    )


def packed_offer_id(data: bytes | memoryview) -> bytes:
    """The id of a packed offer, UTF-8, and nothing else of it: for those who look at all offers."""
    id_len: int = _OFFER_ID_LEN.unpack_from(data, _OFFER_ID_LEN_AT)[0]
    return bytes(data[_OFFER.size : _OFFER.size + id_len])


def packed_pairs(rows: NDArray[np.integer[Any]], values: Scores) -> bytes:
    """Bytes of a sparse row: offers and values taken in turn, each shape (n,)."""
    pairs = np.empty(len(rows), PAIR)
    pairs["row"] = rows
    pairs["value"] = values
    return pairs.tobytes()


def _packed_counts(counts: Counts) -> bytes:
    return np.minimum(counts, _MAX_COUNT).astype(_WORD).tobytes()


def _require_parts(*lengths: int) -> None:
    if max(lengths) > _MAX_PARTS:
        raise WriteFailed(f"a record part has {max(lengths)} entries, at most {_MAX_PARTS} fit")


def _require_same_length(rows: Rows, values: Scores, counts: Counts) -> None:
    if not len(rows) == len(values) == len(counts):
        raise WriteFailed(
            f"a record names {len(rows)} offers with {len(values)} values and {len(counts)} counts"
        )
