"""Each rule for events takes out exactly the rows it names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from builder.clean import DAMAGE_RULES
from builder.config import Config
from builder.events import KINDS, SPELLINGS, EventSettings, event_rules
from builder.merging import MERGE_RULES
from tests.builder.files import (
    NOW_US,
    Row,
    events_of,
    import_files,
    rules_of,
    settings,
    write_rows,
)

GOOD = {
    "ts": "2024-01-05T10:11:12Z",
    "customer_id": "ada",
    "anonymous_id": "",
    "order_id": "o1",
    "session_id": "",
    "event_type": "",
    "offer_id": "",
    "item_id": "tea",
    "quantity": "2",
    "unit_price": "3.50",
    "currency": "",
    "device": "",
}
NOBODY = {"customer_id": "", "order_id": ""}
REDEEMED = {"event_type": "redeem", "offer_id": "five-off", "item_id": ""}
LENIENT = settings(input__max_bad=1.0)


def outcome(tmp_path: Path, *changes: Row, config: Config = LENIENT) -> dict[str, list[int]]:
    """The places of the changes that each rule named; each change is made to a good row.

    The row before them all is good, and every row stands in an order of its own.
    """
    company = {**GOOD, "ts": "2024-01-04T10:00:00Z", "order_id": "o0"}
    changed = [{**GOOD, "order_id": f"o{n}", **change} for n, change in enumerate(changes, 1)]
    path = write_rows(tmp_path / "e.csv", [company, *changed])
    report = import_files(tmp_path / "work", path, config=config).report["events"]
    return {
        rule["rule"]: [entry["row"] - 2 for entry in rule["samples"]] for rule in report["rules"]
    }


CASES: list[tuple[str, Row]] = [
    ("no_time", {"ts": ""}),
    ("no_time", {"ts": " NULL "}),
    ("bad_time", {"ts": "yesterday"}),
    ("old_time", {"ts": "1989-12-31T23:59:59Z"}),
    ("future_time", {"ts": str(NOW_US + 1)}),
    ("no_item_needed", {"event_type": "search", "item_id": ""}),
    ("no_item", {"item_id": ""}),
    ("no_item", {"item_id": "None"}),
    ("no_offer", REDEEMED | {"offer_id": "n/a"}),
    ("no_identity", NOBODY),
    ("no_identity", {**NOBODY, "session_id": "undefined"}),
    ("long_id", {"item_id": "x" * 513}),
    ("long_id", {"customer_id": "é" * 257}),
    ("long_id", REDEEMED | {"offer_id": "x" * 513}),
    ("bad_id", REDEEMED | {"offer_id": "a\tb"}),
    ("bad_id", {"item_id": "tea\x01"}),
    ("bad_id", {"order_id": "o\n1"}),
    ("bad_id", {"item_id": '["tea"]'}),
    ("bad_id", {"customer_id": '{"id": 1}'}),
    ("test_customer", {"customer_id": "Ada@Example.com"}),
    ("test_order", {"order_id": "TEST-7"}),
    ("bad_quantity", {"quantity": "two"}),
    ("bad_quantity", {"quantity": "1000001"}),
    ("bad_quantity", {"quantity": "1e400"}),
    ("bad_quantity", {"quantity": "0x10"}),
    ("zero_quantity", {"quantity": "0"}),
    ("negative_quantity", {"quantity": "-1"}),
    ("bad_price", {"unit_price": "cheap"}),
    ("bad_price", {"unit_price": "1e400"}),
    ("bad_price", {"unit_price": "9" * 40}),
    ("absurd_price", {"unit_price": "-0.01"}),
    ("absurd_price", {"unit_price": "1000000.01"}),
    ("unknown_type", {"event_type": "wishlisted"}),
    ("offer_not_redeemed", {"offer_id": "five-off"}),
    ("fraction", {"quantity": "1.5"}),
    ("odd_context", {"device": "x" * 129}),
    ("duplicate", {"ts": "2024-01-04T10:00:00Z", "order_id": "o0"}),
]


def test_each_rule_names_its_rows_and_no_other(tmp_path: Path) -> None:
    expected: dict[str, list[int]] = {}
    for place, (rule, _) in enumerate(CASES):
        expected.setdefault(rule, []).append(place)
    assert outcome(tmp_path, *(change for _, change in CASES)) == expected


ALLOWED: list[Row] = [
    {},
    {"ts": str(NOW_US)},
    REDEEMED,
    REDEEMED | {"quantity": "-1.5"},
    {"item_id": "x" * 512},
    {"item_id": "[tea"},
    {"item_id": "nullable"},
    {"customer_id": "ada@example.computer"},
    {"order_id": "contest-7"},
    {"quantity": "1000000"},
    {"quantity": ""},
    {"quantity": "NaN"},
    {"unit_price": "NaN"},
    {"unit_price": "0"},
    {"unit_price": "1000000"},
    {"event_type": "view", "quantity": "0"},
    {"event_type": "refund", "quantity": "-1", "unit_price": "-3", "order_id": "elsewhere"},
    {"device": "x" * 128},
]


def test_rows_at_the_edge_of_a_rule_pass(tmp_path: Path) -> None:
    assert outcome(tmp_path, *ALLOWED) == {}


def test_quantities_may_be_dropped_or_sold_back(tmp_path: Path) -> None:
    config = settings(input__zero_quantity="drop", input__negative_quantity="refund")
    found = outcome(tmp_path, {"quantity": "0"}, {"quantity": "-1"}, config=config)
    assert found == {"zero_quantity": [0], "sold_back": [1]}


def test_prices_of_another_currency_are_unknown(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "item_id": "a", "currency": "eur"},
        {**GOOD, "item_id": "b", "currency": "USD"},
        {**GOOD, "item_id": "c", "unit_price": "4 EUR"},
        {**GOOD, "item_id": "d", "unit_price": "4 USD"},
        {**GOOD, "item_id": "e"},
    ]
    config = settings(brand__currency="EUR")
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows), config=config)
    assert [cents for (cents,) in events_of(imported, "price_cents")] == [350, None, 400, None, 350]
    assert rules_of(imported) == {"foreign_currency": 2}
    assert imported.report["events"]["currencies"] == {"EUR": 2, "USD": 2}


def test_amounts_are_rounded_to_what_learners_read(tmp_path: Path) -> None:
    quantities = ["", "0.2", "1.5", "2", "3.7"]
    rows = [{**GOOD, "item_id": f"i{n}", "quantity": q} for n, q in enumerate(quantities)]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows))
    assert [n for (n,) in events_of(imported, "quantity")] == [1, 1, 2, 2, 4]


def test_spellings_of_event_types_are_known(tmp_path: Path) -> None:
    spelled = [
        (kind, name.replace("_", sep).title())
        for kind, names in SPELLINGS
        for name in names.split()
        for sep in " -_"
    ]
    good = {**GOOD, "offer_id": "five-off"}
    rows = [{**good, "item_id": f"i{n}", "event_type": t} for n, (_, t) in enumerate(spelled)]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows))
    kinds = [kind for kind, _ in spelled]
    assert [k for (k,) in events_of(imported, "kind")] == kinds
    assert imported.report["events"]["kinds"] == Counter(KINDS[kind] for kind in kinds)


def test_every_rule_says_what_it_is_and_is_named_once() -> None:
    rules = [*DAMAGE_RULES, *event_rules(EventSettings.of(Config(), NOW_US)), *MERGE_RULES]
    assert len({rule.name for rule in rules}) == len(rules)
    assert all(rule.sentence for rule in rules)


def lines(*rows: Row) -> list[Row]:
    return [{**GOOD, **row} for row in rows]


def kept(tmp_path: Path, rows: list[Row], config: Config = LENIENT) -> tuple[object, object]:
    """Item and quantity of each event left, and what the rules did."""
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows), config=config)
    return events_of(imported, "item_id, kind, quantity"), rules_of(imported)


def test_refund_takes_back_its_purchase_and_no_other(tmp_path: Path) -> None:
    refund = {"event_type": "refund", "ts": "2024-02-01T00:00:00Z"}
    rows = lines(
        {"item_id": "tea", "quantity": "2"},
        {"item_id": "jam", "quantity": "5"},
        {"item_id": "bun", "quantity": "1"},
        {"item_id": "tea", "quantity": "1", "order_id": "o2"},
        {"item_id": "tea", "quantity": "2", **refund},
        {"item_id": "jam", "quantity": "2", **refund},
        {"item_id": "bun", "quantity": "9", **refund, "order_id": "unheard of"},
    )
    assert kept(tmp_path, rows) == (
        [("jam", 0, 3), ("bun", 0, 1), ("tea", 0, 1), ("bun", 4, 9)],
        {"refunded": 1, "partly_refunded": 1, "refund_used": 2},
    )


def test_refund_takes_back_later_lines_first(tmp_path: Path) -> None:
    rows = lines(
        {"quantity": "2"},
        {"quantity": "3"},
        {"quantity": "4", "event_type": "returned"},
    )
    assert kept(tmp_path, rows) == (
        [("tea", 0, 1)],
        {"refunded": 1, "partly_refunded": 1, "refund_used": 1},
    )


def test_bots_are_taken_out_with_all_they_did(tmp_path: Path) -> None:
    def day(customer: str, n: int, **more: str) -> list[Row]:
        return lines(
            *({"customer_id": customer, "order_id": f"{customer}{i}", **more} for i in range(n))
        )

    config = settings(input__bot_max_orders_per_day=3, input__bot_max_events_per_day=5)
    views = {"event_type": "view", "customer_id": "", "order_id": ""}
    rows = [
        *day("ada", 3),
        *day("bot", 4),
        *day("bot", 1, ts="2024-03-01T00:00:00Z"),
        *lines(*({**views, "session_id": "s1", "item_id": f"i{i}"} for i in range(5))),
        *lines(*({**views, "session_id": "s2", "item_id": f"i{i}"} for i in range(6))),
    ]
    events, rules = kept(tmp_path, rows, config)
    assert rules == {"bot_customer": 5, "bot_session": 6}
    assert isinstance(events, list)
    assert len(events) == 8


def test_nobody_is_a_bot_where_all_times_are_equal(tmp_path: Path) -> None:
    """Without times a long history would pass for a busy day."""
    rows = lines(
        *(
            {"customer_id": "ada", "order_id": f"o{i}", "ts": "2024-03-01T00:00:00Z"}
            for i in range(9)
        )
    )
    config = settings(input__bot_max_orders_per_day=3, input__bot_max_events_per_day=5)
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows), config=config)
    assert imported.by_lot
    assert len(events_of(imported)) == 9
    assert not any("too many" in notice for notice in imported.report["notices"])


def test_many_rows_of_bots_are_told_of(tmp_path: Path) -> None:
    rows = [
        *lines(*({"customer_id": "ada", "order_id": f"o{i}"} for i in range(9))),
        *lines({"customer_id": "bob", "order_id": "p", "ts": "2024-03-01T00:00:00Z"}),
    ]
    config = settings(input__bot_max_orders_per_day=3)
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows), config=config)
    [notice] = [n for n in imported.report["notices"] if "too many" in n]
    assert notice.startswith("events: 90.0% of the rows are of a customer with too many orders")
