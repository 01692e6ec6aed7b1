"""Choosing: from scored candidates to the offers that are shown, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import chain
from math import exp, inf
from typing import Final

import numpy as np

from index.adder import Terms
from index.eligibility import is_eligible, normal_value
from index.errors import Corrupt
from index.generation import Generation, Reader
from index.model import ANY_PLACEMENT, TierModel
from index.rank import best_first
from index.records import (
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    OFFER_HAS_WINDOW,
    PAIR,
    OfferRecord,
)
from index.request import MAX_K, ChosenOffer, Request

_SPARE: Final = 8
_LAST_RESORT: Final = 2000
_MAX_LOGIT: Final = 60.0
EXPLORED_PLACES: Final = 10
"""How many next-best offers share the exploring last place."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


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
        "_at_us",
        "_facts",
        "_generation",
        "_names",
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
        self._names = {*request.exclude, *request.declined}
        self._at_us: int | None = None
        self._facts: Mapping[str, str] | None = None
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
        names, reserve = self._names, self._reserve()
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
            if (names or offer.flags != OFFER_AVAILABLE) and not self.may_show(offer):
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

    def may_show(self, offer: OfferRecord) -> bool:
        """Whether an offer is available now, here, for this request, and was not asked away."""
        flags = offer.flags
        if offer.offer_id in self._names or not flags & OFFER_AVAILABLE:
            return False
        if flags == OFFER_AVAILABLE:
            return True
        if flags & OFFER_HAS_WINDOW and not offer.starts_us <= self._moment() < offer.expires_us:
            return False
        if flags & OFFER_HAS_PLACEMENTS and not self._allows_placement(offer.placements):
            return False
        return not flags & OFFER_HAS_RULES or is_eligible(
            offer.rules, self._request, self._request_facts()
        )

    def _allows_placement(self, mask: int) -> bool:
        placements = self._generation.model.placements
        placement = self._request.placement
        return placement in placements and bool(mask >> placements.index(placement) & 1)

    def _moment(self) -> int:
        """The request's moment, UTC microseconds; the snapshot's own when it says nothing."""
        if self._at_us is None:
            at = self._request.at
            if at is None:
                self._at_us = int(self._generation.manifest.data["as_of_us"])
            else:
                at = at.replace(tzinfo=self._generation.zone) if at.tzinfo is None else at
                self._at_us = (at - _EPOCH) // _MICROSECOND
        return self._at_us

    def _request_facts(self) -> Mapping[str, str]:
        if self._facts is None:
            said = self._request.context.items()
            self._facts = {name: normal_value(value) for name, value in said if value is not None}
            self._facts |= {"placement": normal_value(self._request.placement)}
        return self._facts

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
