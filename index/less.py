"""Gathering less than there is, for answers that have to be cheap: the rules hold all the same.

What may not be shown is looked up as ever: what is in the cart, excluded, declined, or bought
before where repeats are out. What would only make the answer better is left alone: the customer's
own row and what the cart says, and below `context` also what the moment says. A repeat policy that
is a number is a wish about what was bought, and those purchases are not looked at.
"""

from __future__ import annotations

from index.gather import Gathered, banned_offers, offers_in_cart, repeat_policy
from index.generation import Generation, Reader
from index.request import Ceiling, Request


def gather_less(
    generation: Generation, reader: Reader, request: Request, key: bytes | None, at_most: Ceiling
) -> Gathered:
    """What `gather` would find of an unknown visitor, with the customer's exclusions kept.

    Args:
        generation: the open snapshot.
        reader: the caller's way into it.
        request: the question.
        key: table key of the customer, None for nobody.
        at_most: `context` for the moment's rows, `prior` for none.
    """
    rows = generation.lookup.rows(request.at, request.context) if at_most == "context" else ()
    bought = None
    if key is not None and repeat_policy(request, generation.model) == "exclude":
        customer = reader.customer(key)
        bought = None if customer is None else customer.history_bytes
    tier: Ceiling = "context" if rows else "prior"
    return Gathered(
        tier=tier,
        tier_name=generation.model.tier_name(tier, has_cart=False),
        context_rows=rows,
        banned=banned_offers(reader, request),
        in_cart=offers_in_cart(map(reader.item, {line.item_id for line in request.cart})),
        bought=bought,
    )
