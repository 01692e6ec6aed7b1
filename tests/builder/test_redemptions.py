"""Which offers were taken: events, then questions, then what weights are learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from builder.build import Built
from builder.cases import STRANGER_ORDERS, Case
from builder.events import REDEEM
from builder.redemptions import REDEMPTION, load_redemptions
from builder.report_html import render
from builder.signals.orders import DAY_US
from builder.split import HELD_OUT_UNITS, Cut
from builder.weights import MIN_CASES
from index.decide import decide
from index.request import Request
from index.snapshot import open_snapshot
from tests.builder.files import SECRET, Row, events_of, import_files, rules_of, write_rows
from tests.builder.nights import build_here
from tests.builder.signal_shops import MEMORY_BYTES, Line, Shop, key_lo, write_shop

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
N_WEEKS, N_CUSTOMERS, N_FAVOURITES = 12, 60, 6


def event(item_id: str, kind: str = "", offer_id: str = "", order_id: str = "o1") -> Row:
    return {
        "ts": "2024-01-05T10:11:12Z",
        "customer_id": "ada",
        "order_id": order_id,
        "item_id": item_id,
        "event_type": kind,
        "offer_id": offer_id,
    }


def test_redemptions_are_counted_and_those_of_unknown_offers_told(tmp_path: Path) -> None:
    events = [
        event("tea", offer_id="five-off"),
        event("", "redeem", "five-off"),
        event("", "redeem", "five-off"),
        event("jam", "redeem", "free-jam"),
        event("", "redeem", "lost"),
        event("", "redeem", "gone"),
    ]
    offers = [{"offer_id": "five-off", "item_ids": "tea"}, {"offer_id": "free-jam", "item_ids": ""}]
    imported = import_files(
        tmp_path / "work",
        write_rows(tmp_path / "e.csv", events),
        offers=[write_rows(tmp_path / "o.csv", offers)],
    )

    assert events_of(imported, "item_id, offer_id, kind = 0, quantity") == [
        ("tea", None, True, 1),
        (None, "five-off", False, 1),
        ("jam", "free-jam", False, 1),
        (None, "lost", False, 1),
        (None, "gone", False, 1),
    ]
    assert rules_of(imported) == {"duplicate": 1, "offer_not_redeemed": 1}
    vocabulary = imported.report["vocabulary"]
    assert vocabulary["n_items"] == 2
    assert vocabulary["redemptions"] == {"events": 4, "of_unknown_offers": 2}
    assert [notice for notice in imported.report["notices"] if "redemptions" in notice] == [
        "events: 2 of 4 redemptions are of offers that are not known, and teach nothing"
    ]


def test_without_offers_a_redeemed_item_is_an_offer(tmp_path: Path) -> None:
    events = write_rows(tmp_path / "e.csv", [event("tea"), event("", "redeem", "tea")])
    imported = import_files(tmp_path / "work", events)

    assert imported.report["vocabulary"]["redemptions"] == {"events": 1, "of_unknown_offers": 0}
    assert not [notice for notice in imported.report["notices"] if "redemptions" in notice]


def redeemed(
    shop: Shop, folder: Path, *, holdout_share: float = 0.0, max_customers: int = 100
) -> list[Case]:
    """Redemptions from day 10 on and before day 20."""
    return load_redemptions(
        shop.partitions,
        shop.vocabulary,
        Cut(until_us=10 * DAY_US, holdout_share=0.0),
        20 * DAY_US,
        without=Cut(until_us=15 * DAY_US, holdout_share=holdout_share),
        max_customers=max_customers,
        k=7,
        memory_bytes=MEMORY_BYTES,
        temp_dir=folder,
    )


def taken(offer: str, *, customer: int = 1, order: int = 5, day: float = 12, at: str = "") -> Line:
    context = {"campaign": at} if at else {}
    return Line(
        customer=customer,
        order=order,
        item=0,
        day=day,
        kind=REDEEM,
        hour_of_week=40,
        offer=offer,
        context=context,
    )


def written(folder: Path, lines: Sequence[Line], placements: Sequence[Sequence[str]] = ()) -> Shop:
    return write_shop(
        folder, lines, n_items=3, contexts=("campaign",), placements=placements or [()] * 3
    )


def test_a_redemption_is_a_question_about_what_was_taken_together(tmp_path: Path) -> None:
    lines = [
        taken("o2", at="8"),
        taken("o0", at="8"),
        taken("o0", at="8", day=12.5),
        taken("o1", at="9"),
        taken("lost", order=6),
        Line(customer=1, order=7, item=1, day=12),
    ]
    one, other = redeemed(written(tmp_path / "shop", lines), tmp_path)

    assert one.key == (1).to_bytes(8, "big") + key_lo(1).to_bytes(8, "big")
    assert one.question == one.request.placement == REDEMPTION
    assert one.request.at == datetime(1970, 1, 13, tzinfo=UTC)
    assert (one.request.context, one.request.k) == ({"campaign": "8"}, 7)
    assert (one.request.customer_id, one.request.cart) == (None, [])
    assert (one.truth.tolist(), other.truth.tolist()) == ([0, 2], [1])
    assert other.request.context == {"campaign": "9"}


def test_only_the_slice_and_who_may_be_learned_from_are_asked_about(tmp_path: Path) -> None:
    days = {1: 9.999, 2: 10, 3: 19.999, 4: 20}
    lines = [taken("o0", customer=n, order=n, day=day) for n, day in days.items()]
    more = [taken("o0", customer=n, order=n) for n in range(5, 45)]
    shop = written(tmp_path / "shop", [*lines, taken("o0", customer=0, order=9_999), *more])
    everyone = [case.order.order_key for case in redeemed(shop, tmp_path)]
    allowed = [case.order.order_key for case in redeemed(shop, tmp_path, holdout_share=0.5)]
    few = redeemed(shop, tmp_path, max_customers=10)

    assert everyone == [9_999, 2, 3, *range(5, 45)]
    assert allowed == [
        n for n in everyone if (n if n == 9_999 else key_lo(n)) % HELD_OUT_UNITS >= 5000
    ]
    assert len(few) == 10
    assert redeemed(shop, tmp_path)[0].key is None


def test_a_customers_first_redemptions_are_asked_about(tmp_path: Path) -> None:
    lines = [taken("o0", order=100 - n, day=10 + n / 10) for n in range(STRANGER_ORDERS + 3)]
    found = redeemed(written(tmp_path / "shop", lines), tmp_path)

    assert [case.order.order_key for case in found] == [100 - n for n in range(STRANGER_ORDERS)]


def test_a_request_comes_from_where_the_taken_offer_can_be(tmp_path: Path) -> None:
    lines = [taken("o0"), taken("o1", order=6, day=13), taken("o2", order=7, day=14)]
    placements = [(), ("checkout", "home"), ("home",)]
    found = redeemed(written(tmp_path / "shop", lines, placements), tmp_path)

    assert [case.request.placement for case in found] == [REDEMPTION, "checkout", "home"]


def line(customer: int, week: int, **more: str) -> Row:
    """An order a week, of an item of the customer's own unless told otherwise."""
    return {
        "ts": (START + timedelta(weeks=week, minutes=customer)).isoformat(),
        "customer_id": f"c{customer}",
        "order_id": f"{customer}-{week}",
        "item_id": f"own-{customer % N_FAVOURITES}",
        "event_type": "purchase",
        "offer_id": "",
        **more,
    }


def orders() -> list[Row]:
    """Everybody buys their favourite in each order, and milk in one of two."""
    draw = Random(7)
    return [
        line(customer, week, **more)
        for week in range(N_WEEKS)
        for customer in range(N_CUSTOMERS)
        for more in ({}, *([{"item_id": "milk"}] if draw.random() < 0.5 else []))
    ]


def redemptions(offer_id: str) -> list[Row]:
    """What everybody takes each week."""
    return [
        line(customer, week, item_id="", event_type="redeem", offer_id=offer_id)
        for week in range(N_WEEKS)
        for customer in range(N_CUSTOMERS)
    ]


OFFERS: list[Row] = [
    {"offer_id": f"coupon-{item}", "item_ids": json.dumps([item])}
    for item in ("milk", *(f"own-{n}" for n in range(N_FAVOURITES)))
]
NIGHTS = {
    "bought": [],
    "lost": redemptions("lost"),
    "redeemed": redemptions("coupon-milk"),
}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Built]]:
    """The same orders, and no redemptions, or some of an offer nobody knows, or of milk's."""
    folders = {name: tmp_path_factory.mktemp(name) for name in NIGHTS}
    return {
        name: (folder / "snapshot", build_here(folder, [*orders(), *NIGHTS[name]], offers=OFFERS))
        for name, folder in folders.items()
    }


def first_offers(path: Path) -> list[str]:
    """What each customer is shown first."""
    with open_snapshot(path, SECRET) as generation:
        asked = [Request(customer_id=f"c{n}") for n in range(N_CUSTOMERS)]
        return [decide(generation, request).offers[0].offer_id for request in asked]


def test_what_is_redeemed_outweighs_what_is_bought(
    nights: dict[str, tuple[Path, Built]],
) -> None:
    """Everybody buys their own favourite, and takes the coupon that most could use."""
    bought, redeemed = nights["bought"][0], nights["redeemed"][0]

    assert first_offers(bought) == [f"coupon-own-{n % N_FAVOURITES}" for n in range(N_CUSTOMERS)]
    assert first_offers(redeemed) == ["coupon-milk"] * N_CUSTOMERS


def test_the_report_says_what_weights_were_learned_from(
    nights: dict[str, tuple[Path, Built]],
) -> None:
    learned = {
        name: {tier.tier: tier.n_redemptions for tier in built.report.weights}
        for name, (_, built) in nights.items()
    }

    assert not any([*learned["bought"].values(), *learned["lost"].values()])
    assert learned["redeemed"]["individual"] >= MIN_CASES
    assert "redemptions" in render(nights["redeemed"][1].report)
    assert "redemptions" not in render(nights["lost"][1].report)


def test_redemptions_that_teach_nothing_change_nothing(
    nights: dict[str, tuple[Path, Built]],
) -> None:
    assert nights["lost"][1].manifest.model_id == nights["bought"][1].manifest.model_id
