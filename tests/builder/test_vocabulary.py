"""Rows for items and offers: dense, in the order of ids, the same in every build."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builder.files import import_files, query, settings, vocabulary_of, write_rows

EVENTS = [
    {"ts": "2024-01-06", "item_id": "jam", "customer_id": "ada", "unit_price": "3"},
    {"ts": "2024-01-05", "item_id": "jam", "customer_id": "bob", "unit_price": "9"},
    {"ts": "2024-01-07", "item_id": "jam", "customer_id": "cy", "unit_price": ""},
    {"ts": "2024-01-05", "item_id": "tea", "customer_id": "ada", "unit_price": "4"},
    {"ts": "2024-01-05", "item_id": "Éclair", "customer_id": "ada", "unit_price": ""},
]
ITEMS = [
    {"item_id": "tea", "price": "5", "url": "https://shop/tea", "image_url": ""},
    {"item_id": "soap", "price": "", "url": "", "image_url": ""},
]


def test_types_are_the_agreed_ones(tmp_path: Path) -> None:
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", EVENTS))

    def types(table: str) -> dict[object, object]:
        path = imported.vocabulary_dir / f"{table}.parquet"
        return dict(query(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')"))

    text = dict.fromkeys(("item_id", "title", "category", "brand", "url", "image_url"), "VARCHAR")
    flags = dict.fromkeys(("available", "in_catalogue"), "BOOLEAN")
    assert types("items") == {"item_row": "UINTEGER", "price_cents": "BIGINT", **text, **flags}
    assert types("offers") == {
        "offer_row": "UINTEGER",
        "offer_id": "VARCHAR",
        "title": "VARCHAR",
        "value": "DOUBLE",
        "starts_us": "BIGINT",
        "expires_us": "BIGINT",
        "placements": "VARCHAR[]",
        "creative": "VARCHAR",
        "eligibility": "VARCHAR",
    }
    assert types("item_offers") == {"item_row": "UINTEGER", "offer_row": "UINTEGER"}


def test_without_catalogue_the_events_name_the_items(tmp_path: Path) -> None:
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", EVENTS))
    columns = "item_row, item_id, price_cents, available, in_catalogue"
    assert vocabulary_of(imported, "items", columns) == [
        (0, "jam", 300, True, False),
        (1, "tea", 400, True, False),
        (2, "Éclair", None, True, False),
    ]


def test_with_a_catalogue_only_its_items_are_available(tmp_path: Path) -> None:
    events = write_rows(tmp_path / "e.csv", EVENTS)
    items = write_rows(tmp_path / "i.csv", ITEMS)
    imported = import_files(tmp_path / "work", events, items=[items])
    columns = "item_id, price_cents, available, in_catalogue"
    assert vocabulary_of(imported, "items", columns) == [
        ("jam", 300, False, False),
        ("soap", None, True, True),
        ("tea", 500, True, True),
        ("Éclair", None, False, False),
    ]
    assert imported.report["vocabulary"] == {
        "n_items": 4,
        "items": {
            "available": 2,
            "events": 5,
            "events_not_in_catalogue": 4,
            "in_catalogue": 2,
            "listed_again": 0,
        },
    }


def test_without_offers_each_item_is_an_offer(tmp_path: Path) -> None:
    events = write_rows(tmp_path / "e.csv", EVENTS)
    items = write_rows(tmp_path / "i.csv", ITEMS)
    imported = import_files(tmp_path / "work", events, items=[items])
    assert vocabulary_of(imported, "offers", "offer_row, offer_id, creative") == [
        (0, "jam", None),
        (1, "soap", None),
        (2, "tea", '{"url":"https://shop/tea"}'),
        (3, "Éclair", None),
    ]
    assert vocabulary_of(imported, "item_offers") == [(n, n) for n in range(4)]


@pytest.mark.parametrize("n_partitions", [1, 8])
def test_rows_do_not_depend_on_files_or_partitions(tmp_path: Path, n_partitions: int) -> None:
    whole = import_files(tmp_path / "whole", write_rows(tmp_path / "e.csv", EVENTS))
    parts = [
        write_rows(tmp_path / f"{n}.parquet", [event]) for n, event in enumerate(reversed(EVENTS))
    ]
    config = settings(input__partitions=n_partitions)
    split = import_files(tmp_path / "split", *parts, config=config)
    for table in ("items", "offers", "item_offers"):
        paths = [imported.vocabulary_dir / f"{table}.parquet" for imported in (whole, split)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_does_not_fit_together_is_told(tmp_path: Path) -> None:
    events = write_rows(tmp_path / "e.csv", EVENTS)
    items = write_rows(tmp_path / "i.csv", [ITEMS[0], *ITEMS])
    offers = [
        {"offer_id": "a", "item_ids": "jam|lost|gone", "expires_at": ""},
        {"offer_id": "b", "item_ids": "tea", "expires_at": "2024-01-07"},
        {"offer_id": "b", "item_ids": "tea", "expires_at": "2024-01-06"},
        {"offer_id": "c", "item_ids": "lost", "expires_at": "2024-01-01"},
    ]
    imported = import_files(
        tmp_path / "work",
        events,
        items=[items],
        offers=[write_rows(tmp_path / "o.csv", offers)],
    )
    first, *told = imported.report["notices"][1:]
    assert first == (
        "items: 4 of 5 events are of items that the catalogue lacks, so these are not shown; add"
        " those that are still sold"
    )
    *told, last = told
    assert [notice.partition(";")[0] for notice in told] == [
        "items: lines that a later one of the same item replaces: 1",
        "offers: lines that a later one of the same offer replaces: 1",
        "offers: item_ids that are neither in the catalogue nor in the events: 3",
        "offers: those of which no item is known: 1",
    ]
    assert last == (
        "offers: none of 3 can be shown from 2024-01-07T00:00:00Z on (expired: 2, with no item"
        " available: 1); correct expires_at or availability, or give those of today"
    )


def test_what_fits_together_is_not_told(tmp_path: Path) -> None:
    imported = import_files(
        tmp_path / "work",
        write_rows(tmp_path / "e.csv", EVENTS),
        items=[write_rows(tmp_path / "i.csv", [{"item_id": i} for i in ("jam", "tea", "Éclair")])],
        offers=[write_rows(tmp_path / "o.csv", [{"offer_id": "a", "item_ids": "jam"}])],
    )
    assert len(imported.report["notices"]) == 1
