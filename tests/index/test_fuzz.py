"""Whatever is asked: no exception, no false alarm, no banned offer, a full list, valid JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.decide import decide
from index.eligibility import parse_rules
from index.encode import decision_json
from index.explain import signal_matrix
from index.generation import Generation
from index.model import WITH_CART
from index.records import (
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    OFFER_HAS_WINDOW,
    OfferRecord,
)
from index.request import CartLine, Request
from index.snapshot import open_snapshot
from tests.toys import AS_OF_US, N_OFFERS, SECRET, item_id, toy_model, toy_offer, write_toy

RULES = parse_rules('{"country": ["us", "7"], "cart_total": {"min": 30}}')


def strict_offers() -> dict[int, OfferRecord]:
    """Offers that some requests may see and others not."""
    return {
        2: toy_offer(2)._replace(flags=0),
        3: toy_offer(3)._replace(flags=OFFER_AVAILABLE | OFFER_HAS_RULES, rules=RULES),
        4: toy_offer(4)._replace(flags=OFFER_AVAILABLE | OFFER_HAS_WINDOW, starts_us=AS_OF_US),
        5: toy_offer(5)._replace(flags=OFFER_AVAILABLE | OFFER_HAS_WINDOW, expires_us=AS_OF_US),
        6: toy_offer(6)._replace(flags=OFFER_AVAILABLE | OFFER_HAS_PLACEMENTS, placements=1),
    }


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    directory: Path = tmp_path_factory.mktemp("strict") / "snapshot"
    model = toy_model(
        placements=("home",),
        exploration=0.3,
        repeat={"*": "allow", "home": "exclude", "shelf": 0.5},
        values=np.linspace(1.0, 2.0, N_OFFERS, dtype=np.float32),
    )
    write_toy(directory, model=model, offers=strict_offers())
    with open_snapshot(directory, SECRET) as generation:
        yield generation


text = st.text(st.characters(), max_size=20)  # lone surrogates too
item_ids = st.sampled_from([item_id(row) for row in range(N_OFFERS)]) | text
numbers = st.floats() | st.integers() | st.integers(10**300, 10**400)
zones = st.none() | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
moments = st.datetimes(timezones=zones) | st.sampled_from(
    [
        datetime.min,  # noqa: DTZ901 - the extremes are the point
        datetime.max,  # noqa: DTZ901
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min.replace(tzinfo=UTC),
    ]
)
carts = st.lists(
    st.builds(
        CartLine,
        item_id=item_ids,
        quantity=st.none() | numbers,
        unit_price=st.none() | numbers,
        category=st.none() | st.sampled_from(["Food", "food > bread > rye", " > "]) | text,
    ),
    max_size=6,
)
contexts = st.dictionaries(
    st.sampled_from(["device", "store", "country", "category", "price_band", "hour_of_week"])
    | text,
    st.none() | st.booleans() | numbers | st.sampled_from(["mobile", "7", "us", "33"]) | text,
    max_size=6,
)
requests = st.builds(
    Request,
    placement=st.sampled_from(["default", "home", "shelf"]) | text,
    customer_id=st.none() | st.sampled_from(["ann", "bob"]) | text,
    k=st.integers(1, 100) | st.integers(),
    at=st.none() | moments,
    context=contexts,
    cart=carts,
    viewed=st.lists(item_ids, max_size=4),
    exclude=st.lists(item_ids, max_size=4),
    declined=st.lists(item_ids, max_size=4),
    repeat=st.sampled_from([None, "allow", "exclude"]) | st.floats(),
    explain=st.booleans(),
    request_id=st.none() | text,
)


@given(requests)
def test_any_request_is_answered(strict: Generation, request: Request) -> None:
    decision = decide(strict, request)
    answer = orjson.loads(decision_json(decision))

    shown = [offer["offer_id"] for offer in answer["offers"]]
    asked_away = {*request.exclude, *request.declined, *(line.item_id for line in request.cart)}
    allowed = {item_id(row) for row in range(N_OFFERS) if row not in strict_offers()} - asked_away
    if "exclude" in {request.repeat, strict.model.repeat.get(request.placement)}:
        allowed -= {item_id(row) for row in (25, 30, 31, 39)}
    assert strict.damaged == 0
    assert len(set(shown)) == len(shown)
    assert not set(shown) & (asked_away | {item_id(2)})
    assert len(shown) >= min(max(request.k, 1), 100, len(allowed))
    assert [offer["rank"] for offer in answer["offers"]] == list(range(1, len(shown) + 1))
    assert all(0 <= offer["probability"] <= 1 for offer in answer["offers"])
    assert decide(strict, request) == decision


@given(requests)
def test_the_score_is_the_sum_of_its_parts(strict: Generation, request: Request) -> None:
    told = Request(
        customer_id=request.customer_id,
        at=request.at,
        context=request.context,
        cart=request.cart,
        viewed=request.viewed,
        explain=True,
    )
    decision = decide(strict, told)
    weights = strict.model.tiers[decision.tier].weights
    names = tuple(name for name in weights if name != "prior")
    matrix = signal_matrix(strict, told, strict.key_of(told.customer_id), names)
    sums = matrix.values @ np.array([1.0, *(weights[name] for name in names)])
    by_row = dict(zip(matrix.rows.tolist(), sums.tolist(), strict=True))

    assert matrix.tier_name in (decision.tier, WITH_CART.get(decision.tier))
    for offer in decision.offers:
        prior = float(strict.model.prior[offer.offer_row])
        assert offer.score == pytest.approx(by_row.get(offer.offer_row, prior), abs=1e-4)
        told_sum = sum(reason.contribution for reason in offer.reasons or [])
        assert told_sum == pytest.approx(offer.score, abs=1e-4)
