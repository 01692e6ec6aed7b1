"""Records: what is packed is what is unpacked, at every size that fits, and no other is packed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from index.arrays import Rows, Scores
from index.errors import WriteFailed
from index.records import (
    NO_EXPIRY_US,
    NO_PRICE,
    NO_START_US,
    ContextRecord,
    ContextView,
    CustomerRecord,
    CustomerView,
    ItemRecord,
    ItemView,
    OfferRecord,
    pack_context,
    pack_customer,
    pack_item,
    pack_offer,
    packed_pairs,
    unpack_offer,
)

U32 = st.integers(0, 0xFFFFFFFF)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
LENGTHS = st.integers(0, 40)
SIZES = [0, 1, 2, 0x7FFF, 0xFFFE, 0xFFFF]


def words(n: int) -> st.SearchStrategy[Rows]:
    return arrays(np.uint32, n)


def floats(n: int) -> st.SearchStrategy[Scores]:
    return arrays(np.float32, n)


@st.composite
def customers(draw: st.DrawFn) -> CustomerRecord:
    n = draw(LENGTHS)
    return CustomerRecord(
        draw(U32),
        draw(U32),
        draw(words(n)),
        draw(floats(n)),
        draw(words(n)),
        draw(words(draw(LENGTHS))),
    )


@st.composite
def items(draw: st.DrawFn) -> ItemRecord:
    n = draw(LENGTHS)
    return ItemRecord(
        draw(U32),
        draw(U32),
        draw(U32),
        draw(U32),
        draw(st.lists(U32, max_size=40)),
        draw(words(n)),
        draw(floats(n)),
        draw(words(n)),
        draw(floats(draw(LENGTHS))),
    )


@st.composite
def contexts(draw: st.DrawFn) -> ContextRecord:
    n = draw(LENGTHS)
    return ContextRecord(
        draw(U32),
        draw(U32),
        draw(words(n)),
        draw(floats(n)),
        draw(words(n)),
        draw(floats(draw(LENGTHS))),
    )


offers = st.builds(
    OfferRecord,
    offer_row=U32,
    flags=U32,
    placements=st.integers(0, (1 << 64) - 1),
    starts_us=I64,
    expires_us=I64,
    value=st.floats(),
    n_orders=U32,
    n_items=U32,
    offer_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    rules=st.binary(max_size=80),
    fragment=st.binary(max_size=80),
)


def assert_same(found: object, expected: NamedTuple) -> None:
    for name in expected._fields:
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(one, other, name)  # NaN equals NaN here


def assert_row_bytes(found: CustomerView | ItemView | ContextView) -> None:
    """What sums read is what the arrays say."""
    assert found.n == len(found.rows) == len(found.values) == len(found.counts)
    assert bytes(found.pairs) == packed_pairs(found.rows, found.values)


@given(customers())
def test_customer_round_trips(record: CustomerRecord) -> None:
    found = CustomerView(pack_customer(record))

    assert_same(found, record)
    assert_row_bytes(found)
    ones: Scores = np.ones(len(record.history), dtype=np.float32)
    assert found.history_pairs == packed_pairs(record.history, ones)


@given(items())
def test_item_round_trips(record: ItemRecord) -> None:
    found = ItemView(pack_item(record))

    assert_same(found, record)
    assert_row_bytes(found)
    assert found.has_vector == (len(record.vector) > 0)


@given(contexts())
def test_context_round_trips(record: ContextRecord) -> None:
    found = ContextView(pack_context(record))

    assert_same(found, record)
    assert_row_bytes(found)
    assert found.has_vector == (len(record.vector) > 0)


@given(offers)
def test_offer_round_trips(record: OfferRecord) -> None:
    assert_same(unpack_offer(pack_offer(record)), record)


@given(customers(), st.integers(0, 3))
def test_records_read_the_same_from_an_unaligned_buffer(record: CustomerRecord, skip: int) -> None:
    packed = bytes(skip) + pack_customer(record)

    assert_same(CustomerView(memoryview(packed)[skip:]), record)


def sized_customer(n: int, m: int) -> CustomerRecord:
    row = np.arange(n, dtype=np.uint32)
    return CustomerRecord(
        3, 20_000, row, row.astype(np.float32), row, np.arange(m, dtype=np.uint32)
    )


@pytest.mark.parametrize("n", SIZES)
def test_parts_of_every_size_that_fits_round_trip(n: int) -> None:
    one, other = sized_customer(n, 0xFFFF - n), sized_customer(0xFFFF - n, n)

    assert len(pack_customer(one)) == 16 + 12 * n + 4 * (0xFFFF - n)
    assert_same(CustomerView(pack_customer(one)), one)
    assert_same(CustomerView(pack_customer(other)), other)


ROW = np.arange(3, dtype=np.uint32)
LONG = np.zeros(0x10000, dtype=np.uint32)
VALUES = np.zeros(3, dtype=np.float32)
NONE = np.zeros(0, dtype=np.float32)


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda: pack_customer(sized_customer(0x10000, 0)), id="customer's offers"),
        pytest.param(lambda: pack_customer(sized_customer(0, 0x10000)), id="customer's history"),
        pytest.param(
            lambda: pack_item(
                ItemRecord(0, 0, NO_PRICE, 0, range(0x10000), ROW, VALUES, ROW, NONE)
            ),
            id="item's own offers",
        ),
        pytest.param(
            lambda: pack_item(
                ItemRecord(0, 0, 0, 0, [1], ROW, VALUES, ROW, LONG.astype(np.float32))
            ),
            id="item's vector",
        ),
        pytest.param(
            lambda: pack_context(
                ContextRecord(0, 0, LONG, LONG.astype(np.float32), LONG, NONE),
            ),
            id="context's offers",
        ),
        pytest.param(lambda: pack_offer(offer(offer_id="x" * 0x10000)), id="offer's id"),
        pytest.param(lambda: pack_offer(offer(rules=bytes(0x10000))), id="offer's rules"),
    ],
)
def test_a_part_that_is_too_long_is_refused(pack: Callable[[], bytes]) -> None:
    with pytest.raises(WriteFailed, match="at most 65535 fit"):
        pack()


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(
            lambda: pack_customer(CustomerRecord(1, 1, ROW, VALUES[:2], ROW, ROW)), id="c"
        ),
        pytest.param(
            lambda: pack_item(ItemRecord(0, 0, 0, 0, [1], ROW, VALUES, ROW[:2], NONE)), id="item"
        ),
        pytest.param(
            lambda: pack_context(ContextRecord(0, 0, ROW, VALUES[:1], ROW, NONE)), id="context"
        ),
    ],
)
def test_parts_that_belong_together_have_one_length(pack: Callable[[], bytes]) -> None:
    with pytest.raises(WriteFailed, match="names 3 offers"):
        pack()


def offer(**changes: Any) -> OfferRecord:
    plain = OfferRecord(7, 1, 0, NO_START_US, NO_EXPIRY_US, float("nan"), 3, "x", b"", b"")
    return plain._replace(**changes)


@pytest.mark.parametrize("n", [0, 1, 0xFFFF])
def test_an_offer_s_id_and_rules_may_fill_their_length(n: int) -> None:
    record = offer(offer_id="x" * n, rules=bytes(n), fragment=b"y" * (n + 70_000))

    assert_same(unpack_offer(pack_offer(record)), record)


def test_counts_beyond_32_bits_stop_at_the_largest() -> None:
    counts: Any = np.array([1 << 40], dtype=np.uint64)
    record = CustomerRecord(1, 1, ROW[:1], VALUES[:1], counts, ROW)

    assert CustomerView(pack_customer(record)).counts.tolist() == [0xFFFFFFFF]


@pytest.mark.parametrize("text", ["ä", "日本", "🥖", "e\u0301", "a\0b", ""])
def test_any_text_is_an_offer_id(text: str) -> None:
    assert unpack_offer(pack_offer(offer(offer_id=text))).offer_id == text


def test_an_offer_without_worth_is_not_worth_nothing() -> None:
    assert np.isnan(unpack_offer(pack_offer(offer())).value)


@pytest.mark.parametrize(
    ("unpack", "head"),
    [(CustomerView, 16), (ItemView, 24), (ContextView, 16), (unpack_offer, 56)],
    ids=["customer", "item", "context", "offer"],
)
def test_a_record_shorter_than_its_head_is_an_error(
    unpack: Callable[[bytes], object], head: int
) -> None:
    assert unpack(bytes(head))
    with pytest.raises(struct.error):
        unpack(bytes(head - 4))
