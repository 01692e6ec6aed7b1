"""Shops that are not as shops are: each one builds a whole snapshot, or says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from builder.errors import DataGate
from index.answer import answer
from index.decide import decide
from index.request import CartLine, Request
from index.snapshot import open_snapshot
from index.verify import verify_snapshot
from tests.builder.files import SECRET, Row, events_of, import_files, settings, write_rows
from tests.builder.nights import build_here

START_US = 1_740_000_000_000_000
HOUR_US = 3_600_000_000

# No column but the required ones; customers, orders and items follow from the line's number.
LINES = [
    {
        "ts": str(START_US + order * HOUR_US),
        "customer_id": f"c{order % 30}",
        "order_id": f"o{order}",
        "item_id": f"i{(order * 7 + place * order % 11) % 23}",
    }
    for order in range(200)
    for place in range(3)
]


def changed(change: Callable[[Row], dict[str, str]]) -> list[Row]:
    """The lines with some of their values replaced or added."""
    return [{**line, **change(line)} for line in LINES]


def one_order_each() -> list[Row]:
    """Every order is of another customer."""
    return changed(lambda line: {"customer_id": "of-" + line["order_id"]})


def views_of_sessions() -> list[Row]:
    """No customers and no orders."""
    return [
        {
            "ts": line["ts"],
            "session_id": line["order_id"],
            "item_id": line["item_id"],
            "event_type": "view",
        }
        for line in LINES
    ]


def dates_only() -> list[Row]:
    """The least that is accepted, and no time of day."""
    return [
        {
            "ts": f"2025-0{1 + place % 4}-{1 + place % 28:02d}",
            "customer_id": line["customer_id"],
            "item_id": line["item_id"],
        }
        for place, line in enumerate(LINES)
    ]


def odd_texts_of_guests() -> list[Row]:
    """Nobody is known, and texts hold what other formats would stumble over."""
    return [
        {
            "ts": line["ts"],
            "order_id": line["order_id"],
            "item_id": f"\"ü='{line['item_id']}\N{PILE OF POO}",
            "ctx_a b": f"x={line['order_id'][-1]}",
        }
        for line in LINES
    ]


@pytest.mark.parametrize(
    ("rows", "customers"),
    [
        (one_order_each(), 200),
        (odd_texts_of_guests(), 0),
        (dates_only(), 30),
        (changed(lambda line: {"ts": str(START_US)}), 30),
        (changed(lambda line: {"item_id": "the-only-one"}), 30),
        (LINES[:3], 1),
    ],
    ids=[
        "one order each",
        "odd texts of guests",
        "dates",
        "one moment",
        "one item",
        "three rows",
    ],
)
def test_an_odd_shop_gets_a_whole_snapshot(tmp_path: Path, rows: list[Row], customers: int) -> None:
    built = build_here(tmp_path, rows)
    request = Request(
        customer_id=rows[0].get("customer_id"), cart=[CartLine(item_id=rows[0]["item_id"])]
    )

    assert built.manifest.counts["customers"] == customers
    assert built.manifest.counts["orders"] > 0
    assert list(verify_snapshot(tmp_path / "snapshot", deep=True))
    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        n_others = len({row["item_id"] for row in rows}) - 1
        assert len(decide(generation, request).offers) == min(n_others, 10)


def test_without_times_lines_are_dealt_into_orders(tmp_path: Path) -> None:
    """Ten each at most, spread over the time before, the same in every import; nothing comes twice.

    So what a customer took is never offered to them again, unless the request wants it.
    """
    pairs = [
        {"ts": "2025-01-01", "customer_id": f"c{customer}", "item_id": f"i{item}"}
        for customer in range(60)
        for item in range(30)
        if (item * 7 + customer * 3) % 5 < 3 and item % 2 == customer % 2
    ]
    dealt = [
        events_of(import_files(tmp_path / name, write_rows(tmp_path / "pairs.csv", pairs)))
        for name in ("one", "other")
    ]
    built = build_here(tmp_path, pairs)
    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        found = decide(generation, Request(customer_id="c4", k=5))
        again = decide(generation, Request(customer_id="c4", k=30, repeat="allow"))
    taken = {pair["item_id"] for pair in pairs if pair["customer_id"] == "c4"}

    assert dealt[0] == dealt[1]
    assert 60 < built.manifest.counts["orders"] <= 600
    assert not taken & {offer.offer_id for offer in found.offers}
    # Customers of even numbers take items of even numbers: those that are left come first.
    left = {f"i{item}" for item in range(0, 30, 2)} - taken
    assert {offer.offer_id for offer in found.offers[: len(left)]} <= left
    assert taken & {offer.offer_id for offer in again.offers}


def test_a_price_is_the_same_in_the_catalogue_an_answer_and_a_cart(tmp_path: Path) -> None:
    """Also in a currency that has no cents."""
    items = [{"item_id": f"i{n}", "price": f"{100 * (n + 1)}"} for n in range(23)]
    build_here(
        tmp_path,
        changed(lambda line: {"unit_price": f"{100 * (int(line['item_id'][1:]) + 1)}"}),
        settings(brand__currency="JPY"),
        items=items,
    )

    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        told = orjson.loads(answer(generation, Request(k=23)).body)["offers"]
        with generation.reading() as reader:
            bands = {
                (price, generation.lookup.cart_rows(line, reader.item(line.item_id))[1])
                for n, price in ((2, 300), (21, 2200))
                for line in (CartLine(item_id=f"i{n}"), CartLine(item_id=f"i{n}", unit_price=price))
            }
    assert {one["offer_id"]: str(int(one["price"])) for one in told} == {
        item["item_id"]: item["price"] for item in items
    }
    assert len(bands) == 2, "a price of its own band, told by the cart or not"


def test_sessions_are_learned_from_when_views_are_the_target(tmp_path: Path) -> None:
    built = build_here(tmp_path, views_of_sessions(), settings(input__target="view"))

    assert built.manifest.counts["orders"] == 200
    assert built.manifest.counts["customers"] == 0
    assert list(verify_snapshot(tmp_path / "snapshot", deep=True))


def test_views_alone_are_no_orders_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DataGate, match="none of the events is a purchase") as caught:
        build_here(tmp_path, views_of_sessions())

    assert "--target view" in (caught.value.hint or "")
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize("change", [{"event_type": "refund"}, {"quantity": "-1"}])
def test_refunds_alone_are_called_so(tmp_path: Path, change: dict[str, str]) -> None:
    config = settings(input__negative_quantity="refund")
    with pytest.raises(DataGate, match="none of the events is a purchase") as caught:
        build_here(tmp_path, changed(lambda line: change), config)

    assert caught.value.hint == "all events are refunds: give the purchases as well"


def test_a_catalogue_of_other_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataGate, match="none of the 1 items of the catalogue is in the events"):
        build_here(tmp_path, changed(lambda line: {}), items=[{"item_id": "elsewhere"}])

    assert not (tmp_path / "snapshot").exists()


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataGate, match="none of 600 rows is left"):
        build_here(tmp_path, changed(lambda line: {"order_id": "test-1"}))
    assert not (tmp_path / "snapshot").exists()
