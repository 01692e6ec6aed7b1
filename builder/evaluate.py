"""Measuring a snapshot: lists read back through the decision itself, beside every baseline's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder import metrics
from builder.baselines.data import Example
from builder.baselines.registry import NEXT_ORDER as NEXT_ORDER_FITS
from builder.baselines.registry import POST_PURCHASE as POST_PURCHASE_FITS
from builder.baselines.registry import rank_all, tune
from builder.cases import NEXT_ORDER, POST_PURCHASE, Case
from builder.comparison import OURS, SliceResult, compare
from builder.history import Past
from builder.metrics import Floats, Ints, ReliabilityCurve
from index.decide import decide_for_key
from index.generation import Generation
from index.request import Tier

K: Final = 10

_SLICE_OF: Final[Mapping[tuple[str, Tier], str]] = {
    (NEXT_ORDER, "individual"): "warm",
    (NEXT_ORDER, "thin"): "thin",
    (NEXT_ORDER, "context"): "cold_without_cart",
    (NEXT_ORDER, "prior"): "cold_without_cart",
    (POST_PURCHASE, "individual"): "warm",
    (POST_PURCHASE, "thin"): "thin",
    (POST_PURCHASE, "context"): "cold_with_cart",
    (POST_PURCHASE, "prior"): "cold_with_cart",
}
_PRINTED: Final = (
    (NEXT_ORDER, "warm"),
    (NEXT_ORDER, "thin"),
    (NEXT_ORDER, "cold_without_cart"),
    (POST_PURCHASE, "warm"),
    (POST_PURCHASE, "thin"),
    (POST_PURCHASE, "cold_with_cart"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierCalibration:
    """How honest the probabilities of one tier's shown offers are.

    Attributes:
        tier: which.
        brier: mean squared distance from what happened.
        base_brier: the same for a constant probability, the mean.
        curve: predicted against observed.
    """

    tier: Tier
    brier: float
    base_brier: float
    curve: ReliabilityCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found about one snapshot.

    Attributes:
        slices: every question and slice with all methods.
        tier_shares: by question and slice, the share of decisions of each tier.
        calibration: by tier.
        baseline_settings: what tuned baselines were tuned to.
    """

    slices: tuple[SliceResult, ...]
    tier_shares: Mapping[str, Mapping[str, float]]
    calibration: tuple[TierCalibration, ...]
    baseline_settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answers:
    """Our lists for one set of cases."""

    ranked: Ints
    probability: Floats
    tiers: list[Tier]


def measure(
    generation: Generation,
    cases: Sequence[Case],
    past: Past,
    *,
    tuning_cases: Sequence[Case],
    tuning_past: Past,
    seed: int,
) -> Measured:
    """Answer every case by every method.

    Args:
        generation: the snapshot to be measured, opened.
        cases: questions from the final slice.
        past: what baselines may know: the same cut as the snapshot's.
        tuning_cases: questions of the weight slice, for tuned baselines.
        tuning_past: the cut before the weight slice.
        seed: of the bootstrap.
    """
    slices: dict[tuple[str, str], SliceResult] = {}
    shares: dict[str, Mapping[str, float]] = {}
    settings: dict[str, str] = {}
    shown: dict[Tier, list[tuple[Floats, NDArray[np.bool_]]]] = {}
    for question, fits in ((NEXT_ORDER, NEXT_ORDER_FITS), (POST_PURCHASE, POST_PURCHASE_FITS)):
        asked = [case for case in cases if case.question == question]
        examples = [_example(case, past) for case in asked]
        answers = _answer(generation, asked)
        _note_shown(shown, asked, answers)
        tuned = tune(
            fits,
            tuning_past.history,
            [_example(case, tuning_past) for case in tuning_cases if case.question == question],
            K,
        )
        settings |= {f"{question}/{name}": text for name, text in tuned.settings.items()}
        ranked = {OURS: answers.ranked} | {
            name: rank_all(fit(past.history), examples, K) for name, fit in tuned.fits.items()
        }
        names = [_SLICE_OF[question, tier] for tier in answers.tiers]
        for name in dict.fromkeys(slice_ for asked_, slice_ in _PRINTED if asked_ == question):
            places = np.array([i for i, found in enumerate(names) if found == name], dtype=np.int64)
            slices[question, name] = compare(
                question=question,
                slice_name=name,
                ranked={method: rows[places] for method, rows in ranked.items()},
                truth=[asked[i].truth for i in places],
                customers=_owners(asked)[places],
                n_offers=generation.model.n_offers,
                k=K,
                seed=seed,
            )
            tiers = Counter(answers.tiers[i] for i in places)
            shares[f"{question}/{name}"] = {
                tier: count / len(places) for tier, count in sorted(tiers.items())
            }
    return Measured(
        slices=tuple(slices[key] for key in _PRINTED),
        tier_shares=shares,
        calibration=tuple(_calibration(tier, shown[tier]) for tier in sorted(shown)),
        baseline_settings=settings,
    )


def _answer(generation: Generation, cases: Sequence[Case]) -> _Answers:
    ranked = np.full((len(cases), K), metrics.PADDING, dtype=np.int64)
    probability = np.zeros((len(cases), K))
    tiers: list[Tier] = []
    for place, case in enumerate(cases):
        decision = decide_for_key(generation, case.request, case.key)
        offers = decision.offers[:K]
        ranked[place, : len(offers)] = [offer.offer_row for offer in offers]
        probability[place, : len(offers)] = [offer.probability for offer in offers]
        tiers.append(decision.tier)
    return _Answers(ranked, probability, tiers)


def _note_shown(
    shown: dict[Tier, list[tuple[Floats, NDArray[np.bool_]]]],
    cases: Sequence[Case],
    answers: _Answers,
) -> None:
    for place, case in enumerate(cases):
        rows = answers.ranked[place]
        is_shown = rows != metrics.PADDING
        outcome = np.isin(rows[is_shown], case.truth)
        pair = (answers.probability[place][is_shown], outcome)
        shown.setdefault(answers.tiers[place], []).append(pair)


def _calibration(tier: Tier, shown: list[tuple[Floats, NDArray[np.bool_]]]) -> TierCalibration:
    probability = np.concatenate([part for part, _ in shown])
    outcome = np.concatenate([part for _, part in shown])
    constant = np.full(len(outcome), outcome.mean() if len(outcome) else 0.0)
    return TierCalibration(
        tier=tier,
        brier=metrics.brier(probability, outcome),
        base_brier=metrics.brier(constant, outcome),
        curve=metrics.reliability(probability, outcome),
    )


def _example(case: Case, past: Past) -> Example:
    n_cart = len(case.cart_rows)
    own = [offer for offers in case.order.own_offers[:n_cart] for offer in offers]
    return Example(
        customer=past.index_of(case.key),
        hour_of_week=case.order.hour_of_week,
        context=case.order.context,
        cart=case.cart_rows,
        truth=case.truth,
        exclude=np.array(sorted(set(own)), dtype=np.int64),
    )


def _owners(cases: Sequence[Case]) -> Ints:
    """A number per customer; a guest's order stands for a customer."""
    names = [case.order.key or case.order.order_key.to_bytes(8, "big") for case in cases]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)
