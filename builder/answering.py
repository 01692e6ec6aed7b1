"""Our lists: every case asked of a snapshot, as shipped and without a signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from builder import metrics
from builder.ablation import signals_of, without
from builder.cases import POST_PURCHASE, Case
from builder.metrics import Bools, Floats, Ints
from index.decide import decide_for_key
from index.generation import Generation
from index.request import MAX_K, ChosenOffer, Decision, Tier

K: Final = 10
"""How many offers are asked for, and places that count."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Our lists for one set of cases.

    Attributes:
        ranked: int64, shape (n, K), offer rows, padded with -1.
        probability: float64, shape (n, K), of the same offers.
        tiers: of the decisions.
        tier_names: whose weights they took, as in `index.model.Model.tiers`.
    """

    ranked: Ints
    probability: Floats
    tiers: list[Tier]
    tier_names: list[str]


def answer(
    generation: Generation, cases: Sequence[Case], only: Bools | None
) -> tuple[list[Case], Answers]:
    """Ask a snapshot.

    Args:
        generation: the snapshot.
        cases: the questions.
        only: bool, shape (n_offers,): offers that may be ranked; None for all.

    Returns:
        The cases in which something may be shown, and what is.
    """
    asked, decisions = [], []
    for case in cases:
        decision, offers = _decided(generation, case, only)
        if decision.offers:
            asked.append(case)
            decisions.append((decision, offers))
    probability = np.zeros((len(asked), K))
    for place, (_, offers) in enumerate(decisions):
        probability[place, : len(offers)] = [offer.probability for offer in offers]
    tiers = [decision.tier for decision, _ in decisions]
    return asked, Answers(
        ranked=_ranked([offers for _, offers in decisions]),
        probability=probability,
        tiers=tiers,
        tier_names=[
            generation.model.tier_name(tier, has_cart=case.question == POST_PURCHASE)
            for case, tier in zip(asked, tiers, strict=True)
        ],
    )


def answer_without(
    generation: Generation, cases: Sequence[Case], tier_names: Sequence[str], only: Bools | None
) -> dict[str, Ints]:
    """Ask again without each signal that counts in any of the tiers.

    Returns:
        By signal, int64, shape (n, K), offer rows, padded with -1.
    """
    has_cart = any(case.cart_rows.size for case in cases)
    signals = signals_of(generation.model, tier_names, has_cart=has_cart) if cases else []
    lists = {}
    for signal in signals:
        with without(generation, signal) as ablated:
            decisions = (_decided(ablated, case, only) for case in cases)
            lists[signal] = _ranked([offers for _, offers in decisions])
    return lists


def _decided(
    generation: Generation, case: Case, only: Bools | None
) -> tuple[Decision, list[ChosenOffer]]:
    """The decision about a case, and its first K offers; of those asked for, if not all are.

    Leaving offers out changes nothing about the order of the others, so a longer list without them
    is what the decision would say if it knew no others.
    """
    decision = decide_for_key(generation, case.request, case.key)
    offers = decision.offers
    if only is not None:
        offers = [offer for offer in offers if only[offer.offer_row]]
        if len(offers) < K:
            longer = msgspec.structs.replace(case.request, k=MAX_K)
            decision = decide_for_key(generation, longer, case.key)
            offers = [offer for offer in decision.offers if only[offer.offer_row]]
    return decision, offers[:K]


def _ranked(lists: Sequence[Sequence[ChosenOffer]]) -> Ints:
    """Offer rows of lists of at most K offers: int64, shape (n, K), padded with -1."""
    ranked = np.full((len(lists), K), metrics.PADDING, dtype=np.int64)
    for place, offers in enumerate(lists):
        ranked[place, : len(offers)] = [offer.offer_row for offer in offers]
    return ranked
