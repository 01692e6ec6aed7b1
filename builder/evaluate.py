"""Measuring a snapshot: lists read back through the decision itself, beside every baseline's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder import metrics
from builder.ablation import SliceAblation, compare_without
from builder.answering import Answers, K, answer, answer_without
from builder.baselines.data import UNKNOWN, Example, History
from builder.baselines.registry import NEXT_ORDER as NEXT_ORDER_FITS
from builder.baselines.registry import POST_PURCHASE as POST_PURCHASE_FITS
from builder.baselines.registry import tune
from builder.cases import NEXT_ORDER, POST_PURCHASE, Case
from builder.comparison import OURS, SEGMENT, SliceResult, compare
from builder.history import Past
from builder.metrics import Bools, Floats, Ints, ReliabilityCurve
from builder.segment_gap import SegmentGap, segment_gap
from index.generation import Generation
from index.model import ANY_PLACEMENT, WITH_CART
from index.request import Tier

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
_PRINTED: Final = {
    NEXT_ORDER: ("warm", "thin", "cold_without_cart"),
    POST_PURCHASE: ("warm", "thin", "cold_with_cart"),
}
_FITS: Final = {NEXT_ORDER: NEXT_ORDER_FITS, POST_PURCHASE: POST_PURCHASE_FITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class TierCalibration:
    """How honest the probabilities of one tier's shown offers are.

    Attributes:
        tier: which, as in `index.model.Model.tiers`: carts apart.
        brier: mean squared distance from what happened.
        base_brier: the same for a constant probability, the mean.
        curve: predicted against observed.
    """

    tier: str
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
        segment_gap: segment against individual; None where another question was asked than the
            next order, and where no segments were run.
        ablation: every question and slice with what each signal is worth; empty when that was not
            asked for.
    """

    slices: tuple[SliceResult, ...]
    tier_shares: Mapping[str, Mapping[str, float]]
    calibration: tuple[TierCalibration, ...]
    baseline_settings: Mapping[str, str]
    segment_gap: SegmentGap | None
    ablation: tuple[SliceAblation, ...] = ()


def measure(
    generation: Generation,
    question: str,
    cases: Sequence[Case],
    past: Past,
    *,
    tuning_cases: Sequence[Case],
    tuning_past: Past,
    only: Bools | None = None,
    methods: Collection[str] | None = None,
    ablate: int = 0,
    seed: int,
) -> Measured:
    """Answer every case of one question by every method.

    Args:
        generation: the snapshot to be measured, opened.
        question: `next_order` or `post_purchase`.
        cases: from the final slice; other questions are passed over, and so are cases in which no
            offer may be shown: they tell of the brand's rules, not of the tables.
        past: what baselines may know: the same cut as the snapshot's.
        tuning_cases: of the weight slice, for tuned baselines.
        tuning_past: the cut before the weight slice.
        only: bool, shape (n_offers,): the offers that are asked for and may be ranked, by every
            method alike; None for all.
        methods: names of the baselines to run; None for all of them.
        ablate: examples of each slice that are also answered without each signal.
        seed: of the bootstrap.
    """
    fits = {
        name: fit for name, fit in _FITS[question].items() if methods is None or name in methods
    }
    asked, answers = answer(generation, _about(cases, question, only), only)
    # What the tables may not offer, no baseline may either.
    repeats = generation.model.repeat[ANY_PLACEMENT] != "exclude"
    tuning = [
        _example(case, tuning_past, repeats=repeats)
        for case in _about(tuning_cases, question, only)
    ]
    tuned = tune(fits, _with_offers(tuning_past.history, only), tuning, K)
    examples = [_example(case, past, repeats=repeats) for case in asked]
    history = _with_offers(past.history, only)
    ranked = {OURS: answers.ranked} | {
        name: fit(history).rank(examples, K) for name, fit in tuned.fits.items()
    }
    owners = _owners(asked)
    truth = [case.truth for case in asked]
    names = [_SLICE_OF[question, tier] for tier in answers.tiers]
    slices, shares, ablation = [], {}, []
    for name in _PRINTED[question]:
        places = np.array([i for i, found in enumerate(names) if found == name], dtype=np.int64)
        slices.append(
            compare(
                question=question,
                slice_name=name,
                ranked={method: rows[places] for method, rows in ranked.items()},
                truth=[truth[i] for i in places],
                customers=owners[places],
                n_offers=generation.model.n_offers if only is None else int(only.sum()),
                k=K,
                seed=seed,
            )
        )
        tiers = Counter(answers.tiers[i] for i in places)
        shares[f"{question}/{name}"] = {
            tier: count / len(places) for tier, count in sorted(tiers.items())
        }
        if ablate:
            places = _spread(places, ablate)
            ablation.append(
                compare_without(
                    question=question,
                    slice_name=name,
                    shipped=answers.ranked[places],
                    ablated=answer_without(
                        generation,
                        [asked[i] for i in places],
                        sorted({answers.tier_names[i] for i in places}),
                        only,
                    ),
                    truth=[truth[i] for i in places],
                    customers=owners[places],
                    k=K,
                    seed=seed,
                )
            )
    return Measured(
        slices=tuple(slices),
        tier_shares=shares,
        calibration=_calibrations(asked, answers),
        baseline_settings={f"{question}/{name}": text for name, text in tuned.settings.items()},
        segment_gap=_segment_gap(generation, asked, ranked, past, seed)
        if question == NEXT_ORDER and SEGMENT in ranked
        else None,
        ablation=tuple(ablation),
    )


def _about(cases: Sequence[Case], question: str, only: Bools | None) -> list[Case]:
    """Cases of one question, with no truth but offers that are asked for; none without truth."""
    asked = [case for case in cases if case.question == question]
    if only is None:
        return asked
    left = [replace(case, truth=case.truth[only[case.truth]]) for case in asked]
    return [case for case in left if case.truth.size]


def _with_offers(history: History, only: Bools | None) -> History:
    """The same past in which nothing but some offers was ever taken."""
    if only is None:
        return history
    known = (history.offer_row != UNKNOWN) & only[history.offer_row]
    return replace(
        history,
        offer_row=np.where(known, history.offer_row, UNKNOWN),
        popularity=np.where(only, history.popularity, 0),
        recent_popularity=np.where(only, history.recent_popularity, 0),
    )


def _spread(places: Ints, n: int) -> Ints:
    """At most n of the places, evenly spread."""
    return places if len(places) <= n else places[np.arange(n) * len(places) // n]


def _segment_gap(
    generation: Generation,
    cases: Sequence[Case],
    ranked: Mapping[str, Ints],
    past: Past,
    seed: int,
) -> SegmentGap:
    """Ours against segments for the customers whose past is known; each is asked about once."""
    n_past_orders = past.n_orders_of([case.key for case in cases])
    known = np.flatnonzero(n_past_orders)
    values = generation.model.values
    return segment_gap(
        ours=ranked[OURS][known],
        segment=ranked[SEGMENT][known],
        truth=[cases[place].truth for place in known.tolist()],
        n_past_orders=n_past_orders[known],
        values=None if values is None else values.astype(np.float64),
        k=K,
        seed=seed,
    )


def together(parts: Sequence[Measured]) -> Measured:
    """What was found about one snapshot by several questions."""
    return Measured(
        slices=tuple(result for part in parts for result in part.slices),
        tier_shares={name: shares for part in parts for name, shares in part.tier_shares.items()},
        calibration=tuple(one for part in parts for one in part.calibration),
        baseline_settings={
            name: text for part in parts for name, text in part.baseline_settings.items()
        },
        segment_gap=next((part.segment_gap for part in parts if part.segment_gap), None),
        ablation=tuple(one for part in parts for one in part.ablation),
    )


def _calibrations(cases: Sequence[Case], answers: Answers) -> tuple[TierCalibration, ...]:
    shown: dict[str, list[tuple[Floats, NDArray[np.bool_]]]] = {}
    for place, case in enumerate(cases):
        rows = answers.ranked[place]
        is_shown = rows != metrics.PADDING
        outcome = np.isin(rows[is_shown], case.truth)
        pair = (answers.probability[place][is_shown], outcome)
        tier = answers.tiers[place]
        name = WITH_CART.get(tier, tier) if case.question == POST_PURCHASE else tier
        shown.setdefault(name, []).append(pair)
    return tuple(_calibration(tier, shown[tier]) for tier in sorted(shown))


def _calibration(tier: str, shown: list[tuple[Floats, NDArray[np.bool_]]]) -> TierCalibration:
    probability = np.concatenate([part for part, _ in shown])
    outcome = np.concatenate([part for _, part in shown])
    constant = np.full(len(outcome), outcome.mean() if len(outcome) else 0.0)
    return TierCalibration(
        tier=tier,
        brier=metrics.brier(probability, outcome),
        base_brier=metrics.brier(constant, outcome),
        curve=metrics.reliability(probability, outcome),
    )


def _example(case: Case, past: Past, *, repeats: bool) -> Example:
    own = case.banned.tolist()
    if not repeats:
        own += past.offers_of(case.key).tolist()
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
