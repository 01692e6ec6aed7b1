"""From an offers file to the snapshot's records: what the brand said is what the edge reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from builder.errors import DataGate
from index.decide import decide
from index.eligibility import parse_rules
from index.generation import Generation, Reader
from index.records import (
    NO_EXPIRY_US,
    NO_START_US,
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    OFFER_HAS_WINDOW,
    OfferRecord,
)
from index.request import CartLine, Request
from index.snapshot import open_snapshot
from tests.builder.files import SECRET, Row
from tests.builder.nights import build_here
from tests.builder.test_odd_shops import LINES, START_US

END_US = START_US + 400 * 3_600_000_000
ITEMS: list[Row] = [
    {
        "item_id": f"i{n}",
        "title": f"Item {n}",
        "category": "Food > Bread" if n < 4 else "Food > Cake" if n < 8 else "Tools",
        "brand": "Mill" if n == 1 else "",
        "price": f"{n}.99",
        "availability": "out of stock" if n in {2, 3} else "in stock",
        "url": f"https://shop.test/{n}" if n == 1 else "",
    }
    for n in range(23)
]
COLUMNS = ("title", "item_ids", "categories", "value", "starts_at", "expires_at", "placement")
BLANK = dict.fromkeys((*COLUMNS, "creative", "eligibility"), "")
OFFERS: list[Row] = [
    {**BLANK, "offer_id": "all-cakes", "title": "Cake day", "categories": "Food > Cake"},
    {**BLANK, "offer_id": "bread", "item_ids": "i1", "value": "2.5"},
    {**BLANK, "offer_id": "bundle", "item_ids": "i1|i9|none-such", "placement": "home|checkout"},
    {**BLANK, "offer_id": "partner", "title": "Elsewhere", "placement": "checkout"},
    {
        **BLANK,
        "offer_id": "ruled",
        "item_ids": "i10",
        "eligibility": '{"country": ["AT"]}',
        "creative": '{"headline": "Nur hier"}',
    },
    {**BLANK, "offer_id": "sold-out", "item_ids": "i2|i3"},
    {
        **BLANK,
        "offer_id": "timed",
        "item_ids": "i11",
        "starts_at": str(START_US),
        "expires_at": str(END_US),
    },
]
ROW = {offer["offer_id"]: row for row, offer in enumerate(OFFERS)}


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    """A shop with offers of its own."""
    folder: Path = tmp_path_factory.mktemp("offers")
    build_here(folder, LINES, items=ITEMS, offers=OFFERS)
    with open_snapshot(folder / "snapshot", SECRET) as opened:
        yield opened


@pytest.fixture
def reader(generation: Generation) -> Iterator[Reader]:
    """A guarded reader of its tables."""
    entered = generation.enter()
    yield entered
    generation.leave(entered)


def record(reader: Reader, offer_id: str) -> OfferRecord:
    """The record of an offer."""
    found = reader.offer(ROW[offer_id])
    assert found is not None
    assert found.offer_id == offer_id
    return found


def told(found: OfferRecord) -> dict[str, Any]:
    """What an answer says of an offer besides its id."""
    members: dict[str, Any] = json.loads(b"{" + found.fragment + b"}")
    return members


def test_an_offer_of_one_item_tells_of_that_item(reader: Reader) -> None:
    bread = record(reader, "bread")

    assert bread.flags == OFFER_AVAILABLE
    assert bread.value == 2.5
    assert (bread.starts_us, bread.expires_us) == (NO_START_US, NO_EXPIRY_US)
    assert told(bread) == {
        "title": "Item 1",
        "category": "Food > Bread",
        "brand": "Mill",
        "price": 1.99,
        "url": "https://shop.test/1",
        "value": 2.5,
    }


def test_an_offer_of_several_items_tells_of_itself(reader: Reader) -> None:
    assert told(record(reader, "all-cakes")) == {"title": "Cake day"}
    assert isnan(record(reader, "all-cakes").value)


def test_items_know_every_offer_they_are_in(reader: Reader) -> None:
    named = {
        item_id: [OFFERS[row]["offer_id"] for row in found.own_offers]
        for item_id in ("i1", "i2", "i4", "i7", "i8", "i9")
        if (found := reader.item(item_id)) is not None
    }

    assert named == {
        "i1": ["bread", "bundle"],
        "i2": ["sold-out"],
        "i4": ["all-cakes"],
        "i7": ["all-cakes"],
        "i8": [],
        "i9": ["bundle"],
    }


def test_placements_windows_rules_and_creatives_are_kept(
    generation: Generation, reader: Reader
) -> None:
    bundle, timed, ruled = (record(reader, name) for name in ("bundle", "timed", "ruled"))

    assert generation.model.placements == ("checkout", "home")
    assert (bundle.flags, bundle.placements) == (OFFER_AVAILABLE | OFFER_HAS_PLACEMENTS, 0b11)
    assert record(reader, "partner").placements == 0b01
    assert timed.flags == OFFER_AVAILABLE | OFFER_HAS_WINDOW
    assert (timed.starts_us, timed.expires_us) == (START_US, END_US)
    assert ruled.flags == OFFER_AVAILABLE | OFFER_HAS_RULES
    assert ruled.rules == parse_rules('{"country": ["AT"]}')
    assert told(ruled)["creative"] == {"headline": "Nur hier"}


def test_an_offer_none_of_whose_items_is_there_is_not_shown(
    generation: Generation, reader: Reader
) -> None:
    assert record(reader, "sold-out").flags == 0
    assert record(reader, "bundle").flags & OFFER_AVAILABLE
    assert record(reader, "partner").flags & OFFER_AVAILABLE
    offers = decide(generation, Request(placement="checkout", k=10)).offers
    assert {offer.offer_id for offer in offers} == {
        "all-cakes",
        "bread",
        "bundle",
        "partner",
        "timed",
    }


def test_offers_without_worth_count_as_worth_the_mean(generation: Generation) -> None:
    values = generation.model.values

    assert values is not None
    assert values.tolist() == [2.5] * len(OFFERS)


def test_what_is_in_the_cart_is_not_offered_again(generation: Generation) -> None:
    """The bundle stays until its other item is in the cart too."""

    def shown(*cart: str) -> set[str]:
        lines = [CartLine(item_id=item_id) for item_id in cart]
        request = Request(placement="checkout", k=10, cart=lines)
        return {offer.offer_id for offer in decide(generation, request).offers}

    assert shown("i1") == {"all-cakes", "bundle", "partner", "timed"}
    assert "bundle" not in shown("i1", "i9")


def test_more_placements_than_fit_are_refused(tmp_path: Path) -> None:
    offers = [
        {**BLANK, "offer_id": f"offer-{n}", "item_ids": "i1", "placement": f"place-{n}"}
        for n in range(65)
    ]

    with pytest.raises(DataGate, match="65 different placements, at most 64 fit"):
        build_here(tmp_path, LINES[:60], offers=offers)
    assert not (tmp_path / "snapshot").exists()
