"""What must not be shown: in the cart, asked away, bought, out of its window, place or rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from index.decide import decide
from index.eligibility import parse_rules
from index.generation import Generation
from index.layout import NO_ROW
from index.records import (
    NO_PRICE,
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    ItemRecord,
)
from index.request import CartLine, Request
from tests.index.asking import (
    NOW,
    WINDOW,
    Shop,
    changed,
    lines,
    rows_of,
)
from tests.toys import (
    AS_OF_US,
    N_OFFERS,
    item_id,
    toy_model,
)


@pytest.mark.parametrize(
    ("asked", "banned"),
    [
        pytest.param({"cart": lines(1, 4)}, {1, 4}, id="cart"),
        pytest.param({"exclude": [item_id(0), item_id(3)]}, {0, 3}, id="exclude"),
        pytest.param({"declined": [item_id(1)]}, {1}, id="declined"),
        pytest.param({"customer_id": "ann", "repeat": "exclude"}, {30, 31, 39}, id="repeat"),
        pytest.param({"customer_id": "ann", "repeat": "allow"}, set(), id="repeat allowed"),
        pytest.param({"customer_id": "ann"}, set(), id="repeat, the brand's choice"),
        pytest.param(
            {"cart": lines(*range(20)), "exclude": [item_id(row) for row in range(20, 39)]},
            set(range(39)),
            id="all but one",
        ),
        pytest.param({"cart": lines(*range(40))}, set(range(40)), id="all"),
    ],
)
def test_what_was_asked_away_is_not_shown(
    toy: Generation, asked: dict[str, Any], banned: set[int]
) -> None:
    shown = rows_of(decide(toy, Request(k=100, **asked)))

    assert sorted(shown) == sorted(set(range(N_OFFERS)) - banned)


def test_the_brand_decides_on_repeats_by_placement(shop: Shop) -> None:
    shown = shop(model=toy_model(repeat={"*": "exclude", "home": "allow"}))
    ann: dict[str, Any] = {"customer_id": "ann", "k": 100}

    assert not {30, 31, 39} & set(rows_of(decide(shown, Request(**ann))))
    assert {30, 31, 39} <= set(rows_of(decide(shown, Request(**ann, placement="home"))))
    assert {30, 31} <= set(rows_of(decide(shown, Request(**ann, repeat="allow"))))


def offers_of_an_item(item: str, *offer_rows: int) -> dict[str, ItemRecord]:
    none = np.zeros(0, dtype=np.uint32)
    floats = np.zeros(0, dtype=np.float32)
    record = ItemRecord(40, 9, NO_PRICE, NO_ROW, offer_rows, none, floats, none, floats)
    return {item: record}


@pytest.mark.parametrize("asked", ["cart", "exclude", "declined"])
def test_an_item_bans_every_offer_that_holds_it(shop: Shop, asked: str) -> None:
    bundles = shop(model=toy_model(n_items=41), items=offers_of_an_item("bun", 0, 2))
    named: dict[str, Any] = {
        asked: [CartLine(item_id="bun")] if asked == "cart" else ["bun"],
    }

    assert rows_of(decide(bundles, Request(k=3, **named))) == [1, 3, 4]


def us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("starts", "expires", "at", "is_shown"),
    [
        pytest.param(AS_OF_US, AS_OF_US + HOUR, None, True, id="at the first moment"),
        pytest.param(AS_OF_US - HOUR, AS_OF_US, None, False, id="at the end"),
        pytest.param(AS_OF_US - HOUR, AS_OF_US + 1, None, True, id="just before the end"),
        pytest.param(AS_OF_US + 1, AS_OF_US + HOUR, None, False, id="not yet"),
        pytest.param(us(NOW), us(NOW) + HOUR, NOW, True, id="the request's moment"),
        pytest.param(us(NOW), us(NOW) + HOUR, NOW + timedelta(hours=1), False, id="an hour late"),
        pytest.param(
            us(NOW), us(NOW) + 1, NOW.astimezone(timezone(timedelta(hours=9))), True, id="elsewhere"
        ),
        pytest.param(
            us(NOW), us(NOW) + 1, NOW.replace(tzinfo=None) + timedelta(hours=1), True, id="local"
        ),
    ],
)
def test_an_offer_is_shown_within_its_window(
    shop: Shop,
    starts: int,
    expires: int,
    at: datetime | None,
    is_shown: bool,  # noqa: FBT001
) -> None:
    offers = changed(0, flags=WINDOW, starts_us=starts, expires_us=expires)

    assert (0 in rows_of(decide(shop(offers=offers), Request(at=at)))) is is_shown


def test_an_unavailable_offer_is_never_shown(shop: Shop) -> None:
    generation = shop(offers=changed(0, flags=0) | changed(30, flags=0))

    assert rows_of(decide(generation, Request(customer_id="ann", k=3))) == [31, 1, 2]


def test_an_offer_appears_at_its_placements_only(shop: Shop) -> None:
    flags = OFFER_AVAILABLE | OFFER_HAS_PLACEMENTS
    generation = shop(
        model=toy_model(placements=("home", "checkout")),
        offers=changed(0, flags=flags, placements=0b10) | changed(1, flags=flags, placements=0b11),
    )

    assert rows_of(decide(generation, Request(placement="checkout", k=3))) == [0, 1, 2]
    assert rows_of(decide(generation, Request(placement="home", k=3))) == [1, 2, 3]
    assert rows_of(decide(generation, Request(placement="moon", k=3))) == [2, 3, 4]


RULES = [
    ('{"country": "US"}', {"context": {"country": "us"}}, True),
    ('{"country": ["US", "CA"]}', {"context": {"country": "ca"}}, True),
    ('{"country": "US"}', {"context": {"country": "fr"}}, False),
    ('{"country": "US"}', {}, False),
    ('{"country": {"not_in": ["US"]}}', {"context": {"country": "fr"}}, True),
    ('{"country": {"not_in": ["US"]}}', {"context": {"country": "US "}}, False),
    ('{"country": {"not_in": ["US"]}}', {}, False),
    ('{"age": {"min": 18, "max": 30}}', {"context": {"age": 18}}, True),
    ('{"age": {"min": 18, "max": 30}}', {"context": {"age": "30"}}, True),
    ('{"age": {"min": 18, "max": 30}}', {"context": {"age": 30.5}}, False),
    ('{"age": {"min": 18}}', {"context": {"age": "old"}}, False),
    ('{"vip": true}', {"context": {"vip": True}}, True),
    ('{"vip": true}', {"context": {"vip": "true"}}, True),
    ('{"vip": true}', {"context": {"vip": False}}, False),
    ('{"placement": "home"}', {"placement": "home"}, True),
    ('{"placement": "home"}', {}, False),
    ('{"cart_items": 2}', {"cart": lines(8, 9)}, True),
    ('{"cart_items": {"min": 3}}', {"cart": lines(8, 9)}, False),
    (
        '{"cart_total": {"min": 30}}',
        {"cart": [CartLine(item_id="?", unit_price=15, quantity=2)]},
        True,
    ),
    ('{"cart_total": {"min": 30}}', {"cart": [CartLine(item_id="?", unit_price=15)]}, False),
    ('{"cart_total": {"max": 0}}', {}, True),
    ('{"cart_total": {"not_in": [0]}}', {}, False),
    ('{"country": "US", "cart_items": 1}', {"context": {"country": "US"}}, False),
    ("{}", {}, True),
]


@pytest.mark.parametrize(("rules", "asked", "is_shown"), RULES)
def test_an_offer_is_shown_to_whom_its_rules_allow(
    shop: Shop,
    rules: str,
    asked: dict[str, Any],
    is_shown: bool,  # noqa: FBT001
) -> None:
    packed = parse_rules(rules)
    flags = OFFER_AVAILABLE | (OFFER_HAS_RULES if packed else 0)
    generation = shop(offers=changed(0, flags=flags, rules=packed))

    assert (0 in rows_of(decide(generation, Request(**asked)))) is is_shown


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ("no", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"a": {"least": 1}}', "unknown \\['least'\\]"),
        ('{"a": {"min": "1"}}', "must be numbers, not '1'"),
        ('{"a": {"min": true}}', "must be numbers, not True"),
        ('{"a": {"min": NaN}}', "must be finite"),
        ('{"a": {"max": 1e16}}', "must be finite"),
        ('{"a": {"max": 1' + "0" * 400 + "}}", "must be finite"),
        ('{"a": [[1]]}', "must be text, numbers or true/false"),
        ('{"a": [null]}', "must be text, numbers or true/false"),
    ],
)
def test_rules_that_mean_nothing_are_refused(rules: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_rules(rules)
