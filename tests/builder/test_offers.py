"""Offers: what is shown, when, where and to whom, read strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from builder.config import Config
from builder.intake import Imported
from tests.builder.files import import_files, settings, vocabulary_of, write_rows

LENIENT = settings(input__max_bad=1.0, brand__timezone="Europe/Vienna")
ITEMS = [
    {"item_id": "bun", "category": "Food > Bread > Sweet"},
    {"item_id": "jam", "category": "Food > Spreads"},
    {"item_id": "rye", "category": "food > bread"},
    {"item_id": "soap", "category": "Home"},
]
COLUMNS = (
    "offer_id, title, value, starts_us, expires_us, placements, creative::VARCHAR, eligibility"
)


def import_offers(tmp_path: Path, offers: Path, config: Config = LENIENT) -> Imported:
    events = [{"ts": "2024-01-05", "item_id": "jam", "customer_id": "ada"}]
    return import_files(
        tmp_path / "work",
        write_rows(tmp_path / "events.csv", events),
        items=[write_rows(tmp_path / "items.csv", ITEMS)],
        offers=[offers],
        config=config,
    )


def of_json(tmp_path: Path, offers: Sequence[Mapping[str, object]]) -> Imported:
    path = tmp_path / "offers.jsonl"
    path.write_text("\n".join(json.dumps(offer) for offer in offers))
    return import_offers(tmp_path, path)


def targets(imported: Imported) -> dict[object, list[object]]:
    """Offer id to the ids of its items."""
    offers = dict(vocabulary_of(imported, "offers", "offer_row, offer_id"))
    items = dict(vocabulary_of(imported, "items", "item_row, item_id"))
    found: dict[object, list[object]] = {offer: [] for offer in offers.values()}
    for item_row, offer_row in vocabulary_of(imported, "item_offers"):
        found[offers[offer_row]].append(items[item_row])
    return found


def test_offer_is_read_as_it_was_meant(tmp_path: Path) -> None:
    offer = {
        "offer_id": "tea-5",
        "title": " Five off ",
        "item_ids": ["jam"],
        "value": 2.5,
        "starts_at": "2024-01-05",
        "expires_at": "2024-02-01T00:00:00Z",
        "placement": ["checkout", "home"],
        "creative": {"headline": "Té", "n": 1},
        "eligibility": {"country": ["AT"]},
    }
    [found] = vocabulary_of(of_json(tmp_path, [offer]), "offers", COLUMNS)
    assert found == (
        "tea-5",
        "Five off",
        2.5,
        1_704_409_200_000_000,
        1_706_745_600_000_000,
        ["checkout", "home"],
        '{"headline":"Té","n":1}',
        '{"country":["AT"]}',
    )


def test_offer_may_say_nothing_but_its_id(tmp_path: Path) -> None:
    imported = import_offers(tmp_path, write_rows(tmp_path / "o.csv", [{"offer_id": "ship"}]))
    [found] = vocabulary_of(imported, "offers", COLUMNS)
    assert found == ("ship", None, None, None, None, [], None, None)
    assert targets(imported) == {"ship": []}
    assert imported.report["vocabulary"]["offers"]["without_items"] == 1


def test_items_are_listed_or_filed_under_a_category(tmp_path: Path) -> None:
    rows = [
        {"offer_id": "bars", "item_ids": "jam| soap ||nowhere", "categories": ""},
        {"offer_id": "commas", "item_ids": "jam, rye,jam", "categories": ""},
        {"offer_id": "json", "item_ids": '["soap"]', "categories": '["Food>Bread"]'},
        {"offer_id": "parents", "item_ids": "", "categories": "FOOD"},
        {"offer_id": "several", "item_ids": "", "categories": "Home|Food > Spreads"},
        {"offer_id": "unlike", "item_ids": "", "categories": "Foo"},
    ]
    imported = import_offers(tmp_path, write_rows(tmp_path / "o.csv", rows))
    assert targets(imported) == {
        "bars": ["jam", "soap"],
        "commas": ["jam", "rye"],
        "json": ["bun", "rye", "soap"],
        "parents": ["bun", "jam", "rye"],
        "several": ["jam", "soap"],
        "unlike": [],
    }
    assert imported.report["vocabulary"]["offers"] == {
        "listed_again": 0,
        "unknown_items": 1,
        "without_items": 1,
    }


def test_each_rule_names_its_rows(tmp_path: Path) -> None:
    changes: list[tuple[str, dict[str, object]]] = [
        ("no_offer", {"offer_id": ""}),
        ("long_id", {"offer_id": "x" * 513}),
        ("bad_id", {"offer_id": {"id": 1}}),
        ("bad_value", {"value": "much"}),
        ("bad_value", {"value": -1}),
        ("bad_time", {"starts_at": "soon"}),
        ("bad_time", {"expires_at": "05.01.2024"}),
        ("never_valid", {"starts_at": "2024-01-05", "expires_at": "2024-01-05"}),
        ("long_text", {"title": "x" * 2049}),
        ("bad_creative", {"creative": "a picture"}),
        ("bad_creative", {"creative": [1]}),
        ("bad_eligibility", {"eligibility": "everyone"}),
        ("bad_eligibility", {"eligibility": {"country": {"like": "A"}}}),
    ]
    offers = [{"offer_id": f"o{n}"} | change for n, (_, change) in enumerate(changes)]
    report = of_json(tmp_path, [*offers, {"offer_id": "good"}]).report["offers"]
    expected: dict[str, list[int]] = {}
    for place, (rule, _) in enumerate(changes):
        expected.setdefault(rule, []).append(place + 1)
    assert {r["rule"]: [s["row"] for s in r["samples"]] for r in report["rules"]} == expected
    assert (report["rows_read"], report["rows_kept"]) == (len(offers) + 1, 1)


def test_parquet_types_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "offers.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            COPY (SELECT 7 AS offer_id, ['jam', 'rye'] AS item_ids, 2.5::DECIMAL(5, 2) AS value,
                DATE '2024-01-05' AS starts_at, TIMESTAMPTZ '2024-02-01 00:00:00Z' AS expires_at,
                {{'headline': 'Tea'}} AS creative) TO '{path}' (FORMAT parquet)
            """
        )
    imported = import_offers(tmp_path, path)
    [found] = vocabulary_of(imported, "offers", COLUMNS)
    moments = (1_704_409_200_000_000, 1_706_745_600_000_000)
    assert found == ("7", None, 2.5, *moments, [], '{"headline":"Tea"}', None)
    assert targets(imported) == {"7": ["jam", "rye"]}
