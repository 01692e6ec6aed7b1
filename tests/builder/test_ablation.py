"""Ablation: a planted signal is missed when it is gone, an irrelevant one is not.

The toy shop is small enough for paper: `ann`'s own row alone names offers 30 and 31, `mobile`
alone lifts 11 and 12, and 0 to 9 are what the prior has to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from builder.ablation import CONTEXT, PRIOR, SliceAblation, compare_without, signals_of, silenced
from builder.answering import K, answer, answer_without
from builder.cases import NEXT_ORDER, Case
from index.decide import decide
from index.generation import Generation
from index.model import TierModel
from index.request import Request
from tests.builder.toy_cases import next_order
from tests.toys import toy_model

MOBILE = {"device": "mobile"}


def ablation(generation: Generation, cases: Sequence[Case]) -> SliceAblation:
    asked, answers = answer(generation, cases, None)
    return compare_without(
        question=NEXT_ORDER,
        slice_name="warm",
        shipped=answers.ranked,
        ablated=answer_without(generation, asked, sorted(set(answers.tier_names)), None),
        truth=[one.truth for one in asked],
        customers=np.arange(len(asked)),
        k=K,
        seed=0,
    )


def lost(result: SliceAblation) -> dict[str, float]:
    """Recall lost without each signal."""
    return {one.signal: one.recall.value for one in result.signals}


def test_what_a_signal_alone_names_is_lost_without_it(toy: Generation) -> None:
    result = ablation(toy, [next_order("ann", [30, 31, 0, 11], MOBILE)] * 3)

    # Without her row 30 and 31 are gone; without the device 11 is; 0 is the prior's.
    assert lost(result)["personal"] == 0.5
    assert lost(result)["context:device"] == 0.25
    assert lost(result)[CONTEXT] == 0.25
    assert result.signals[0].signal == "personal"
    assert (result.n_examples, result.n_customers) == (3, 3)


def test_nothing_is_lost_without_what_says_nothing(toy: Generation) -> None:
    result = ablation(toy, [next_order("ann", [30], MOBILE), next_order("ann", [31, 0], {})])
    silent = ("context:store", "context:hour_of_week")

    for one in result.signals:
        if one.signal in silent:
            assert (one.recall.value, one.ndcg.value, one.changed) == (0.0, 0.0, 0.0)
        if one.signal == "context:device":
            # Its offers make room, but none that was bought.
            assert (one.recall.value, one.changed) == (0.0, 0.5)
    assert {one.signal for one in result.signals} >= set(silent)


def test_a_stranger_in_a_context_needs_it(toy: Generation) -> None:
    result = ablation(toy, [next_order(None, [11, 12], MOBILE)] * 2)

    assert lost(result)["context:device"] == 1.0
    assert lost(result)[PRIOR] == 0.0
    assert [one.signal for one in result.signals[:2]] == [CONTEXT, "context:device"]


def test_without_the_prior_only_what_is_known_of_somebody_counts(toy: Generation) -> None:
    shipped = decide(toy, Request(customer_id="ann", k=3))
    model = silenced(toy.model, PRIOR)

    assert [offer.offer_row for offer in shipped.offers] == [30, 31, 0]
    assert model.prior.tolist() == [0.0] * 40
    assert model.tiers == toy.model.tiers


def test_the_shipped_snapshot_answers_as_before(toy: Generation) -> None:
    cases = [next_order("ann", [30], MOBILE)]
    before = answer(toy, cases, None)[1].ranked
    answer_without(toy, cases, ["individual"], None)

    assert answer(toy, cases, None)[1].ranked.tolist() == before.tolist()


def test_signals_that_no_tier_weighs_are_not_taken_out() -> None:
    weights = {"personal": 1.0, "cart": 0.0, "context:device": 0.5}
    model = toy_model()
    model = toy_model(tiers={**model.tiers, "thin": TierModel(weights=weights)})

    assert signals_of(model, ["thin"], has_cart=True) == [PRIOR, "context:device", "personal"]
    assert CONTEXT in signals_of(model, ["thin", "context"], has_cart=True)


def test_what_speaks_of_carts_is_not_taken_out_where_there_are_none() -> None:
    model = toy_model()

    assert {"cart", "context:category"} <= set(signals_of(model, ["thin"], has_cart=True))
    assert signals_of(model, ["thin"], has_cart=False) == [
        PRIOR,
        CONTEXT,
        "context:device",
        "context:hour_of_week",
        "context:store",
        "personal",
    ]


def test_only_offers_that_are_asked_for_are_ranked(toy: Generation) -> None:
    only = np.arange(40) % 2 == 1
    ranked = answer(toy, [next_order("ann", [31], MOBILE)], only)[1].ranked

    assert ranked.tolist() == [[11, 31, 1, 3, 5, 7, 9, 13, 15, 17]]


def test_a_slice_without_examples_says_so() -> None:
    empty = np.empty((0, K), dtype=np.int64)
    result = compare_without(
        question=NEXT_ORDER,
        slice_name="thin",
        shipped=empty,
        ablated={},
        truth=[],
        customers=np.empty(0, dtype=np.int64),
        k=K,
        seed=0,
    )

    assert (result.n_examples, result.signals) == (0, ())
