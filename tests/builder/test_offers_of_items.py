"""A shop whose offers hold several items each: coupons of a campaign that is still to come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from index.decide import decide
from index.generation import Generation
from index.request import Request
from index.snapshot import open_snapshot
from tests.builder.files import SECRET, Row
from tests.builder.nights import build_here

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
N_WEEKS = 16
CAMPAIGN_AT = START + timedelta(weeks=N_WEEKS + 1)
BAKERS, TEA_DRINKERS = range(12), range(12, 60)
N_KINDS = 8


def order(customer: int, week: int) -> list[str]:
    """Every order has milk; bakers' have a bread, never the same twice within eight weeks."""
    kind = (customer + week) % N_KINDS
    own = f"bread-{kind}" if customer in BAKERS else f"tea-{kind}"
    # Soap is bought more often than any one bread, and less often than bread as a whole.
    return ["milk", own, *(["soap"] if week % 4 == customer % 4 else [])]


def lines() -> list[Row]:
    """The orders of all weeks, one a week and customer."""
    return [
        {
            "ts": (START + timedelta(weeks=week, minutes=customer)).isoformat(),
            "customer_id": f"c{customer}",
            "order_id": f"{customer}-{week}",
            "item_id": item_id,
        }
        for week in range(N_WEEKS)
        for customer in (*BAKERS, *TEA_DRINKERS)
        for item_id in order(customer, week)
    ]


def coupon(offer_id: str, campaign: str, *item_ids: str) -> Row:
    """An offer that a request must name the campaign for, from its first day on."""
    return {
        "offer_id": offer_id,
        "item_ids": json.dumps(item_ids),
        "starts_at": CAMPAIGN_AT.isoformat(),
        "expires_at": (CAMPAIGN_AT + timedelta(days=30)).isoformat(),
        "eligibility": json.dumps({"campaign": campaign}),
    }


OFFERS = [
    coupon("bread", "spring", *(f"bread-{kind}" for kind in range(N_KINDS))),
    coupon("tea", "spring", *(f"tea-{kind}" for kind in range(N_KINDS))),
    coupon("soap", "spring", "soap"),
    coupon("nothing-sold", "spring", "candle"),
    coupon("milk", "summer", "milk"),
]


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    """The shop's tables; none of its offers could be shown in the weeks it is judged by."""
    folder = tmp_path_factory.mktemp("coupons")
    report = build_here(folder, lines(), offers=OFFERS).report
    assert {result.n_examples for result in report.evaluation} == {0}
    assert report.calibration == ()
    with open_snapshot(folder / "snapshot", SECRET) as opened:
        yield opened


def shown(generation: Generation, customer_id: str | None, campaign: str) -> list[str]:
    """Ids of what is shown on a campaign's first day, best first."""
    request = Request(customer_id=customer_id, at=CAMPAIGN_AT, context={"campaign": campaign})
    return [offer.offer_id for offer in decide(generation, request).offers]


@pytest.mark.parametrize("customer", BAKERS)
def test_an_offer_of_items_bought_always_comes_before_one_never_bought(
    generation: Generation, customer: int
) -> None:
    # Four of five customers drink tea, so bread comes first by what this one does alone.
    offers = shown(generation, f"c{customer}", "spring")

    assert offers.index("bread") < offers.index("tea")


# Of customers 0 and 12 the next order is sure to hold soap, too: theirs come every fourth week.
@pytest.mark.parametrize("customer", [*BAKERS[1:3], *TEA_DRINKERS[1:3]])
def test_items_bought_now_and_then_make_an_offer_bought_always(
    generation: Generation, customer: int
) -> None:
    always = "bread" if customer in BAKERS else "tea"

    assert shown(generation, f"c{customer}", "spring")[0] == always


def test_a_stranger_gets_what_most_orders_hold(generation: Generation) -> None:
    assert shown(generation, None, "spring") == ["tea", "soap", "bread", "nothing-sold"]


def test_only_the_campaign_that_is_asked_for_is_shown(generation: Generation) -> None:
    assert shown(generation, "c0", "summer") == ["milk"]
    assert shown(generation, "c0", "autumn") == []
