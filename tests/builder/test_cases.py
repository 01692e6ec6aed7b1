"""Questions with known answers: what is given is never asked for, and strangers stay strangers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.cases import (
    MAX_CART,
    NEXT_ORDER,
    POST_PURCHASE,
    STRANGER_ORDERS,
    Order,
    load_sample,
    make_case,
)
from builder.metrics import Bools
from builder.signals.orders import DAY_US
from builder.split import HELD_OUT_UNITS, Cut
from tests.builder.signal_shops import MEMORY_BYTES, Line, Shop, key_lo, write_shop

KEY = bytes(15) + b"\1"
NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)
OWN_OFFERS = st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), min_size=1, max_size=9)


def order(
    own_offers: Sequence[tuple[int, ...]],
    *,
    order_key: int = 0,
    key: bytes | None = KEY,
    context: Mapping[str, str] | None = None,
    steps: Sequence[int] = (),
) -> Order:
    """An order of items 0, 1, 2 and so on."""
    return Order(
        key=key,
        order_key=order_key,
        bucket=0,
        at=NOON,
        hour_of_week=36,
        context=context or {},
        item_ids=tuple(f"i{row}" for row in range(len(own_offers))),
        item_rows=tuple(range(len(own_offers))),
        own_offers=tuple(own_offers),
        steps=tuple(steps),
    )


def sample(
    shop: Shop,
    folder: Path,
    *,
    holdout_share: float = 0.0,
    max_customers: int = 100,
    only: Bools | None = None,
) -> list[Order]:
    """Orders from day 10 on and before day 20."""
    return load_sample(
        shop.partitions,
        shop.vocabulary,
        Cut(until_us=10 * DAY_US, holdout_share=holdout_share),
        20 * DAY_US,
        target_kind=0,
        max_customers=max_customers,
        only=only,
        memory_bytes=MEMORY_BYTES,
        temp_dir=folder,
    )


@given(OWN_OFFERS, st.integers(1, 2**64 - 1))
def test_a_cart_is_given_and_something_else_is_asked_for(
    own_offers: list[tuple[int, ...]], order_key: int
) -> None:
    case = make_case(order(own_offers, order_key=order_key), POST_PURCHASE, k=10)
    if case is None:
        return
    n_cart = len(case.request.cart)
    given_away = {offer for own in own_offers[:n_cart] for offer in own}

    assert 1 <= n_cart <= min(MAX_CART, len(own_offers) - 1)
    assert case.cart_rows.tolist() == list(range(n_cart))
    assert [line.item_id for line in case.request.cart] == [f"i{row}" for row in range(n_cart)]
    assert case.truth.tolist() == sorted({o for own in own_offers for o in own} - given_away)


@given(OWN_OFFERS, st.integers(1, 2**64 - 1))
def test_the_next_order_is_asked_for_with_an_empty_cart(
    own_offers: list[tuple[int, ...]], order_key: int
) -> None:
    case = make_case(order(own_offers, order_key=order_key), NEXT_ORDER, k=10)
    wanted = sorted({offer for own in own_offers for offer in own})

    assert (case is None) == (not wanted)
    if case is not None:
        assert case.truth.tolist() == wanted
        assert case.request.cart == []
        assert case.cart_rows.size == 0


def test_every_length_of_cart_is_asked() -> None:
    long = [(row,) for row in range(9)]

    assert {order(long, order_key=key).n_cart() for key in range(1, 9)} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("question", "own_offers"),
    [
        (POST_PURCHASE, [(0,)]),
        (POST_PURCHASE, [(0,), (0,)]),
        (POST_PURCHASE, [(0,), ()]),
        (NEXT_ORDER, [(), ()]),
    ],
    ids=["one item", "one offer of two items", "only the first has an offer", "no offers"],
)
def test_an_order_that_leaves_nothing_to_find_asks_nothing(
    question: str, own_offers: list[tuple[int, ...]]
) -> None:
    assert make_case(order(own_offers), question, k=10) is None


def test_a_request_says_what_was_known_and_not_who_it_was() -> None:
    case = make_case(order([(0,), (1,)], context={"device": "mobile"}), NEXT_ORDER, k=7)

    assert case is not None
    assert case.key == KEY
    assert case.request.customer_id is None
    assert (case.request.at, case.request.context) == (NOON, {"device": "mobile"})
    assert (case.request.k, case.request.placement) == (7, NEXT_ORDER)
    assert case.request.repeat is None, "the brand's own policy applies"


def test_an_order_is_read_as_its_lines_stand(tmp_path: Path) -> None:
    lines = [
        Line(customer=1, order=5, item=2, day=12, hour_of_week=40, context={"device": "tv"}),
        Line(customer=1, order=5, item=0, day=12, hour_of_week=40, context={"device": "tv"}),
        Line(customer=1, order=5, item=2, day=12, hour_of_week=40),
    ]
    shop = write_shop(
        tmp_path / "shop",
        lines,
        n_items=3,
        contexts=("device", "country"),
        item_offers=[(0, 0), (0, 1), (2, 1)],
    )
    [found] = sample(shop, tmp_path)

    assert found.key == (1).to_bytes(8, "big") + key_lo(1).to_bytes(8, "big")
    assert found.order_key == 5
    assert found.bucket == key_lo(1) % HELD_OUT_UNITS
    assert found.at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=12)
    assert (found.hour_of_week, found.context) == (40, {"device": "tv"})
    assert (found.item_ids, found.item_rows) == (("i2", "i0"), (2, 0))
    assert found.own_offers == ((1,), (0, 1))
    assert found.steps == (0, 1, 0), "a line that comes again is a step of its own"


@pytest.mark.parametrize(
    ("order_key", "viewed", "truth", "rows"),
    [
        (0, ["i0"], [0], [0]),
        (1, ["i0", "i0"], [1, 5], [0]),
        (2, ["i0", "i0", "i1"], [0], [0, 1]),
        (3, ["i0"], [0], [0]),
    ],
)
def test_of_a_session_any_next_step_is_asked_even_back_to_where_it_was(
    order_key: int, viewed: list[str], truth: list[int], rows: list[int]
) -> None:
    session = order([(0,), (1, 5)], order_key=order_key, steps=(0, 0, 1, 0))
    case = make_case(session, POST_PURCHASE, k=10, as_viewed=True)

    assert case is not None
    assert (case.request.viewed, case.request.cart) == (viewed, [])
    assert (case.truth.tolist(), case.cart_rows.tolist()) == (truth, rows)
    assert case.banned.size == 0


def test_items_looked_at_come_by_when_they_were_last() -> None:
    session = order([(0,), (1,), (2,)], order_key=2, steps=(0, 1, 0, 2))
    case = make_case(session, POST_PURCHASE, k=10, as_viewed=True)

    assert case is not None
    assert case.cart_rows.tolist() == [1, 0]


@pytest.mark.parametrize("steps", [(0,), (0, 1)], ids=["one step", "the next has no offer"])
def test_a_session_that_leaves_nothing_to_find_asks_nothing(steps: tuple[int, ...]) -> None:
    session = order([(0,), ()], steps=steps)

    assert make_case(session, POST_PURCHASE, k=10, as_viewed=True) is None


def test_only_the_slice_is_asked_about(tmp_path: Path) -> None:
    days = {1: 9.999, 2: 10, 3: 19.999, 4: 20}
    lines = [Line(customer=n, order=n, item=0, day=day) for n, day in days.items()]
    views = [Line(customer=5, order=5, item=0, day=12, kind=1)]
    shop = write_shop(tmp_path / "shop", [*lines, *views], n_items=1)

    assert [found.order_key for found in sample(shop, tmp_path)] == [2, 3]


def test_a_known_customers_first_order_and_a_strangers_first_few_are_asked(tmp_path: Path) -> None:
    n_orders = STRANGER_ORDERS + 2
    lines = [
        Line(customer=customer, order=100 * customer + n, item=0, day=19 - n / 10)
        for customer in range(1, 21)
        for n in range(n_orders)
    ]
    guests = [Line(customer=0, order=9000 + n, item=0, day=12) for n in range(3)]
    shop = write_shop(tmp_path / "shop", [*lines, *guests], n_items=1)
    cut = Cut(until_us=10 * DAY_US, holdout_share=0.4)
    found = sample(shop, tmp_path, holdout_share=cut.holdout_share)

    orders = {
        customer: [one.order_key for one in found if one.order_key // 100 == customer]
        for customer in range(1, 21)
    }
    held_out = {customer for customer in orders if key_lo(customer) % HELD_OUT_UNITS < 4000}
    assert 0 < len(held_out) < 20
    for customer, keys in orders.items():
        n = STRANGER_ORDERS if customer in held_out else 1
        last = 100 * customer + n_orders
        assert keys == list(range(last - n, last))
    assert {one.order_key for one in found if one.key is None} == {9000, 9001, 9002}
    assert {one.order_key // 100 for one in found if one.key and one.is_held_out(cut)} == held_out


def test_a_sample_is_of_whole_customers_and_does_not_depend_on_partitions(tmp_path: Path) -> None:
    lines = [Line(customer=n, order=n, item=0, day=15) for n in range(1, 41)]
    one = write_shop(tmp_path / "one", lines, n_items=1)
    two = write_shop(tmp_path / "two", lines, n_items=1, partition_of=[n // 20 for n in range(40)])
    everyone = sample(one, tmp_path)

    assert len(everyone) == 40
    assert sample(two, tmp_path) == everyone
    assert len(sample(two, tmp_path, max_customers=9)) == 10
    few = sample(one, tmp_path, max_customers=10)
    smallest = sorted(key_lo(n) for n in range(1, 41))[:10]
    assert sorted(int.from_bytes(found.key[8:], "big") for found in few if found.key) == smallest


def test_orders_that_hold_nothing_asked_for_are_passed_over(tmp_path: Path) -> None:
    lines = [
        Line(customer=1, order=1, item=0, day=11),
        Line(customer=1, order=2, item=1, day=12),
        Line(customer=1, order=2, item=0, day=12),
        Line(customer=2, order=3, item=0, day=13),
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=2)
    first = sample(shop, tmp_path)
    asked = sample(shop, tmp_path, only=np.array([False, True]))

    assert [one.order_key for one in first] == [1, 3]
    assert [one.order_key for one in asked] == [2]
    assert asked[0].item_ids == ("i1", "i0")


@pytest.mark.parametrize(
    ("own_offers", "sizes", "banned", "truth"),
    [
        pytest.param([(0,), (1,)], {}, [0], [1], id="each item an offer"),
        pytest.param([(0, 5), (1,)], {5: 2}, [0], [1], id="half of a bundle in the cart"),
        pytest.param([(0, 5), (1, 5)], {5: 2}, [0], [1, 5], id="the other half bought"),
        pytest.param([(5,), (5,)], {5: 9}, [], [5], id="a coupon for many items"),
    ],
)
def test_an_offer_of_several_items_is_asked_for_while_one_is_missing(
    own_offers: list[tuple[int, ...]], sizes: dict[int, int], banned: list[int], truth: list[int]
) -> None:
    case = make_case(replace(order(own_offers), sizes=sizes), POST_PURCHASE, k=10)

    assert case is not None
    assert case.cart_rows.tolist() == [0]
    assert case.banned.tolist() == banned
    assert case.truth.tolist() == truth


def test_how_many_items_an_offer_holds_is_counted(tmp_path: Path) -> None:
    lines = [Line(customer=1, order=1, item=item, day=11) for item in (0, 1)]
    links = [(0, 0), (1, 0), (2, 0), (1, 1)]
    shop = write_shop(tmp_path / "shop", lines, n_items=3, item_offers=links)
    (found,) = sample(shop, tmp_path)

    assert found.sizes == {0: 3}
    assert found.given(2) == [1]
