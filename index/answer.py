"""An answer as it goes out: a decision's JSON, and what is counted of it.

A plain request (see `index.plain`) is written by compiled code as it is decided, without an object
for each offer; what comes out is `decision_json` of `decide`, byte for byte.
"""

from __future__ import annotations

from msgspec import Struct

from index.decide import decided_whole, decision_id_of, guarded, safe_decision
from index.encode import decision_json, joined
from index.generation import Generation, Reader
from index.plain import plain_decider
from index.request import Ceiling, Decision, Request, Tier


class Answer(Struct, frozen=True, gc=False):
    """One answer.

    Attributes:
        body: UTF-8 JSON of the decision.
        tier: how much was known.
        n_offers: how many offers it has.
        first_score: score of the first of them; 0 where there is none.
        request_id: as given, or empty.
        snapshot_id: which snapshot answered.
    """

    body: bytes
    tier: Tier
    n_offers: int
    first_score: float
    request_id: str
    snapshot_id: str


def answer(generation: Generation, request: Request, *, at_most: Ceiling | None = None) -> Answer:
    """What `decide` decides, as bytes: see there.

    Raises:
        RuntimeError: the generation was closed.
    """
    return answer_for_key(
        generation, request, generation.key_of(request.customer_id), at_most=at_most
    )


def answer_for_key(
    generation: Generation,
    request: Request,
    key: bytes | None,
    *,
    at_most: Ceiling | None = None,
) -> Answer:
    """Like `answer`, for a customer whose table key (16 bytes) is known, or None for nobody."""
    return guarded(generation, request, key, at_most, _answered, _safe_answer)


def _answered(
    generation: Generation,
    reader: Reader,
    request: Request,
    key: bytes | None,
    at_most: Ceiling | None,
) -> Answer:
    plain = plain_decider(generation, reader)
    if plain is None or (written := plain.write(request, key, at_most)) is None:
        return _of(decided_whole(generation, reader, request, key, at_most))
    tier, offers, n_offers, first_score = written
    request_id, snapshot_id = request.request_id or "", generation.snapshot_id
    decision_id = decision_id_of(generation, request, key).hex()
    body = joined(decision_id, request_id, snapshot_id, tier, offers)
    return Answer(body, tier, n_offers, first_score, request_id, snapshot_id)


def _safe_answer(
    generation: Generation, reader: Reader, request: Request, key: bytes | None
) -> Answer:
    return _of(safe_decision(generation, reader, request, key))


def _of(decision: Decision) -> Answer:
    offers = decision.offers
    return Answer(
        decision_json(decision),
        decision.tier,
        len(offers),
        offers[0].score if offers else 0.0,
        decision.request_id,
        decision.snapshot_id,
    )
