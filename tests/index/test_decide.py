"""Decisions whose answers are provable on paper: the toy shop's weights are one, so signals add."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.decide import decide, decide_for_key
from index.encode import decision_json
from index.explain import signal_matrix
from index.generation import Generation
from index.layout import row_key
from index.records import (
    pack_offer,
)
from index.request import CartLine, ContextValue, Request
from index.snapshot import open_snapshot
from index.writer import SnapshotWriter
from tests.index.asking import (
    EVERYTHING,
    PRIOR,
    TUESDAY_0930,
    Shop,
    expected,
    lines,
    rows_of,
    scores_of,
)
from tests.toys import (
    AS_OF_US,
    BINDING,
    DIM,
    N_OFFERS,
    item_id,
    toy_customers,
    toy_item,
    toy_model,
    toy_offer,
    toy_vectors,
)

# What each signal says, alone and together --------------------------------------------------------


def test_a_visitor_nobody_knows_gets_the_prior(toy: Generation) -> None:
    decision = decide(toy, Request())

    assert decision.tier == "prior"
    assert rows_of(decision) == list(range(10))
    assert [offer.rank for offer in decision.offers] == list(range(1, 11))
    assert scores_of(decision) == pytest.approx(dict(enumerate(PRIOR[:10].tolist())))
    assert decision.offers[0].offer_id == "item-000"
    assert decision.offers[0].probability == pytest.approx(1 / (1 + np.exp(2.0)), rel=1e-5)


SIGNALS = [
    pytest.param({"customer_id": "ann"}, "individual", {30: 5.0, 31: 4.0}, id="personal"),
    pytest.param({"customer_id": "bob"}, "thin", {25: 3.0}, id="personal, thin"),
    pytest.param({"context": {"device": "mobile"}}, "context", {11: 3.0, 12: 2.5}, id="device"),
    pytest.param({"context": {"device": " MOBILE "}}, "context", {11: 3.0, 12: 2.5}, id="case"),
    pytest.param({"context": {"store": 7}}, "context", {18: 4.0}, id="integer"),
    pytest.param({"context": {"store": 7.0}}, "context", {18: 4.0}, id="float"),
    pytest.param({"context": {"store": "7"}}, "context", {18: 4.0}, id="text"),
    pytest.param({"context": {"store": True}}, "context", {19: 4.0}, id="truth"),
    pytest.param({"at": TUESDAY_0930}, "context", {10: 1.0}, id="local hour"),
    pytest.param(
        {"at": datetime(2026, 11, 24, 8, 30, tzinfo=UTC)}, "context", {10: 1.0}, id="UTC hour"
    ),
    pytest.param(
        {"at": datetime(2026, 11, 24, 19, 0, tzinfo=timezone(timedelta(hours=10, minutes=30)))},
        "context",
        {10: 1.0},
        id="far hour",
    ),
    pytest.param({"context": {"hour_of_week": 33}}, "context", {10: 1.0}, id="hour given"),
    pytest.param(
        {"context": {"category": "Food > Bread > Rye"}}, "context", {15: 4.0}, id="parent category"
    ),
    pytest.param(
        {"cart": lines(1)}, "context", {21: 3.0, 22: 2.0, 16: 0.5}, id="cart: affinity and band"
    ),
    pytest.param(
        {"cart": lines(2)},
        "context",
        {22: 2.0, 23: 1.0, 15: 4.0, 17: 0.5},
        id="cart: affinity, category and band",
    ),
    pytest.param(
        {"cart": [CartLine(item_id="?", category="food", unit_price=4.99)]},
        "context",
        # Nobody knows the item: its category speaks, and points along axis 3 of the vectors.
        {14: 2.0, 16: 0.5} | dict.fromkeys(range(3, 40, 4), 1.0),
        id="cart: unknown item of a known category",
    ),
    pytest.param(
        {"cart": [CartLine(item_id="?", unit_price=5.0)]}, "context", {17: 0.5}, id="cart: price"
    ),
    pytest.param({"viewed": [item_id(1)]}, "context", {21: 3.0, 22: 2.0}, id="viewed"),
    pytest.param({"viewed": ["?"]}, "prior", {}, id="viewed, unknown"),
    pytest.param({"cart": [CartLine(item_id="?")]}, "prior", {}, id="cart, unknown"),
    pytest.param({"customer_id": "eve"}, "prior", {}, id="customer, unknown"),
    pytest.param({"customer_id": ""}, "prior", {}, id="customer, empty"),
    pytest.param({"context": {"device": None, "moon": "full"}}, "prior", {}, id="unknown context"),
    pytest.param({"at": TUESDAY_0930.replace(hour=10)}, "prior", {}, id="an hour without row"),
]


@pytest.mark.parametrize(("asked", "tier", "lifts"), SIGNALS)
def test_each_signal_alone_adds_what_its_row_says(
    toy: Generation, asked: dict[str, Any], tier: str, lifts: dict[int, float]
) -> None:
    request = Request(**asked)
    in_cart = {int(line.item_id[-3:]) for line in request.cart if line.item_id != "?"}
    decision = decide(toy, request)

    assert decision.tier == tier
    assert rows_of(decision) == expected(lifts, banned=in_cart)
    for row, score in scores_of(decision).items():
        assert score == pytest.approx(float(PRIOR[row]) + lifts.get(row, 0.0), abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "is_shown"),
    [
        pytest.param({"cart": lines(3)}, True, id="none of its items"),
        pytest.param({"cart": lines(1)}, True, id="one of them"),
        pytest.param({"cart": lines(1, 1)}, True, id="one of them twice"),
        pytest.param({"cart": lines(1, 2)}, False, id="all of them"),
        pytest.param({"cart": lines(1), "declined": [item_id(2)]}, False, id="the other refused"),
        pytest.param({"exclude": [item_id(1)]}, False, id="one of them excluded"),
    ],
)
def test_an_offer_of_several_items_goes_when_all_are_in_the_cart(
    shop: Shop, asked: dict[str, Any], *, is_shown: bool
) -> None:
    both = 20
    items = {item_id(row): toy_item(row, {})._replace(own_offers=(row, both)) for row in (1, 2)}
    generation = shop(items=items, offers={both: toy_offer(both)._replace(n_items=2)})
    request = Request(k=100, **asked)
    matrix = signal_matrix(generation, request, None, ())
    in_cart = {int(line.item_id[-3:]) for line in request.cart}

    assert (both in rows_of(decide(generation, request))) == is_shown
    assert not in_cart & set(rows_of(decide(generation, request)))
    assert not in_cart & set(matrix.rows.tolist())
    assert both not in matrix.rows or is_shown


def test_all_signals_add_up(toy: Generation) -> None:
    decision = decide(
        toy,
        Request(
            customer_id="ann",
            at=TUESDAY_0930,
            context={"device": "mobile", "store": 7, "moon": "full"},
            cart=lines(1, 2),
            viewed=[item_id(1), item_id(39)],
            k=100,
        ),
    )
    half = 0.5**0.5
    lifts = dict.fromkeys(range(N_OFFERS), 0.0)
    for row, lift in [
        *((30, 5.0), (31, 4.0)),  # personal
        *((10, 1.0), (11, 3.0), (12, 2.5), (18, 4.0)),  # hour, device, store
        *((21, 3.0), (22, 2.0), (23, 1.0)),  # affinity of two items, both of which name offer 22
        *((15, 4 * half), (16, half / 2), (17, half / 2)),  # category of one, band of each
        *((row, 1.0) for row in range(3, 40, 4)),  # item 39 was viewed, is in the cart of nobody,
    ]:  # and points along axis 3; item 1 was viewed too, but stands in the cart already
        lifts[row] += lift

    assert decision.tier == "individual"
    assert rows_of(decision) == expected(lifts, k=100, banned={1, 2})
    for row, score in scores_of(decision).items():
        assert score == pytest.approx(float(PRIOR[row]) + lifts[row], abs=1e-4)


def test_of_a_cart_the_item_that_says_most_of_an_offer_counts(toy: Generation) -> None:
    for cart in (lines(1, 2), lines(2, 1)):
        scores = scores_of(decide(toy, Request(cart=cart, k=100)))
        assert scores[21] == pytest.approx(PRIOR[21] + 3.0, abs=1e-5)
        assert scores[22] == pytest.approx(PRIOR[22] + 2.0, abs=1e-5)


def test_contexts_of_a_cart_s_lines_share_their_influence(toy: Generation) -> None:
    request = Request(cart=[*lines(1), *[CartLine(item_id="?", unit_price=1.0)] * 3], k=100)
    scores = scores_of(decide(toy, request))

    # Four lines say something, so each counts one half; all four are in the lower price band.
    assert scores[21] == pytest.approx(PRIOR[21] + 3.0, abs=1e-5)
    assert scores[16] == pytest.approx(PRIOR[16] + 4 * 0.25, abs=1e-5)


def test_similar_offers_speak_for_an_item_without_affinity(toy: Generation) -> None:
    """Item 8 has no affinity row; offers along its axis get the similarity of one."""
    decision = decide(toy, Request(cart=lines(8), k=100))
    scores = scores_of(decision)

    for row in range(N_OFFERS):
        alike = row % 4 == 0 and row != 8
        band = 0.5 if row == 16 else 0.0
        if row != 8:
            assert scores[row] == pytest.approx(PRIOR[row] + alike + band, abs=1e-5)
    assert 8 not in scores


def test_only_the_last_lines_of_a_long_cart_speak_but_all_are_left_out(toy: Generation) -> None:
    cart = [*lines(1, 3, 4, 5), *[CartLine(item_id=f"?{i}") for i in range(496)]]
    decision = decide(toy, Request(cart=cart, k=100))

    assert len(cart) == 500
    assert decision.tier == "prior"
    assert rows_of(decision) == expected({}, k=100, banned={1, 3, 4, 5})


# How many, in which order -------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 2), (39, 39), (40, 40), (41, 40), (100, 40)])
def test_k_offers_are_shown_while_there_are_any(toy: Generation, k: int, n: int) -> None:
    assert rows_of(decide(toy, Request(k=k))) == list(range(n))


@pytest.mark.parametrize(("k", "n"), [(-5, 1), (0, 1), (10**9, 40)])
def test_k_beyond_its_bounds_is_brought_back(toy: Generation, k: int, n: int) -> None:
    assert len(decide(toy, Request(k=k)).offers) == n


def test_ties_are_broken_by_row(shop: Shop) -> None:
    generation = shop(model=toy_model(prior=np.full(N_OFFERS, -3.0, dtype=np.float32)))

    assert rows_of(decide(generation, Request(k=100))) == list(range(N_OFFERS))


def test_with_worths_the_expected_worth_ranks(shop: Shop) -> None:
    values = np.ones(N_OFFERS, dtype=np.float32)
    values[[5, 7]] = [10.0, 3.0]
    generation = shop(model=toy_model(values=values))
    probability = 1 / (1 + np.exp(-PRIOR.astype(float)))
    order = np.argsort(-probability * values, kind="stable")

    decision = decide(generation, Request(k=20))
    assert rows_of(decision) == order[:20].tolist()
    assert rows_of(decision)[0] == 5
    # Rank follows worth; score and probability stay what they are.
    assert decision.offers[0].score == pytest.approx(PRIOR[5])


def test_the_calibration_of_the_tier_makes_the_probability(shop: Shop) -> None:
    tiers = dict(toy_model().tiers)
    tiers["prior"] = replace(tiers["prior"], slope=0.5, intercept=-1.0)
    decision = decide(shop(model=toy_model(tiers=tiers)), Request(k=1))

    assert decision.offers[0].probability == pytest.approx(1 / (1 + np.exp(2.0)), rel=1e-5)


def test_the_weights_of_the_tier_count(shop: Shop) -> None:
    tiers = dict(toy_model().tiers)
    weights = dict(tiers["context"].weights) | {"context:device": 2.0, "context:store": 0.0}
    tiers["context"] = replace(tiers["context"], weights=weights)
    generation = shop(model=toy_model(tiers=tiers))
    context: dict[str, ContextValue] = {"device": "mobile", "store": 7}

    scores = scores_of(decide(generation, Request(context=context, k=100)))
    assert scores[11] == pytest.approx(PRIOR[11] + 6.0, abs=1e-5)
    assert scores[18] == pytest.approx(PRIOR[18], abs=1e-5)


def test_below_the_reserve_nothing_is_shown(shop: Shop) -> None:
    probability = (1 / (1 + np.exp(-PRIOR.astype(float)))).tolist()
    generation = shop(model=toy_model(reserve={"*": probability[3] * 0.999, "strict": 0.99}))

    assert rows_of(decide(generation, Request())) == [0, 1, 2, 3]
    assert rows_of(decide(generation, Request(placement="strict"))) == []


def test_the_reserve_is_of_the_worth_that_ranks(shop: Shop) -> None:
    """The model's worth counts, also for an offer whose own file gave none."""
    values = np.full(N_OFFERS, 2.0, dtype=np.float32)
    values[1] = 0.5
    probability = 1 / (1 + np.exp(-PRIOR.astype(float)))
    reserve = {"*": float(probability[2] * 2.0 * 0.999)}
    generation = shop(model=toy_model(values=values, reserve=reserve))

    assert np.isnan(toy_offer(0).value)
    assert rows_of(decide(generation, Request())) == [0, 2]


def test_a_reserve_may_be_for_one_placement(shop: Shop) -> None:
    generation = shop(model=toy_model(reserve={"strict": 0.99}))

    assert len(decide(generation, Request()).offers) == 10
    assert decide(generation, Request(placement="strict")).offers == []


def test_a_placement_has_its_own_best_offers(shop: Shop) -> None:
    tops = {"*": np.arange(20, dtype=np.uint32), "bread": np.array([38, 39], dtype=np.uint32)}
    generation = shop(model=toy_model(prior_top=tops))

    # Candidates first, by score; then, since two are too few, the rest by prior.
    assert rows_of(decide(generation, Request(placement="bread", k=4))) == [38, 39, 0, 1]
    assert rows_of(decide(generation, Request(placement="other", k=2))) == [0, 1]


def test_a_placement_without_best_offers_still_answers(shop: Shop) -> None:
    tops = {"*": np.arange(20, dtype=np.uint32), "none": np.zeros(0, dtype=np.uint32)}
    generation = shop(model=toy_model(prior_top=tops))
    request = Request(placement="none", k=3, exclude=[item_id(0)])

    assert rows_of(decide(generation, request)) == [1, 2, 3]
    assert generation.damaged == 0


def write_shelf(out_dir: Path, n_offers: int, available: set[int]) -> None:
    """A shop of nothing but offers, most of them out of stock."""
    prior = np.linspace(-2.0, -9.0, n_offers, dtype=np.float32)
    model = toy_model(
        n_items=0, n_offers=n_offers, n_contexts=0, n_customers=0, dim=0, features=(), prior=prior
    )
    with SnapshotWriter(out_dir, binding=BINDING) as writer:
        writer.customers(0, 1, [], expected=0, capacity_bytes=0)
        writer.contexts([], expected=0, capacity_bytes=0)
        writer.items([], expected=0, capacity_bytes=0)
        shelf = (
            toy_offer(row)._replace(flags=int(row in available), n_orders=1)
            for row in range(n_offers)
        )
        writer.offers(
            ((row_key(record.offer_row), pack_offer(record)) for record in shelf),
            expected=n_offers,
            capacity_bytes=n_offers * 200,
        )
        manifest = writer.finish(
            model,
            as_of_us=AS_OF_US,
            data={},
            counts={"orders": 1},
            invariants={},
            build={},
            golden_requests=[],
        )
        writer.publish(manifest, {})


def test_an_empty_list_is_given_only_after_all_offers_were_tried(tmp_path: Path) -> None:
    """A short list is settled for after some thousand offers, but not an empty one."""
    write_shelf(tmp_path / "late", 5000, {4990, 4999})
    write_shelf(tmp_path / "early", 5000, {100, 4990})
    write_shelf(tmp_path / "none", 5000, set())
    found = []
    for name in ("late", "early", "none"):
        with open_snapshot(tmp_path / name) as generation:
            found.append(rows_of(decide(generation, Request(k=2))))

    assert found == [[4990, 4999], [100], []]


# Exploration --------------------------------------------------------------------------------------


def explored(generation: Generation, n: int = 3000) -> dict[int, list[float]]:
    """Propensities of the offers seen at the last of three places, by offer row."""
    seen: dict[int, list[float]] = {}
    for number in range(n):
        offers = decide(generation, Request(k=3, request_id=f"r{number}")).offers
        assert [offer.propensity for offer in offers[:2]] == [1.0, 1.0]
        assert [offer.offer_row for offer in offers[:2]] == [0, 1]
        assert offers[2].rank == 3
        seen.setdefault(offers[2].offer_row, []).append(offers[2].propensity)
    return seen


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_last_place_explores_with_known_propensity(shop: Shop, share: float) -> None:
    seen = explored(shop(model=toy_model(exploration=share)))
    propensities = {row: found[0] for row, found in seen.items()}

    assert sorted(seen) == list(range(2, 12))
    assert all(set(found) == {found[0]} for found in seen.values())
    assert sum(propensities.values()) == pytest.approx(1.0)
    assert propensities[2] == pytest.approx(1 - share + share / 10)
    for row, found in seen.items():  # seen as often as said, within five standard errors
        wanted = propensities[row]
        assert abs(len(found) / 3000 - wanted) < 5 * (wanted * (1 - wanted) / 3000) ** 0.5 + 1e-9


def test_exploration_is_reproducible(shop: Shop) -> None:
    model = toy_model(exploration=0.5)
    one, other = shop(model=model), shop(model=model)

    assert explored(one, 100) == explored(other, 100)


def test_without_exploration_every_propensity_is_one(toy: Generation) -> None:
    decision = decide(toy, Request(customer_id="ann", k=40))

    assert {offer.propensity for offer in decision.offers} == {1.0}


def test_there_is_nothing_to_explore_in_the_last_offer(shop: Shop) -> None:
    generation = shop(model=toy_model(exploration=1.0))
    shown = decide(generation, Request(k=40)).offers

    assert [offer.offer_row for offer in shown] == list(range(40))
    assert shown[-1].propensity == 1.0


# Identity -----------------------------------------------------------------------------------------


def test_the_same_request_id_gives_the_same_decision_id(toy: Generation) -> None:
    one = decide(toy, Request(request_id="a", k=1))
    other = decide(toy, Request(request_id="a", k=5, context={"device": "mobile"}))

    assert one.decision_id == other.decision_id
    assert one.request_id == "a"
    assert decide(toy, Request(request_id="b")).decision_id != one.decision_id
    assert decide(toy, Request(request_id="a", customer_id="ann")).decision_id != one.decision_id


def test_another_snapshot_gives_another_decision_id(toy: Generation, shop: Shop) -> None:
    other = shop(model=toy_model(currency="USD"))

    assert (
        decide(toy, Request(request_id="a")).decision_id
        != decide(other, Request(request_id="a")).decision_id
    )


def test_a_known_key_is_as_good_as_an_id(toy: Generation) -> None:
    assert decide_for_key(toy, Request(), toy.key_of("ann")) == decide(
        toy, Request(customer_id="ann")
    )


# As JSON ------------------------------------------------------------------------------------------


def test_the_answer_as_json(toy: Generation) -> None:
    decision = decide(toy, Request(k=1, request_id='"<ä'))

    assert json.loads(decision_json(decision)) == {
        "decision_id": decision.decision_id,
        "request_id": '"<ä',
        "snapshot_id": toy.snapshot_id,
        "tier": "prior",
        "offers": [
            {
                "offer_id": "item-000",
                "rank": 1,
                "score": -2.0,
                "probability": 0.119203,
                "propensity": 1.0,
                "title": "Item 0",
            }
        ],
    }


def test_the_reasons_as_json(toy: Generation) -> None:
    answer = json.loads(decision_json(decide(toy, EVERYTHING)))
    (loved,) = (offer for offer in answer["offers"] if offer["offer_id"] == item_id(30))

    assert loved["reasons"][1] == {
        "signal": "personal",
        "source": "personal",
        "weight": 1.0,
        "value": 5.0,
        "contribution": 5.0,
        "evidence": 9,
        "sample": 9,
    }


def test_the_toy_is_what_these_tests_believe() -> None:
    assert (toy_vectors() == np.eye(DIM)[np.arange(N_OFFERS) % DIM]).all()
    assert set(toy_customers()) == {"ann", "bob"}
