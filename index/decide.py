"""The decision: logs read from tables, added up, excluded, ranked. Plain, synchronous, pure.

    score(o) = prior[o] + Σ over signals: weight × log-lift of the offer in the signal's row

Of several items in a cart, or viewed, the one whose row says most about the offer counts, and
besides, with a weight of its own, what all say together.
The answer depends on the snapshot and the request alone. The builder's evaluation, the golden
decisions and the edge all call this function, so there is no skew between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from index.choose import Chooser
from index.conditions import Conditions
from index.explain import overlay_note, with_reasons
from index.gather import gather
from index.generation import DAMAGE, Generation, Reader
from index.less import gather_less
from index.plain import plain_decider
from index.records import OfferRecord
from index.request import MAX_K, Ceiling, ChosenOffer, Decision, Request
from index.score import terms_of

Found = TypeVar("Found")


def decide(generation: Generation, request: Request, *, at_most: Ceiling | None = None) -> Decision:
    """Which offers to show, for whom, in what moment.

    Never raises for odd input, and never returns an empty list unless the reserve or the exclusions
    leave nothing: a customer, item or context nobody knows makes the answer less personal, and its
    `tier` says so. A damaged table gives the `safe` tier and is counted in `generation.damaged`.

    Args:
        generation: an open snapshot.
        request: the question. Its `customer_id` is hashed with the secret the snapshot was opened
            with; without one everybody is a new visitor.
        at_most: the highest tier wanted, for an answer that costs less; see `index.less`.

    Returns:
        The decision. It holds no view into the snapshot and outlives it.

    Raises:
        RuntimeError: the generation was closed.
    """
    return decide_for_key(
        generation, request, generation.key_of(request.customer_id), at_most=at_most
    )


def decide_for_key(
    generation: Generation,
    request: Request,
    key: bytes | None,
    *,
    at_most: Ceiling | None = None,
) -> Decision:
    """Like `decide`, for a customer whose table key (16 bytes) is known, or None for nobody."""
    return guarded(generation, request, key, at_most, decided, safe_decision)


def guarded(  # noqa: PLR0917 - what is asked, in the order in which it is handed on
    generation: Generation,
    request: Request,
    key: bytes | None,
    at_most: Ceiling | None,
    way: Callable[[Generation, Reader, Request, bytes | None, Ceiling | None], Found],
    safe_way: Callable[[Generation, Reader, Request, bytes | None], Found],
) -> Found:
    """What one way of deciding finds, or where a table is damaged the safe one.

    Args:
        generation: an open snapshot.
        request: the question.
        key: table key of the customer, None for nobody.
        at_most: the highest tier wanted.
        way: decides, with a reader of the caller's own.
        safe_way: reads no table.

    Raises:
        RuntimeError: the generation was closed.
    """
    reader = generation.enter()
    try:
        return way(generation, reader, request, key, at_most)
    except DAMAGE:
        generation.damaged += 1
        reader.renew()
        return safe_way(generation, reader, request, key)
    finally:
        generation.leave(reader)


def decided(
    generation: Generation,
    reader: Reader,
    request: Request,
    key: bytes | None,
    at_most: Ceiling | None,
) -> Decision:
    """One decision by a reader in hand.

    Raises:
        whatever reading damaged tables raises, see `generation.DAMAGE`.
    """
    plain = plain_decider(generation, reader)
    if plain is None or (done := plain.decide(request, key, at_most)) is None:
        return decided_whole(generation, reader, request, key, at_most)
    decision_id = decision_id_of(generation, request, key).hex()
    return Decision(decision_id, request.request_id or "", generation.snapshot_id, *done)


def decided_whole(
    generation: Generation,
    reader: Reader,
    request: Request,
    key: bytes | None,
    at_most: Ceiling | None,
) -> Decision:
    """Like `decided`, for any request: `index.plain` is not asked."""
    decision_id = decision_id_of(generation, request, key)
    model = generation.model
    if at_most is None:
        found = gather(generation, reader, request, key)
    else:
        found = gather_less(generation, reader, request, key, at_most)
    terms = terms_of(model, generation.lookup, reader, found, request.placement)
    chooser = Chooser(generation, reader, request, model.tiers[found.tier_name])
    chosen = chooser.choose(terms, found.banned, found.in_cart, decision_id)
    note = None
    if request.explain:
        note = overlay_note(reader, chosen, chooser.passed_over)
        chosen = with_reasons(generation, reader, found, chosen)
    return Decision(
        decision_id.hex(),
        request.request_id or "",
        generation.snapshot_id,
        found.tier,
        chosen,
        note,
    )


def decision_id_of(generation: Generation, request: Request, key: bytes | None) -> bytes:
    """16 bytes that depend on the model, the request's id and the customer alone."""
    digest = generation.decision_digest.copy()
    digest.update((request.request_id or "").encode("utf-8", "surrogatepass"))
    if key is not None:
        digest.update(key)
    return digest.digest()


def safe_decision(
    generation: Generation, reader: Reader, request: Request, key: bytes | None
) -> Decision:
    """A decision that reads no table: what may be shown is known from records kept in memory."""
    prior = generation.model.prior
    conditions = Conditions(generation, request)
    in_cart = {line.item_id for line in request.cart}
    wanted = min(max(request.k, 1), MAX_K)
    patched = reader.patches.records
    usable = [
        offer
        for stored in generation.safe_offers
        if (offer := patched.get(stored.offer_row, stored)).offer_id not in in_cart
        and _may_show(conditions, offer)
    ][:wanted]
    return Decision(
        decision_id_of(generation, request, key).hex(),
        request.request_id or "",
        generation.snapshot_id,
        "safe",
        [
            ChosenOffer(
                offer.offer_id,
                offer.offer_row,
                rank,
                float(prior[offer.offer_row]),
                0.0,
                1.0,
                offer.fragment,
            )
            for rank, offer in enumerate(usable, start=1)
        ],
    )


def _may_show(conditions: Conditions, offer: OfferRecord) -> bool:
    """Whether an offer may be shown; where that cannot be told, it may not."""
    try:
        return conditions.may_show(offer)
    except DAMAGE:
        return False
