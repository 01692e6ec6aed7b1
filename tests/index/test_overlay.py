"""The overlay: what it takes away is never shown, what it prices keeps its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from index.decide import decide
from index.encode import decision_json, offer_fragment
from index.errors import Corrupt
from index.generation import Generation
from index.overlay import NewPrice, Overlay, Removal, read_overlay
from index.overlaying import lay_over
from index.patches import NO_PATCHES
from index.request import CartLine, Decision, Request
from index.tables import TableError
from tests.index.asking import EVERYTHING, NOW, Shop, changed, rows_of
from tests.toys import N_OFFERS, item_id, toy_model, toy_offer

HOUR = timedelta(hours=1)
ROWS = st.sets(st.integers(0, N_OFFERS - 1), max_size=N_OFFERS)
REQUESTS = st.builds(
    Request,
    customer_id=st.sampled_from(["ann", "bob", "eve", None]),
    k=st.sampled_from([1, 3, 10, 100]),
    context=st.sampled_from([{}, {"device": "mobile"}, {"store": True}]),
    cart=st.lists(st.integers(0, 9).map(lambda row: CartLine(item_id=item_id(row))), max_size=3),
    declined=st.lists(st.integers(0, N_OFFERS - 1).map(item_id), max_size=2),
    repeat=st.sampled_from([None, "exclude", 0.5]),
    explain=st.booleans(),
    request_id=st.just("r"),
)


def overlay(
    *,
    kills: set[int] = frozenset(),  # type: ignore[assignment]
    stock_outs: set[int] = frozenset(),  # type: ignore[assignment]
    prices: Mapping[int, float] | None = None,
    **changes: object,
) -> Overlay:
    gone = Removal(reason="why", since=NOW)
    plain = Overlay(
        brand="toy",
        channel="stable",
        sequence=1,
        issued_at=NOW,
        expires_at=NOW + HOUR,
        kills={item_id(row): gone for row in kills},
        stock_outs={item_id(row): gone for row in stock_outs},
        prices={
            item_id(row): NewPrice(price=price, reason="cut", since=NOW)
            for row, price in (prices or {}).items()
        },
        root_version=1,
    )
    return replace(plain, **changes)


def offers_of(decision: Decision) -> object:
    return decision.tier, decision.offers


@pytest.fixture
def priced(shop: Shop) -> Generation:
    """A shop whose offers all have a price."""
    return shop(offers=dict(priced_offers({})))


def priced_offers(prices: Mapping[int, float]) -> Mapping[int, object]:
    return {
        row: toy_offer(row)._replace(
            fragment=offer_fragment({"title": f"Item {row}", "price": prices.get(row, 5.0)})
        )
        for row in range(N_OFFERS)
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(kills=ROWS, stock_outs=ROWS, request=REQUESTS)
def test_what_is_taken_away_is_never_shown(
    toy: Generation, kills: set[int], stock_outs: set[int], request: Request
) -> None:
    plain = decision_json(decide(toy, request))
    everything = rows_of(decide(toy, replace(request, k=100)))
    lay_over(toy, overlay(kills=kills, stock_outs=stock_outs), NOW)
    try:
        shown = rows_of(decide(toy, request))
    finally:
        lay_over(toy, None, NOW)

    assert shown == [row for row in everything if row not in kills | stock_outs][: request.k]
    assert decision_json(decide(toy, request)) == plain


@pytest.mark.parametrize("worth", ["same", "rising"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
@given(
    gone=ROWS,
    prices=st.dictionaries(st.integers(0, N_OFFERS - 1), st.integers(0, 999)),
    requests=st.lists(REQUESTS, min_size=8, max_size=8),
)
def test_it_decides_as_a_snapshot_that_was_built_so(
    shop: Shop, worth: str, gone: set[int], prices: dict[int, int], requests: list[Request]
) -> None:
    """Ids of decisions aside, which are a function of the snapshot."""
    model = toy_model(values=toy_model().prior + 10) if worth == "rising" else toy_model()
    costs = {row: cents / 100 for row, cents in prices.items()}
    before = shop(model=model, offers=dict(priced_offers({})))
    built = {
        row: offer._replace(flags=0) if row in gone else offer  # type: ignore[attr-defined]
        for row, offer in priced_offers(costs).items()
    }
    after = shop(model=model, offers=built)
    lay_over(before, overlay(kills=gone, prices=costs), NOW)

    for request in requests:
        assert offers_of(decide(before, request)) == offers_of(decide(after, request))


def test_a_price_is_replaced_and_nothing_else(priced: Generation) -> None:
    plain = decide(priced, EVERYTHING).offers
    row = plain[3].offer_row
    lay_over(priced, overlay(prices={row: 1.25}), NOW)
    offers = decide(priced, EVERYTHING).offers

    assert [offer for offer in offers if offer.offer_row != row] == [
        offer for offer in plain if offer.offer_row != row
    ]
    assert replace(offers[3], fragment=b"") == replace(plain[3], fragment=b"")
    assert offers[3].fragment == plain[3].fragment.replace(b'"price":5.0', b'"price":1.25')


def test_members_that_no_number_holds_stay_byte_for_byte(shop: Shop) -> None:
    fragment = b'"creative":{"n":123456789012345678901234567890,"x":1.10},"title":"a"'
    generation = shop(offers=changed(0, fragment=fragment))
    lay_over(generation, overlay(prices={0: 2.0}), NOW)

    assert decide(generation, Request(k=1)).offers[0].fragment == fragment + b',"price":2.0'


@pytest.mark.parametrize("fragment", [b'"title":', b'"\xff":1', b'"a":' + b"[" * 100_000])
def test_an_offer_that_cannot_be_priced_keeps_no_other_from_being_taken_away(
    shop: Shop, fragment: bytes
) -> None:
    generation = shop(offers=changed(0, fragment=fragment))
    patches = lay_over(generation, overlay(kills={1}, prices={0: 2.0, 2: 3.0}), NOW)

    assert patches.removed == {1}
    assert patches.repriced == {2}
    assert patches.n_unknown == 1
    assert rows_of(decide(generation, Request(k=2))) == [0, 2]


def test_an_explained_answer_says_what_was_taken_away_and_priced(priced: Generation) -> None:
    first, second, *_ = [offer.offer_row for offer in decide(priced, EVERYTHING).offers]
    request = replace(EVERYTHING, k=3)
    assert decide(priced, request).overlay is None
    lay_over(priced, overlay(kills={first, N_OFFERS - 1}, prices={second: 2.0}, sequence=7), NOW)
    told = decide(priced, request).overlay

    assert told is not None
    assert (told.sequence, told.removed, told.repriced) == (7, [item_id(first)], [item_id(second)])
    assert b'"overlay":{"sequence":7' in decision_json(decide(priced, request))
    assert decide(priced, replace(request, explain=False)).overlay is None


def test_entries_end_and_unknown_offers_are_counted(shop: Shop) -> None:
    generation = shop()
    ended = Removal(reason="sold out", since=NOW, until=NOW + HOUR)
    both = overlay(kills={0}, stock_outs={1}, prices={0: 2.0}, sequence=3)
    both = replace(
        both,
        stock_outs={item_id(1): ended, "nobody": ended},
        prices={**both.prices, "stranger": NewPrice(price=1, reason="cut", since=NOW)},
    )
    early = lay_over(generation, both, NOW)
    assert (sorted(early.removed), sorted(early.repriced), early.n_unknown) == ([0, 1], [], 2)
    late = lay_over(generation, both, NOW + HOUR)
    assert (sorted(late.removed), sorted(late.repriced), late.n_unknown) == ([0], [], 1)
    assert lay_over(generation, None, NOW) is NO_PATCHES


def test_offers_that_are_no_items_are_found(shop: Shop) -> None:
    generation = shop(offers=changed(7, offer_id="spring-10") | changed(33, offer_id="fall-10"))
    gone = Removal(reason="why", since=NOW)
    named = overlay(kills=set())
    named = replace(named, kills={"fall-10": gone, "spring-10": gone, item_id(7): gone})
    patches = lay_over(generation, named, NOW)

    assert (sorted(patches.removed), patches.n_unknown) == ([7, 33], 1)


def test_the_safe_tier_shows_nothing_that_was_taken_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = shop()
    lay_over(generation, overlay(kills={0, 2}), NOW)

    def damaged(*_: object) -> None:
        raise TableError("damaged")

    monkeypatch.setattr("index.decide.decided", damaged)
    decision = decide(generation, Request(k=3))

    assert decision.tier == "safe"
    assert [offer.offer_row for offer in decision.offers] == [1, 3, 4]


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b"\xff", msgspec.json.encode({"format": "x"})]
)
def test_what_is_no_overlay_is_refused(payload: bytes) -> None:
    with pytest.raises(Corrupt):
        read_overlay(payload)
