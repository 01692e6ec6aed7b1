"""Cheaper answers: less is known, and what may not be shown is not shown all the same."""

from __future__ import annotations

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from index.decide import decide
from index.generation import Generation
from index.request import CartLine, Request
from tests.index.asking import Shop, rows_of
from tests.toys import N_OFFERS, item_id, toy_item, toy_offer

HISTORY = {30, 31, 39}
"""What `ann` took; her own row is the only one that names them."""

items = st.integers(0, N_OFFERS + 5).map(item_id)
requests = st.builds(
    Request,
    customer_id=st.sampled_from([None, "ann", "bob", "nobody"]),
    k=st.integers(1, 100),
    at=st.none() | st.datetimes(timezones=st.just(UTC)),
    context=st.dictionaries(
        st.sampled_from(["device", "store"]), st.sampled_from(["mobile", "7", "?"]), max_size=2
    ),
    cart=st.lists(st.builds(CartLine, item_id=items), max_size=5),
    viewed=st.lists(items, max_size=5),
    exclude=st.lists(items, max_size=3),
    declined=st.lists(items, max_size=3),
    repeat=st.sampled_from([None, "allow", "exclude", 0.5]),
    request_id=st.text("abc", min_size=1, max_size=3),
)


@given(request=requests, at_most=st.sampled_from(["context", "prior"]))
def test_a_cheaper_answer_keeps_every_rule(toy: Generation, request: Request, at_most: str) -> None:
    """Full, in order, with a propensity, and nothing that the whole answer may not show."""
    answer = decide(toy, request, at_most=at_most)  # type: ignore[arg-type]

    gone = {*request.exclude, *request.declined, *(line.item_id for line in request.cart)}
    if request.repeat == "exclude" and request.customer_id == "ann":
        gone |= set(map(item_id, HISTORY))
    if request.repeat == "exclude" and request.customer_id == "bob":
        gone.add(item_id(25))
    shown = [offer.offer_id for offer in answer.offers]
    allowed = {item_id(row) for row in range(N_OFFERS)} - gone
    assert set(shown) <= allowed
    assert len(set(shown)) == len(shown) == min(request.k, len(allowed))
    assert [offer.rank for offer in answer.offers] == list(range(1, len(shown) + 1))
    scores = [offer.score for offer in answer.offers]
    assert scores == sorted(scores, reverse=True)
    assert {offer.propensity for offer in answer.offers} == {1.0}
    assert answer.tier in {"prior", at_most}
    assert answer.decision_id == decide(toy, request).decision_id


@given(request=requests)
def test_at_most_context_is_what_a_visitor_nobody_knows_gets(
    toy: Generation, request: Request
) -> None:
    """Without a cart, all that is left out is who asks and what was viewed."""
    request = replace(request, cart=[], repeat="allow")
    stranger = replace(request, customer_id=None, viewed=[])

    cheap, whole = decide(toy, request, at_most="context"), decide(toy, stranger)

    assert (cheap.tier, cheap.offers) == (whole.tier, whole.offers)


@given(request=requests)
def test_at_most_prior_is_what_nobody_at_no_time_gets(toy: Generation, request: Request) -> None:
    request = replace(request, cart=[], repeat="allow")
    blank = replace(request, customer_id=None, viewed=[], context={}, at=None)

    cheap, whole = decide(toy, request, at_most="prior"), decide(toy, blank)

    assert (cheap.tier, cheap.offers) == ("prior", whole.offers)


def test_a_wish_about_what_was_bought_is_not_looked_at(toy: Generation) -> None:
    """Only what is forbidden costs a look at the customer's record."""
    answers = [
        decide(toy, Request(customer_id="ann", repeat=repeat), at_most="context").offers
        for repeat in (0.5, "allow", None)
    ]

    assert answers[0] == answers[1] == answers[2] == decide(toy, Request()).offers


def test_an_offer_of_several_items_goes_when_all_are_in_the_cart(shop: Shop) -> None:
    both = 20
    of = {item_id(row): toy_item(row, {})._replace(own_offers=(row, both)) for row in (1, 2)}
    generation = shop(items=of, offers={both: toy_offer(both)._replace(n_items=2)})
    one = [CartLine(item_id=item_id(1)), CartLine(item_id=item_id(1))]
    two = [CartLine(item_id=item_id(1)), CartLine(item_id=item_id(2))]

    assert both in rows_of(decide(generation, Request(k=100, cart=one), at_most="prior"))
    assert both not in rows_of(decide(generation, Request(k=100, cart=two), at_most="prior"))


def test_a_cheaper_answer_can_be_explained(toy: Generation) -> None:
    """Reasons are those of the rows that were asked, and add up to the score."""
    request = Request(customer_id="ann", context={"device": "mobile"}, explain=True)

    answer = decide(toy, request, at_most="context")

    first = answer.offers[0]
    assert first.reasons is not None
    assert [reason.source for reason in first.reasons] == ["prior", "device=mobile"]
    assert sum(reason.contribution for reason in first.reasons) == first.score
    whole = decide(toy, request).offers[0].reasons
    assert whole is not None
    assert "personal" in {reason.signal for reason in whole}
