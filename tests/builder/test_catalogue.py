"""Items: one canonical line each, whatever the catalogue looked like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from builder.catalogue import AVAILABLE, AVAILABLE_TOO, GONE, GONE_TOO
from builder.config import Config
from builder.errors import DataGate, MissingColumns
from builder.intake import Imported
from tests.builder.files import (
    Row,
    import_files,
    rules_of,
    settings,
    vocabulary_of,
    write_rows,
)

LENIENT = settings(input__max_bad=1.0)
EVENT = {"ts": "2024-01-05", "item_id": "seen", "customer_id": "ada", "unit_price": "9"}


def import_items(
    tmp_path: Path, *files: Path, config: Config = LENIENT, events: Sequence[Row] = (EVENT,)
) -> Imported:
    path = write_rows(tmp_path / "events.csv", events)
    return import_files(tmp_path / "work", path, items=files, config=config)


def items(
    tmp_path: Path, rows: Sequence[Row], columns: str, config: Config = LENIENT
) -> list[tuple[object, ...]]:
    """Columns of the catalogue's items, by item id."""
    imported = import_items(tmp_path, write_rows(tmp_path / "i.csv", rows), config=config)
    return [row[1:] for row in vocabulary_of(imported, "items", f"item_id, {columns}")[:-1]]


def test_prices_are_what_the_customer_pays(tmp_path: Path) -> None:
    prices = [("15.00 USD", ""), ("20", "15.50"), ("", ""), ("1,234.50", ""), ("20 EUR", "")]
    rows = [
        {"item_id": f"i{n}", "price": price, "sale_price": sale}
        for n, (price, sale) in enumerate(prices)
    ]
    config = settings(input__max_bad=1.0, brand__currency="USD")
    found = items(tmp_path, rows, "price_cents", config)
    assert found == [(1500,), (1550,), (None,), (123450,), (None,)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (f"{AVAILABLE} {AVAILABLE_TOO}", True),
        (f"{GONE} {GONE_TOO}", False),
        ("12 0.5", True),
        ("0 0.0 -3", False),
        ("who_knows", True),
    ],
)
def test_availability_is_understood(tmp_path: Path, words: str, expected: bool) -> None:  # noqa: FBT001
    spelled = [name.replace("_", sep).title() for name in words.split() for sep in (" ", "_")]
    rows = [{"item_id": f"i{n:03d}", "availability": a} for n, a in enumerate(spelled)]
    assert items(tmp_path, rows, "available") == [(expected,)] * len(spelled)


@pytest.mark.parametrize(
    ("separator", "paths"),
    [
        (
            ">",
            {
                "Food>Bread >  Rye": "Food > Bread > Rye",
                " > Food > > Bread > ": "Food > Bread",
                "Food": "Food",
                ">>": None,
                "": None,
                '["Food", " Bread", ""]': "Food > Bread",
                "Food > B\n  read": "Food > B read",
                "[Food": "[Food",
            },
        ),
        ("|", {"Food|Bread, fresh": "Food > Bread, fresh"}),
        ("/", {"/Food/Bread/": "Food > Bread"}),
    ],
)
def test_category_paths_have_one_spelling(
    tmp_path: Path, separator: str, paths: dict[str, str | None]
) -> None:
    config = settings(input__category_separator=separator)
    rows = [{"item_id": f"i{n}", "category": written} for n, written in enumerate(paths)]
    found = items(tmp_path, rows, "category", config)
    assert dict(zip(paths, found, strict=True)) == {w: (path,) for w, path in paths.items()}


LEVEL = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5)
NO_WORD = LEVEL.filter(lambda text: text.lower() not in ("null", "none", "nan"))
PATHS = st.lists(st.lists(NO_WORD, min_size=1, max_size=4), min_size=1, max_size=20)


@trying(max_examples=5)
@given(paths=PATHS)
def test_canonical_categories_stay_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]]
) -> None:
    rows = [{"item_id": f"i{n:02d}", "category": " > ".join(p)} for n, p in enumerate(paths)]
    found = items(tmp_path_factory.mktemp("items"), rows, "category")
    assert found == [(" > ".join(path),) for path in paths]


def test_json_lists_are_category_paths(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text(json.dumps({"item_id": "a", "category": ["Food", "Bread"], "price": 1.5}))
    imported = import_items(tmp_path, path)
    assert vocabulary_of(imported, "items", "category, price_cents")[0] == ("Food > Bread", 150)


def test_last_line_of_an_item_wins_across_files(tmp_path: Path) -> None:
    one = write_rows(
        tmp_path / "1.csv", [{"item_id": "a", "title": t} for t in ("first", "second")]
    )
    two = write_rows(tmp_path / "2.csv", [{"item_id": "a", "title": "third"}])
    imported = import_items(tmp_path, one, two)
    assert vocabulary_of(imported, "items", "item_id, title")[0] == ("a", "third")
    assert imported.report["vocabulary"]["items"]["listed_again"] == 2


def test_each_rule_names_its_rows(tmp_path: Path) -> None:
    good = {"item_id": "a", "title": "t", "price": "1", "availability": "", "category": ""}
    changes = [
        ("no_item", {"item_id": "null"}),
        ("long_id", {"item_id": "x" * 513}),
        ("bad_id", {"item_id": "a\tb"}),
        ("bad_id", {"item_id": "[1]"}),
        ("bad_price", {"price": "cheap"}),
        ("absurd_price", {"price": "-1"}),
        ("absurd_price", {"price": "1e9"}),
        ("long_text", {"title": "x" * 2049}),
        ("unknown_availability", {"availability": "perhaps"}),
    ]
    rows = [good | {"item_id": f"i{n}"} | change for n, (_, change) in enumerate(changes)]
    imported = import_items(tmp_path, write_rows(tmp_path / "i.csv", rows))
    found = {
        rule["rule"]: [entry["row"] - 1 for entry in rule["samples"]]
        for rule in imported.report["items"]["rules"]
    }
    expected: dict[str, list[int]] = {}
    for place, (rule, _) in enumerate(changes):
        expected.setdefault(rule, []).append(place)
    assert found == expected


def test_gate_holds_for_items_too(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "i.csv", [{"item_id": "a", "price": "cheap"}])
    with pytest.raises(DataGate, match=r"items: 1 of 1 rows are bad \(100.00%, allowed 0.10%\)"):
        import_items(tmp_path, path, config=settings())


def test_items_without_id_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingColumns, match="as items it lacks item_id; it has sku") as caught:
        import_items(tmp_path, write_rows(tmp_path / "i.csv", [{"sku": "a"}]))
    assert caught.value.hint == "say which column it is, for instance --map sku=item_id"


def test_titles_are_one_line(tmp_path: Path) -> None:
    rows = [{"item_id": "a", "title": " Black \n\t tea\u00a0"}, {"item_id": "b", "title": "\n"}]
    assert items(tmp_path, rows, "title") == [("Black tea",), (None,)]


def test_foreign_prices_are_counted(tmp_path: Path) -> None:
    rows = [{"item_id": "a", "price": "1 EUR"}, {"item_id": "b", "price": "1"}]
    config = settings(brand__currency="USD")
    path = write_rows(tmp_path / "i.csv", rows)
    imported = import_items(tmp_path, path, config=config)
    assert rules_of(imported, "items") == {"foreign_currency": 1}
