"""What a customer took before, shown less: odds multiplied with the number that the brand says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import adder as adder_module
from index.compiled import IS_COMPILED
from index.decide import decide
from index.explain import signal_matrix
from index.generation import Generation
from index.model import TIERS, TierModel
from index.records import CustomerRecord
from index.request import ChosenOffer, Reason, Request
from index.snapshot import open_snapshot
from index.verify import verify_snapshot
from tests.index.asking import EVERYTHING, PRIOR, Shop, changed, expected, lines, rows_of, scores_of
from tests.toys import (
    N_OFFERS,
    SECRET,
    item_id,
    toy_customer_key,
    toy_customers,
    toy_model,
    write_toy,
)

HISTORY = {30, 31, 39}
"""What `ann` took; her own row names 30 and 31, and no row names 39."""

SLOPE, INTERCEPT = 0.5, -1.0
FACTORS = st.floats(0, 1, exclude_min=True, exclude_max=True)
NEARLY_0, NEARLY_1 = 1e-300, math.nextafter(1.0, 0.0)


def curved(slope: float = SLOPE) -> dict[str, TierModel]:
    """The toy tiers under a calibration that is not the identity."""
    tiers = toy_model().tiers
    return {name: replace(tiers[name], slope=slope, intercept=INTERCEPT) for name in TIERS}


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    directory = tmp_path_factory.mktemp("bent") / "snapshot"
    write_toy(directory, model=toy_model(tiers=curved()))
    with open_snapshot(directory, SECRET) as generation:
        yield generation


def odds_of(offers: list[ChosenOffer]) -> dict[int, float]:
    return {
        offer.offer_row: offer.probability / (1.0 - offer.probability)
        for offer in offers
        if offer.probability < 1.0
    }


@given(st.floats(1e-6, 1, exclude_max=True))
def test_the_odds_shown_are_multiplied_with_the_number(bent: Generation, factor: float) -> None:
    """Of what was taken before, whatever else speaks for it; of nothing else."""
    ann: dict[str, Any] = {"customer_id": "ann", "cart": lines(1), "k": 100}
    allowed = odds_of(decide(bent, Request(**ann, repeat="allow")).offers)
    lowered = odds_of(decide(bent, Request(**ann, repeat=factor)).offers)

    assert lowered.keys() == allowed.keys()
    for row, odds in lowered.items():
        wanted = factor if row in HISTORY else 1.0
        assert odds / allowed[row] == pytest.approx(wanted, rel=1e-5)


def test_by_hand(toy: Generation) -> None:
    """The numbers that docs/format.md works out."""
    decision = decide(toy, Request(customer_id="ann", k=11, repeat=0.2))

    assert rows_of(decision) == [30, *range(8), 31, 8]
    assert scores_of(decision)[30] == pytest.approx(-1.6864, abs=1e-4)
    assert scores_of(decision)[31] == pytest.approx(-2.7889, abs=1e-4)


@given(st.floats(1e-6, 1, exclude_max=True))
def test_the_order_is_that_of_the_lowered_scores(bent: Generation, factor: float) -> None:
    off = math.log(factor) / SLOPE
    found = rows_of(decide(bent, Request(customer_id="ann", k=20, repeat=factor)))

    lowered = expected({30: 5.0 + off, 31: 4.0 + off, 39: off}, k=N_OFFERS)
    candidates = {*range(20), *HISTORY}
    assert found == [row for row in lowered if row in candidates][:20]


requests = st.builds(
    Request,
    customer_id=st.sampled_from(["ann", "bob"]),
    placement=st.sampled_from(["default", "home"]),
    cart=st.sampled_from([[], lines(1), lines(2, 25), lines(30)]),
    viewed=st.lists(st.sampled_from([item_id(row) for row in (1, 2, 31)]), max_size=2),
    context=st.sampled_from([{}, {"device": "mobile"}]),
    k=st.integers(1, 17),
    explain=st.booleans(),
)


@given(requests)
def test_nearly_1_ranks_as_if_allowed(bent: Generation, request: Request) -> None:
    nearly = decide(bent, msgspec.structs.replace(request, repeat=NEARLY_1))

    assert rows_of(nearly) == rows_of(decide(bent, request))


@given(requests)
def test_nearly_0_ranks_as_if_excluded(bent: Generation, request: Request) -> None:
    """As long as there are as many other candidates as are wanted."""
    nearly = decide(bent, msgspec.structs.replace(request, repeat=NEARLY_0))
    excluded = decide(bent, msgspec.structs.replace(request, repeat="exclude"))

    assert rows_of(nearly) == rows_of(excluded)
    assert scores_of(nearly) == scores_of(excluded)


def test_what_was_taken_is_shown_where_nothing_else_is_left(bent: Generation) -> None:
    others = [item_id(row) for row in range(N_OFFERS) if row not in HISTORY]
    asked: dict[str, Any] = {"customer_id": "ann", "exclude": others, "k": 5}

    assert rows_of(decide(bent, Request(**asked, repeat="exclude"))) == []
    assert rows_of(decide(bent, Request(**asked, repeat=NEARLY_0))) == [30, 31, 39]


@given(FACTORS)
def test_no_offer_comes_twice(bent: Generation, factor: float) -> None:
    rows = rows_of(decide(bent, Request(customer_id="ann", k=100, repeat=factor)))

    assert sorted(rows) == list(range(N_OFFERS))


def test_the_brand_lowers_by_placement(shop: Shop) -> None:
    generation = shop(model=toy_model(repeat={"*": 0.25, "home": 0.5, "checkout": "allow"}))

    def of_30(**asked: Any) -> float:
        asked = {"customer_id": "ann", "k": 100, **asked}
        return scores_of(decide(generation, Request(**asked)))[30]

    allowed = of_30(placement="checkout")
    assert of_30() - allowed == pytest.approx(math.log(0.25), abs=1e-6)
    assert of_30(placement="moon") - allowed == pytest.approx(math.log(0.25), abs=1e-6)
    assert of_30(placement="home") - allowed == pytest.approx(math.log(0.5), abs=1e-6)


def test_the_request_has_the_last_word(shop: Shop) -> None:
    generation = shop(model=toy_model(repeat={"*": 0.25, "home": "exclude"}))
    ann: dict[str, Any] = {"customer_id": "ann", "k": 20}
    lowered = decide(generation, Request(**ann))
    allowed = decide(generation, Request(**ann, repeat="allow"))
    halved = decide(generation, Request(**ann, repeat=0.5, placement="home"))

    assert scores_of(halved)[30] - scores_of(allowed)[30] == pytest.approx(math.log(0.5), abs=1e-6)
    assert scores_of(lowered)[30] < scores_of(halved)[30]
    assert not HISTORY & set(rows_of(decide(generation, Request(**ann, repeat="exclude"))))


@pytest.mark.parametrize("customer_id", [None, "", "eve"])
def test_a_stranger_took_nothing(bent: Generation, customer_id: str | None) -> None:
    asked: dict[str, Any] = {"customer_id": customer_id, "cart": lines(1), "k": 40, "explain": True}

    assert decide(bent, Request(**asked, repeat=0.1)) == decide(bent, Request(**asked))


def test_each_tier_has_a_slope_of_its_own(shop: Shop) -> None:
    """`bob` is thin, and with a cart other weights and another curve hold."""
    tiers = curved() | {"thin+cart": TierModel(weights={"personal": 1.0}, slope=2.0)}
    generation = shop(model=toy_model(tiers=tiers, repeat={"*": 0.1}))
    bob: dict[str, Any] = {"customer_id": "bob", "k": 40}

    for cart, slope in (([], SLOPE), (lines(1), 2.0)):
        lowered = decide(generation, Request(**bob, cart=cart)).offers
        allowed = decide(generation, Request(**bob, cart=cart, repeat="allow")).offers
        fallen = scores_by_row(lowered)[25] - scores_by_row(allowed)[25]
        assert fallen == pytest.approx(math.log(0.1) / slope, abs=1e-5)


def scores_by_row(offers: list[ChosenOffer]) -> dict[int, float]:
    return {offer.offer_row: offer.score for offer in offers}


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_curve_that_does_not_rise_lowers_the_score_itself(shop: Shop, slope: float) -> None:
    """Otherwise a number would lead to the top, or nowhere."""
    generation = shop(model=toy_model(tiers=curved(slope)))
    lowered = scores_of(decide(generation, Request(customer_id="ann", repeat=0.5)))

    assert lowered[30] == pytest.approx(PRIOR[30] + 5.0 + math.log(0.5), abs=1e-5)


def test_worth_is_lowered_with_the_probability(shop: Shop) -> None:
    """Odds of 1 to 9 instead of 1 to 1: what is worth four others still comes first."""
    slope_1 = {name: replace(tier, intercept=0.0) for name, tier in curved(1.0).items()}
    values = np.ones(N_OFFERS, dtype=np.float32)
    values[30] = 4.0
    generation = shop(
        model=toy_model(tiers=slope_1, values=values, prior=np.zeros(N_OFFERS, np.float32)),
        customers=who_took(30),
    )
    ninth = decide(generation, Request(customer_id="ann", k=40, repeat=1 / 9)).offers
    seventh = decide(generation, Request(customer_id="ann", k=40, repeat=1 / 6)).offers

    # 4 × 1/10 is below the others' 1/2, 4 × 1/7 above.
    assert rank_of(ninth, 30) == 21
    assert rank_of(seventh, 30) == 1


def who_took(*rows: int) -> dict[str, CustomerRecord]:
    """The toy customers; `ann` took these offers, and 30 is named, with no lift, by her own row."""
    ann = toy_customers()["ann"]._replace(
        rows=np.array([30], np.uint32),
        values=np.zeros(1, np.float32),
        counts=np.ones(1, np.uint32),
        history=np.array(rows, np.uint32),
    )
    return toy_customers() | {"ann": ann}


def rank_of(offers: list[ChosenOffer], row: int) -> int:
    (rank,) = [offer.rank for offer in offers if offer.offer_row == row]
    return rank


def test_the_reserve_holds_for_what_was_lowered(shop: Shop) -> None:
    generation = shop(model=toy_model(reserve={"*": 0.1}))
    ann: dict[str, Any] = {"customer_id": "ann", "k": 40}

    assert {30, 31} <= set(rows_of(decide(generation, Request(**ann))))
    assert 31 not in rows_of(decide(generation, Request(**ann, repeat=0.2)))


@given(st.floats(NEARLY_0, 1, exclude_max=True))
def test_reasons_tell_what_was_taken_off_and_add_up(bent: Generation, factor: float) -> None:
    request = msgspec.structs.replace(EVERYTHING, repeat=factor)
    off = math.log(factor) / SLOPE

    for offer in decide(bent, request).offers:
        reasons = offer.reasons or []
        told = [reason for reason in reasons if reason.signal == "repeat"]
        wanted = [Reason("repeat", "repeat", off, 1.0, off, 0, 0)]
        assert told == (wanted if offer.offer_row in HISTORY else [])
        total = sum(reason.contribution for reason in reasons)
        assert total == pytest.approx(offer.score, rel=1e-5, abs=1e-4)


def test_reasons_say_nothing_of_it_where_nothing_is_lowered(bent: Generation) -> None:
    for policy in (None, "allow", "exclude"):
        request = msgspec.structs.replace(EVERYTHING, repeat=policy)
        reasons = [
            reason for offer in decide(bent, request).offers for reason in offer.reasons or []
        ]
        assert "repeat" not in {reason.signal for reason in reasons}


def test_no_weight_is_learned_for_it(shop: Shop) -> None:
    """What weights are learned from is what it is under `allow`."""
    lowered, allowed = shop(model=toy_model(repeat={"*": 0.1})), shop()
    names = tuple(lowered.model.tiers["individual"].weights)
    found, wanted = (
        signal_matrix(one, EVERYTHING, one.key_of("ann"), (*names, "repeat"))
        for one in (lowered, allowed)
    )

    assert (found.values == wanted.values).all()
    assert (found.rows == wanted.rows).all()
    assert not found.values[:, -1].any()


def test_a_snapshot_keeps_its_policy(tmp_path: Path) -> None:
    """Model and golden requests carry the number; every reader repeats the decisions."""
    golden = (
        (toy_customer_key("ann"), Request(k=12)),
        (toy_customer_key("bob"), Request(repeat=0.05, placement="home")),
    )
    model = toy_model(tiers=curved(), repeat={"*": 0.3, "home": "exclude"})
    write_toy(tmp_path / "snapshot", model=model, golden=golden)

    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        assert generation.model.repeat == {"*": 0.3, "home": "exclude"}
        assert generation.manifest.golden[1].request.repeat == 0.05
    assert "2 golden decisions repeated" in list(verify_snapshot(tmp_path / "snapshot", deep=True))


@pytest.fixture(scope="module")
def by_numpy(bent: Generation) -> Iterator[Generation]:
    """The same snapshot; its one reader, made here and used by all, adds up without a compiler."""
    with open_snapshot(bent.directory, SECRET) as generation:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(adder_module, "IS_COMPILED", False)
            decide(generation, Request())
        yield generation


@pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")
@given(requests, FACTORS)
def test_compiled_code_and_numpy_agree_to_the_last_bit(
    bent: Generation, by_numpy: Generation, request: Request, factor: float
) -> None:
    asked = msgspec.structs.replace(request, repeat=factor, k=100)

    assert decide(bent, asked) == decide(by_numpy, asked)


def test_a_history_that_names_no_offer_is_damage(shop: Shop) -> None:
    generation = shop(customers=who_took(N_OFFERS))

    assert decide(generation, Request(customer_id="ann", repeat=0.5)).tier == "safe"
    assert generation.damaged == 1


def test_what_was_taken_and_may_not_be_shown_stays_away(shop: Shop) -> None:
    generation = shop(offers=changed(30, flags=0))
    rows = rows_of(decide(generation, Request(customer_id="ann", k=100, repeat=0.9)))

    assert sorted(rows) == [row for row in range(N_OFFERS) if row != 30]


def test_nothing_is_lowered_where_nothing_was_taken(shop: Shop) -> None:
    generation = shop(customers=who_took())
    asked: dict[str, Any] = {"customer_id": "ann", "k": 40, "explain": True}

    assert decide(generation, Request(**asked, repeat=0.1)) == decide(generation, Request(**asked))
