"""Choosing: from scored candidates to the offers that are shown, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import chain
from math import exp, inf
from typing import Final

import numpy as np

from index.adder import Terms
from index.conditions import Conditions
from index.errors import Corrupt
from index.generation import Generation, Reader
from index.model import ANY_PLACEMENT, TierModel
from index.rank import best_first
from index.records import OFFER_AVAILABLE, PAIR, OfferRecord
from index.request import MAX_K, ChosenOffer, Request

_SPARE: Final = 8
_LAST_RESORT: Final = 2000
_MAX_LOGIT: Final = 60.0
EXPLORED_PLACES: Final = 10
"""How many next-best offers share the exploring last place."""


class Chooser:
    """Ranks the candidates of one request and drops what may not be shown.

    Args:
        generation: the open snapshot.
        reader: the caller's way into it.
        request: the question.
        tier: weights and calibration that the scores were made with.

    Attributes:
        passed_over: rows that were next but may not be shown; kept when the request asks to
            explain.
    """

    __slots__ = (
        "_conditions",
        "_generation",
        "_reader",
        "_request",
        "_tier",
        "passed_over",
    )

    def __init__(
        self, generation: Generation, reader: Reader, request: Request, tier: TierModel
    ) -> None:
        self._generation = generation
        self._reader = reader
        self._request = request
        self._tier = tier
        self._conditions = Conditions(generation, request)
        self.passed_over: list[int] = []

    def choose(
        self, terms: Terms, banned: set[int], in_cart: Mapping[int, int], decision_id: bytes
    ) -> list[ChosenOffer]:
        """The best `k` offers that may be shown.

        Args:
            terms: what makes the scores.
            banned: a few offers that must not be shown, besides those bought.
            in_cart: a few more, by how many of their items are in the cart; they may be shown only
                if they have others.
            decision_id: what exploration draws from.

        Raises:
            Corrupt: a damaged value is above all numbers.
        """
        model = self._generation.model
        wanted = min(max(self._request.k, 1), MAX_K)
        exploring = model.exploration > 0.0
        needed = wanted + EXPLORED_PLACES - 1 if exploring else wanted
        first = needed + _SPARE + len(banned) + len(in_cart)
        offer_of, known = self._reader.offer, self._reader.kept_offers
        names, may_show = self._conditions.names, self._conditions.may_show
        reserve = self._reserve()
        slope, intercept = -self._tier.slope, -self._tier.intercept
        shown: list[ChosenOffer] = []
        for row, score in chain(
            self._by_worth(terms, first)
            if model.values is not None
            else self._reader.adder.best(terms, first),
            self._last_resort(terms, shown),
        ):
            if score == inf:
                # A damaged value made it, and JSON has no such number.
                raise Corrupt("a score is above all numbers")
            if row in banned:
                continue
            # Most offers shown are shown all the time; a dict answers sooner than a method.
            offer = known.get(row) or offer_of(row)
            if offer is None or in_cart.get(row, -1) >= offer.n_items:
                continue
            if (names or offer.flags != OFFER_AVAILABLE) and not may_show(offer):
                if self._request.explain:
                    self.passed_over.append(row)
                continue
            probability = 1.0 / (1.0 + exp(min(slope * score + intercept, _MAX_LOGIT)))
            if reserve is not None and not self._worth_of(offer, probability) >= reserve:
                break
            rank = len(shown) + 1
            shown.append(
                ChosenOffer(offer.offer_id, row, rank, score, probability, 1.0, offer.fragment)
            )
            if rank == needed:
                break
        return self._explore(shown, wanted, decision_id) if exploring else shown

    def _by_worth(self, terms: Terms, first: int) -> Iterator[tuple[int, float]]:
        """Offers by what showing them is worth, if they are taken as often as their score says."""
        candidates = self._reader.adder.candidates(terms)
        values, scores = self._generation.model.values, candidates.scores
        assert values is not None
        with np.errstate(over="ignore", invalid="ignore"):
            odds = np.exp(-(self._tier.slope * scores + self._tier.intercept))
        worth = (values.take(candidates.rows) / (1.0 + odds)).astype(np.float32)
        return best_first(candidates, np.where(scores == -np.inf, scores, worth), first)

    def _last_resort(self, terms: Terms, shown: list[ChosenOffer]) -> Iterator[tuple[int, float]]:
        """Further offers by prior, when too few candidates may be shown.

        A short list is settled for after some thousand; an empty one only after all.
        """
        prior, order = self._generation.model.prior, self._generation.prior_order
        tried = set(np.frombuffer(b"".join(terms.rows()), PAIR)["row"].tolist())
        if terms.bought is not None:
            tried.update(np.frombuffer(terms.bought, np.uint32).tolist())
        step = len(tried) + _LAST_RESORT
        for start in range(0, len(order), step):
            if start and shown:
                return
            for row in order[start : start + step].tolist():
                if row not in tried:
                    yield row, float(prior[row])

    def _reserve(self) -> float | None:
        """The least worth to show here; None when anything may be shown."""
        bounds = self._generation.model.reserve
        return bounds.get(self._request.placement, bounds.get(ANY_PLACEMENT)) if bounds else None

    def _worth_of(self, offer: OfferRecord, probability: float) -> float:
        values = self._generation.model.values
        return probability if values is None else probability * float(values[offer.offer_row])

    def _explore(
        self, shown: list[ChosenOffer], wanted: int, decision_id: bytes
    ) -> list[ChosenOffer]:
        """Let the last place show one of the next best, with a known probability."""
        share = self._generation.model.exploration
        pool = shown[wanted - 1 :]
        if len(pool) < 2:
            return shown[:wanted]
        draw = blake2b(decision_id, digest_size=16, person=b"almanac-explore").digest()
        explores = int.from_bytes(draw[:8], "big") < share * 2**64
        pick = int.from_bytes(draw[8:], "big") % len(pool) if explores else 0
        propensity = share / len(pool) + (1.0 - share if pick == 0 else 0.0)
        offer = pool[pick]
        last = ChosenOffer(
            offer.offer_id,
            offer.offer_row,
            wanted,
            offer.score,
            offer.probability,
            propensity,
            offer.fragment,
        )
        return [*shown[: wanted - 1], last]
