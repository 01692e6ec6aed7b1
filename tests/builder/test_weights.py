"""Weights and calibration: what was planted is recovered, what nobody knows stays as expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.cases import NEXT_ORDER, POST_PURCHASE, Case, Order, make_case
from builder.fitting import fit_conditional_logit, fit_platt
from builder.metrics import Floats
from builder.redemptions import REDEMPTION
from builder.weights import MIN_CASES, learn_weights
from index.generation import Generation
from index.model import TIERS
from index.snapshot import open_snapshot
from tests.toys import SECRET, item_id, toy_customer_key, toy_model, toy_offer, write_toy

SIGNALS = ("personal", "cart", "viewed", "similar", "context:device")
SEEDS = (1, 2, 3)


def choices(
    seed: int, weights: list[float], n_cases: int = 3000, n_candidates: int = 12
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Cases in which one candidate was bought with the odds of a conditional logit."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(n_cases * n_candidates, len(weights)))
    noise = draw.gumbel(size=len(values))
    best = (values @ weights + noise).reshape(n_cases, -1).argmax(axis=1)
    is_bought = np.zeros((n_cases, n_candidates), dtype=np.bool_)
    is_bought[np.arange(n_cases), best] = True
    return values, is_bought.ravel(), np.arange(0, len(values), n_candidates)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_choice_is_recovered(seed: int) -> None:
    planted = [1.0, 2.0, 0.5, 0.0]
    found, loss = fit_conditional_logit(*choices(seed, planted), np.ones(4))

    assert found == pytest.approx(planted, abs=0.1)
    assert 0.0 < loss < np.log(12)


def test_a_signal_that_misleads_gets_no_weight_and_never_a_negative_one() -> None:
    found, _ = fit_conditional_logit(*choices(4, [1.0, -2.0]), np.ones(2))

    assert found[1] == 0.0
    assert found[0] > 0.5


def test_the_prior_keeps_some_weight_so_that_others_can_be_told_relative_to_it() -> None:
    found, _ = fit_conditional_logit(*choices(5, [-1.0, 1.0]), np.ones(2))

    assert found[0] == pytest.approx(0.05)
    assert found[1] > 0.5


def test_a_signal_that_never_spoke_keeps_its_expected_weight() -> None:
    values, is_bought, starts = choices(6, [1.0, 1.0, 1.0])
    values[:, 1] = 0.0
    found, _ = fit_conditional_logit(values, is_bought, starts, np.array([1.0, 0.7, 1.0]))

    assert found[1] == pytest.approx(0.7, abs=1e-6)


@given(
    sizes=st.lists(st.integers(2, 6), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-6, 1.0, 50.0]),
)
def test_any_cases_give_finite_weights_that_are_not_negative(
    sizes: list[int], seed: int, scale: float
) -> None:
    draw = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    values = draw.normal(size=(sum(sizes), 3)) * scale
    is_bought = draw.random(sum(sizes)) < 0.3
    is_bought[starts] = True
    found, loss = fit_conditional_logit(values, is_bought, starts, np.ones(3))

    assert np.isfinite(found).all()
    assert np.isfinite(loss)
    assert found.min() >= 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_curve_is_recovered(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=20_000) * 2
    is_bought = draw.random(len(scores)) < 1 / (1 + np.exp(-(0.8 * scores - 1.5)))
    slope, intercept = fit_platt(scores, is_bought)

    assert slope == pytest.approx(0.8, abs=0.07)
    assert intercept == pytest.approx(-1.5, abs=0.07)


@pytest.mark.parametrize("outcome", [[True, True], [False, False], [False, True], [True, False]])
def test_a_curve_stays_finite_and_rises_whatever_happened(outcome: list[bool]) -> None:
    slope, intercept = fit_platt(np.array([-1.0, 1.0]), np.array(outcome))

    assert slope > 0.0
    assert np.isfinite([slope, intercept]).all()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    """The toy tables as weights are learned on: carts undamped."""
    path: Path = tmp_path_factory.mktemp("toy") / "snapshot"
    write_toy(path, model=toy_model(cart_power=0.0))
    with open_snapshot(path, SECRET) as generation:
        yield generation


def case(question: str, key: bytes | None, rows: list[int], device: str = "mobile") -> Case:
    """A case about an order of these items; one line is in the cart of a post-purchase question."""
    order = Order(
        key=key,
        order_key=4,
        bucket=0,
        at=datetime(2025, 12, 1, 12, tzinfo=UTC),
        hour_of_week=12,
        context={"device": device},
        item_ids=tuple(map(item_id, rows)),
        item_rows=tuple(rows),
        own_offers=tuple((row,) for row in rows),
    )
    made = make_case(order, question, k=10)
    assert made is not None
    return made


def test_signals_that_foretell_get_weight_and_others_lose_it(tables: Generation) -> None:
    # Strangers on a phone buy what phones lift (11); one in three buys what is popular (0).
    strangers = [case(NEXT_ORDER, None, [0 if n % 3 == 0 else 11]) for n in range(90)]
    # Ann buys 30, and desktops lift 13 in vain.
    ann = toy_customer_key("ann")
    known = [case(NEXT_ORDER, ann, [30], device="desktop") for _ in range(60)]
    learned = learn_weights(tables, [*strangers, *known], SIGNALS)

    assert learned.n_cases["context"] == 90
    assert learned.n_cases["individual"] == 60
    assert learned.tiers["context"].weights["context:device"] > 0.3
    assert learned.tiers["individual"].weights["personal"] > 0.5
    assert learned.tiers["individual"].weights["context:device"] == pytest.approx(0.0, abs=0.01)


def test_a_cart_gets_weights_of_its_own(tables: Generation) -> None:
    carts = [case(POST_PURCHASE, None, [1, 21]) for _ in range(60)]
    learned = learn_weights(tables, carts, SIGNALS)

    assert learned.n_cases["context+cart"] == 60
    assert learned.tiers["context+cart"].weights["cart"] > 0.5
    assert set(learned.tiers) == {*TIERS, "context+cart"}


def test_views_and_carts_lend_each_other_their_weights_loudest_and_sum(tables: Generation) -> None:
    carts = [case(POST_PURCHASE, None, [1, 21]) for _ in range(60)]
    signals = ("personal", "cart", "cart_sum", "viewed", "viewed_sum", "similar")
    weights = learn_weights(tables, carts, signals).tiers["context+cart"].weights

    assert weights["cart"] > 0.0
    assert weights["viewed"] == weights["cart"]
    assert weights["viewed_sum"] == weights["cart_sum"]


def redemption(key: bytes | None, row: int) -> Case:
    """A case in which this offer was taken on a phone."""
    one = case(NEXT_ORDER, key, [row])
    return replace(one, question=REDEMPTION)


def test_redemptions_say_what_the_personal_signal_is_worth(tables: Generation) -> None:
    """Ann buys 30, which she loves, and redeems what is popular; Bob redeems too seldom to tell."""
    ann, bob = toy_customer_key("ann"), toy_customer_key("bob")
    orders = [
        case(NEXT_ORDER, key, [row]) for key, row in ((ann, 30), (bob, 25)) for _ in range(60)
    ]
    taken = [redemption(ann, 0)] * MIN_CASES + [redemption(bob, 0)] * (MIN_CASES - 1)
    bought = learn_weights(tables, orders, SIGNALS)
    learned = learn_weights(tables, orders, SIGNALS, taken)
    before, after = bought.tiers["individual"], learned.tiers["individual"]

    assert dict(learned.n_redemptions) == {"individual": MIN_CASES}
    assert learned.n_cases == bought.n_cases
    assert before.weights["personal"] > 0.6
    assert after.weights["personal"] < 0.3
    assert {**after.weights, "personal": 0.0} == {**before.weights, "personal": 0.0}
    assert after.slope > before.slope
    assert learned.tiers["thin"] == bought.tiers["thin"]


def test_a_tier_may_be_learned_from_redemptions_alone(tables: Generation) -> None:
    taken = [redemption(toy_customer_key("ann"), 30) for _ in range(MIN_CASES)]
    learned = learn_weights(tables, [], SIGNALS, taken)

    assert learned.n_cases["individual"] == 0
    assert learned.tiers["individual"].weights["personal"] > 0.5
    assert learned.tiers["thin"] == learned.tiers["individual"]


def test_redemptions_of_what_can_not_be_shown_teach_nothing(tmp_path: Path) -> None:
    offers = {30: toy_offer(30)._replace(flags=0)}
    write_toy(tmp_path / "toy", model=toy_model(cart_power=0.0), offers=offers)
    with open_snapshot(tmp_path / "toy", SECRET) as generation:
        taken = [redemption(toy_customer_key("ann"), 30) for _ in range(MIN_CASES)]

        assert learn_weights(generation, [], SIGNALS, taken).n_redemptions == {}


def test_tiers_with_too_few_cases_borrow(tables: Generation) -> None:
    ann, bob = toy_customer_key("ann"), toy_customer_key("bob")
    enough = [case(NEXT_ORDER, ann, [30]) for _ in range(MIN_CASES)]
    few = [case(NEXT_ORDER, bob, [25]) for _ in range(MIN_CASES - 1)]
    learned = learn_weights(tables, [*enough, *few], SIGNALS)
    own = learned.tiers["individual"]

    assert dict(learned.n_cases) == {"individual": 50, "thin": 0, "context": 0, "prior": 0}
    assert learned.tiers["thin"] == own
    without = {name: weight for name, weight in own.weights.items() if name != "personal"}
    assert learned.tiers["context"] == replace(own, weights=without)
    assert learned.tiers["prior"] == replace(own, weights=without)


def test_without_cases_every_signal_counts_as_it_is(tables: Generation) -> None:
    learned = learn_weights(tables, [], SIGNALS)

    assert learned.tiers["individual"].weights == dict.fromkeys(SIGNALS, 1.0)
    assert learned.tiers["context"].weights == dict.fromkeys(SIGNALS[1:], 1.0)
    assert set(learned.n_cases.values()) == {0}
    assert 0.0 <= learned.cart_power <= 1.0


def test_the_order_of_cases_makes_no_difference(tables: Generation) -> None:
    ann = toy_customer_key("ann")
    cases = [case(NEXT_ORDER, ann, [30 + n % 5]) for n in range(80)]
    cases += [case(POST_PURCHASE, None, [1, 21 + n % 3]) for n in range(80)]
    one, other = learn_weights(tables, cases, SIGNALS), learn_weights(tables, cases[::-1], SIGNALS)

    assert one.cart_power == other.cart_power
    assert {name: model.weights for name, model in one.tiers.items()} == {
        name: pytest.approx(model.weights, abs=1e-3) for name, model in other.tiers.items()
    }
