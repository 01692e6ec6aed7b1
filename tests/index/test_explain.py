"""The sum taken apart: reasons that add up to the score, and the matrix weights come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from index.decide import decide
from index.explain import signal_matrix
from index.generation import Generation
from index.request import ChosenOffer, ContextValue, Decision, Request
from tests.index.asking import (
    EVERYTHING,
    PRIOR,
    WINDOW,
    Shop,
    changed,
    lines,
    rows_of,
    scores_of,
)
from tests.toys import (
    AS_OF_US,
    item_id,
    toy_model,
)


def test_reasons_add_up_to_the_score(toy: Generation) -> None:
    for offer in decide(toy, EVERYTHING).offers:
        reasons = offer.reasons or []
        assert sum(reason.contribution for reason in reasons) == pytest.approx(
            offer.score, abs=1e-4
        )
        for reason in reasons:
            assert reason.contribution == pytest.approx(reason.weight * reason.value, abs=1e-6)
        sizes = [abs(reason.contribution) for reason in reasons]
        assert sizes == sorted(sizes, reverse=True)


def reasons_of(offers: list[ChosenOffer], row: int) -> dict[str, tuple[str, int, int]]:
    (offer,) = (offer for offer in offers if offer.offer_row == row)
    return {r.signal: (r.source, r.evidence, r.sample) for r in offer.reasons or []}


def test_reasons_say_whose_numbers_they_are(toy: Generation) -> None:
    offers = decide(toy, EVERYTHING).offers

    assert reasons_of(offers, 30) == {
        "personal": ("personal", 9, 9),
        "prior": ("prior", 70, 1000),
        "similar": ("similar", 0, 0),
    }
    assert reasons_of(offers, 11)["context:device"] == ("device=mobile", 5, 50)
    assert reasons_of(offers, 21)["cart"] == ("item 1", 5, 99)


def test_explaining_changes_nothing_else(toy: Generation) -> None:
    plain = Request(customer_id="ann", cart=lines(1), context={"device": "mobile"})
    told = Request(customer_id="ann", cart=lines(1), context={"device": "mobile"}, explain=True)

    assert rows_of(decide(toy, plain)) == rows_of(decide(toy, told))
    assert scores_of(decide(toy, plain)) == scores_of(decide(toy, told))
    assert all(offer.reasons is None for offer in decide(toy, plain).offers)


def test_a_cart_has_weights_of_its_own_where_there_are_some(shop: Shop) -> None:
    tiers = dict(toy_model().tiers)
    halved = {name: 0.5 * weight for name, weight in tiers["context"].weights.items()}
    tiers["context+cart"] = replace(tiers["context"], weights=halved)
    generation = shop(model=toy_model(tiers=tiers))
    mobile: dict[str, ContextValue] = {"device": "mobile"}

    alone = decide(generation, Request(context=mobile, explain=True))
    with_cart = decide(generation, Request(context=mobile, cart=lines(1), explain=True))

    assert (alone.tier, with_cart.tier) == ("context", "context")
    assert weights_of(alone, 11) == {"prior": 1.0, "context:device": 1.0}
    assert weights_of(with_cart, 11) == {"prior": 1.0, "context:device": 0.5}


def test_what_items_say_together_counts_besides_and_is_explained(shop: Shop) -> None:
    summed = {"cart_sum": 0.5, "viewed_sum": 0.25}
    tiers = {
        name: replace(tier, weights={**tier.weights, **summed})
        for name, tier in toy_model().tiers.items()
    }
    generation = shop(model=toy_model(tiers=tiers, cart_power=0.5, viewed_decay=0.5))
    request = Request(cart=lines(1, 2), viewed=[item_id(3)], k=30, explain=True)
    one = decide(generation, Request(cart=lines(1), k=30, explain=True)).offers
    seen = decide(generation, Request(viewed=[item_id(1), "?"], k=30, explain=True)).offers
    decision = decide(generation, request)
    matrix = signal_matrix(generation, request, None, tuple(tiers["context"].weights))
    weights = np.array([1.0, *tiers["context"].weights.values()])
    sums = dict(zip(matrix.rows.tolist(), matrix.values @ weights, strict=True))

    for offer in decision.offers:
        told = sum(reason.contribution for reason in offer.reasons or [])
        assert offer.score == pytest.approx(told, abs=1e-5)
        if offer.offer_row in sums:
            assert offer.score == pytest.approx(sums[offer.offer_row], abs=1e-5)
    # Of one item the sum is its row once more; of two, each counts by the root of their number.
    alone = {reason.signal: reason for reason in _offer(one, 21).reasons or []}
    both = {reason.signal: reason for reason in _offer(decision.offers, 21).reasons or []}
    assert alone["cart_sum"].contribution == 0.5 * alone["cart"].contribution == 1.5
    assert both["cart_sum"].weight == pytest.approx(0.5 / 2**0.5)
    viewed = {reason.signal: reason for reason in _offer(seen, 21).reasons or []}
    assert viewed["viewed_sum"].contribution == 0.25 * viewed["viewed"].contribution == 0.75


def _offer(offers: list[ChosenOffer], row: int) -> ChosenOffer:
    (offer,) = [offer for offer in offers if offer.offer_row == row]
    return offer


def weights_of(decision: Decision, row: int) -> dict[str, float]:
    (offer,) = [offer for offer in decision.offers if offer.offer_row == row]
    return {reason.signal: reason.weight for reason in offer.reasons or []}


def test_the_matrix_of_signals_is_the_score(toy: Generation) -> None:
    tier = decide(toy, EVERYTHING).tier
    names = tuple(name for name in toy.model.tiers[tier].weights if name != "prior")
    matrix = signal_matrix(toy, EVERYTHING, toy.key_of("ann"), names)
    sums = dict(zip(matrix.rows.tolist(), matrix.values.sum(axis=1), strict=True))

    assert matrix.signals == ("prior", *names)
    for offer in decide(toy, EVERYTHING).offers:
        wanted = sums.get(offer.offer_row, float(PRIOR[offer.offer_row]))
        assert offer.score == pytest.approx(wanted, abs=1e-4)
    assert not {1, 2, 8} & set(sums)


def test_withheld_affinity_is_replaced_by_similarity(toy: Generation) -> None:
    request = Request(cart=lines(1))
    matrix = signal_matrix(toy, request, None, ("cart", "similar"), withhold_affinity=True)

    assert not matrix.values[:, 1].any()
    assert matrix.rows[matrix.values[:, 2] > 0].tolist() == list(range(5, 40, 4))


def test_the_matrix_may_leave_out_what_can_not_be_shown(shop: Shop) -> None:
    generation = shop(offers=changed(0, flags=0) | changed(30, flags=WINDOW, expires_us=AS_OF_US))
    request = Request(exclude=[item_id(1)], declined=[item_id(2)])
    key = generation.key_of("ann")
    rows = signal_matrix(generation, request, key, ("personal",)).rows.tolist()
    shown = signal_matrix(generation, request, key, ("personal",), shown_only=True).rows.tolist()

    assert rows == [0, *range(3, 20), 30, 31]
    assert shown == [*range(3, 20), 31]
