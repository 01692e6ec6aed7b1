"""Building on top of yesterday's snapshot: what nothing happened to stays, byte for byte."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almanac import main
from builder.cli import parent_for
from builder.config import Config
from builder.errors import DataGate
from builder.parent import (
    NO_ROW,
    dense_rows,
    offer_ids_in,
    open_parent,
    require_no_loss,
    rows_by_name,
)
from index.layout import customer_key, item_key, secret_check
from index.manifest import read_manifest
from index.records import CustomerView
from index.snapshot import open_snapshot
from index.tables import Table
from index.verify import verify_snapshot
from tests.builder.files import SECRET, Row, settings, write_rows
from tests.builder.nights import build_here

START_US = 1_740_000_000_000_000
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
N_CUSTOMERS, N_ORDERS = 40, 8


def line(customer: str, order: str, item: str, ts_us: int) -> Row:
    return {"ts": str(ts_us), "customer_id": customer, "order_id": order, "item_id": item}


def days(n_orders: int = N_ORDERS) -> list[Row]:
    """Everybody orders once a day: an item of their own, and one of eight popular ones."""
    draw = random.Random(5)
    return [
        line(f"c{customer:02d}", f"{customer}-{day}", item, START_US + day * DAY_US + customer)
        for day in range(n_orders)
        for customer in range(N_CUSTOMERS)
        for item in (f"own-{customer:02d}", f"popular-{draw.randrange(8)}")
    ]


def later(customer: str, item: str, hours: int = 1) -> Row:
    return line(customer, f"{customer}-late", item, START_US + N_ORDERS * DAY_US + hours * HOUR_US)


def table(snapshot: Path, name: str, kind: int) -> dict[bytes, bytes]:
    opened = Table(snapshot / name, kind=kind)
    reader = opened.reader()
    try:
        return dict(reader.records())
    finally:
        reader.close()
        opened.close()


def customers(snapshot: Path) -> dict[bytes, bytes]:
    return table(snapshot, "customers.lmdb", 1)


def items(snapshot: Path) -> dict[bytes, bytes]:
    return table(snapshot, "items.lmdb", 3)


def key(name: str) -> bytes:
    return customer_key(SECRET, name)


@pytest.fixture(scope="module")
def config() -> Config:
    return settings(**{"evaluation.slice_days": 2})


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    folder = tmp_path_factory.mktemp("yesterday")
    build_here(folder, days(), config)
    return folder / "snapshot"


def built(folder: Path, rows: Sequence[Row], yesterday: Path, config: Config) -> None:
    build_here(folder, rows, config, parent=yesterday)
    list(verify_snapshot(folder / "snapshot", deep=True))


def told(snapshot: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_manifest(snapshot).build["incremental"]
    return found


@pytest.fixture(scope="module")
def tonight(tmp_path_factory: pytest.TempPathFactory, yesterday: Path, config: Config) -> Path:
    """Two order, one of them for the first time; one order comes in late, one is taken back."""
    early = line("c05", "early", "popular-5", START_US + DAY_US + 5 * HOUR_US)
    rows = [
        *(row for row in days() if row["order_id"] != "6-3"),
        early,
        later("c03", "popular-1"),
        later("new", "popular-3"),
    ]
    folder = tmp_path_factory.mktemp("tonight")
    built(folder, rows, yesterday, config)
    return folder / "snapshot"


def test_only_those_whose_orders_changed_are_scored_anew(yesterday: Path, tonight: Path) -> None:
    before, after = customers(yesterday), customers(tonight)
    changed = {key("c03"), key("c05"), key("c06")}
    assert {name for name in before if before[name] != after[name]} == changed
    assert after.keys() - before.keys() == {key("new")}
    orders = {
        name: CustomerView(after[key(name)]).n_orders for name in ("c03", "c05", "c06", "c07")
    }
    assert orders == {"c03": 9, "c05": 9, "c06": 7, "c07": 8}
    assert told(tonight)["customers_kept"] == N_CUSTOMERS - 3


def test_only_items_of_those_orders_are_learned_anew(yesterday: Path, tonight: Path) -> None:
    old, new = items(yesterday), items(tonight)
    taken_back = {row["item_id"] for row in days() if row["order_id"] == "6-3"}
    touched = taken_back | {"popular-1", "popular-3", "popular-5"}
    assert {name for name in old if old[name] != new[name]} == set(map(item_key, touched))
    assert told(tonight)["items_kept"] == len(new) - len(touched)
    parent = read_manifest(yesterday).snapshot_id
    assert (told(tonight)["parent"], told(tonight)["depth"]) == (parent, 1)
    assert told(tonight)["offers_changed"] == 0
    (note,) = json.loads((tonight / "report.json").read_bytes())["notes"]
    assert f"{N_CUSTOMERS - 3} of {N_CUSTOMERS + 1} customers" in note
    assert note[:20] in (tonight / "report.html").read_text()


def test_a_night_without_orders_changes_no_record(
    tmp_path: Path, yesterday: Path, config: Config
) -> None:
    built(tmp_path, days(), yesterday, config)
    for name in ("customers.lmdb", "items.lmdb", "offers.lmdb", "offers.faiss"):
        mine, theirs = tmp_path / "snapshot" / name, yesterday / name
        assert mine.read_bytes() == theirs.read_bytes()
    assert told(tmp_path / "snapshot")["customers_kept"] == N_CUSTOMERS
    parent = open_parent(
        tmp_path / "snapshot",
        brand=config.brand.name,
        secret_check=secret_check(SECRET),
        target="purchase",
    )
    assert parent.depth == 1


def test_items_keep_their_rows_and_a_row_with_another_meaning_is_named_by_nobody(
    tmp_path: Path, yesterday: Path, config: Config
) -> None:
    """Own-07 is no more: a new item takes its row, and who knew it is scored anew."""
    rows = [row for row in days() if row["item_id"] != "own-07"]
    built(tmp_path, [*rows, later("c01", "a-new-one")], yesterday, config)
    with open_snapshot(yesterday) as old, open_snapshot(tmp_path / "snapshot") as new:
        before, after = offer_ids_in(old), offer_ids_in(new)
    assert len(before) == len(after)
    gone = before.index("own-07")
    assert after[gone] == "a-new-one"
    assert [name for name in after if name != "a-new-one"] == [
        name for name in before if name != "own-07"
    ]
    assert told(tmp_path / "snapshot")["offers_changed"] == 1
    records, earlier = customers(tmp_path / "snapshot"), customers(yesterday)
    for name, record in records.items():
        view = CustomerView(record)
        if record == earlier.get(name):
            assert gone not in view.rows
            assert gone not in view.history
    assert records[key("c07")] != earlier[key("c07")]


@given(st.lists(st.integers(0, 12), unique=True, max_size=10), st.integers(0, 6))
def test_rows_stay_dense_and_as_many_as_possible_stay(known: list[int], n_new: int) -> None:
    rows = dense_rows(np.array([*known, *[NO_ROW] * n_new], dtype=np.int64))
    assert sorted(rows.tolist()) == list(range(len(known) + n_new))
    for had, row in zip(known, rows, strict=False):
        assert row == had or had >= len(rows)


@given(st.lists(st.text(max_size=2), unique=True), st.lists(st.text(max_size=2), unique=True))
def test_names_keep_their_rows(before: list[str], now: list[str]) -> None:
    rows = rows_by_name(before, now)
    assert sorted(rows.tolist()) == list(range(len(now)))
    for name, row in zip(now, rows, strict=True):
        if name in before and before.index(name) < len(now):
            assert row == before.index(name)


def test_far_fewer_orders_than_yesterday_stop_the_build(
    tmp_path: Path, yesterday: Path, config: Config
) -> None:
    """Case 3: the build learned from half of the input."""
    half = [row for row in days() if int(row["customer_id"][1:]) % 2]
    with pytest.raises(DataGate, match=f"112 orders, .* has {N_CUSTOMERS * N_ORDERS}"):
        build_here(
            tmp_path, [row for row in half if row["order_id"] > "2"], config, parent=yesterday
        )
    assert not (tmp_path / "snapshot").exists()
    parent = parent_for(yesterday, 14, config, SECRET)
    assert parent is not None
    require_no_loss(parent, n_orders=288, n_items=48, max_loss=0.1)
    with pytest.raises(DataGate, match="40 items"):
        require_no_loss(parent, n_orders=320, n_items=40, max_loss=0.1)


def test_a_build_says_what_it_can_not_go_on_from(
    tmp_path: Path, yesterday: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = write_rows(tmp_path / "orders.csv", days())
    secret = tmp_path / "secret"
    secret.write_bytes(b"another secret of tests")
    words = ["build", "--events", str(orders), "--out", str(tmp_path / "out")]
    words += ["--effort=quick", "--workers=1", "--secret-file", str(secret)]
    assert main([*words, "--incremental", str(tmp_path / "nothing")]) == 4
    assert main([*words, "--incremental", str(yesterday)]) == 2
    assert "secret" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_after_so_many_incremental_builds_comes_a_whole_one(
    tonight: Path, yesterday: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parent_for(tonight, 3, config, SECRET) is not None
    assert parent_for(tonight, 2, config, SECRET) is None
    assert "this one is whole" in capsys.readouterr().err
    assert parent_for(yesterday, 2, config, SECRET) is not None
    assert parent_for(yesterday, 1, config, SECRET) is None
