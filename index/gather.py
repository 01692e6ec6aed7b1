"""What the tables say about one request, before anything is added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from index.arrays import RowBytes, Vector
from index.context import ContextLookup
from index.generation import Generation, Reader
from index.layout import NO_ROW, THIN_BELOW_ORDERS
from index.model import ANY_PLACEMENT, Model
from index.records import CustomerView, ItemView, packed_pairs
from index.request import CartLine, RepeatPolicy, Request, Tier

MAX_CART_ROWS = 32
"""Lines of a cart (the last ones) whose rows count; every line is excluded from the offers."""


@dataclass(slots=True, kw_only=True)
class Gathered:
    """Rows found for one request. Arrays are views, valid while the reader is held.

    Attributes:
        tier: how much is known.
        tier_name: whose weights apply, a name in the model's `tiers`.
        context_rows: rows of the moment and of the caller's context, rising.
        banned: offers that are, or contain, items of the exclusions or the refusals.
        customer: the customer's record.
        cart: records of the cart's items that have an affinity row.
        viewed: records of viewed items that have one.
        cart_context_rows: how many cart lines stand in each category and price-band row.
        n_cart: lines that say anything; what damps their contexts is a power of it.
        n_viewed: viewed items that are known.
        similar: offers and similarities from the vector search as `records.PAIR` bytes; None when
            it was not needed.
        strangers: vectors of items and categories that no table row speaks for.
        in_cart: by offer, how many different items of the cart it is or contains; one that holds
            nothing else has nothing to offer any more.
        bought: offers the customer took before as uint32 bytes, where repeats are out; None where
            they are not.
        repeat_factor: what the odds of offers the customer took before are multiplied with; None
            where they stay as they are.
    """

    tier: Tier
    tier_name: str
    context_rows: tuple[int, ...]
    banned: set[int]
    customer: CustomerView | None = None
    cart: list[ItemView] = field(default_factory=list)
    viewed: list[ItemView] = field(default_factory=list)
    cart_context_rows: dict[int, int] = field(default_factory=dict)
    n_cart: int = 0
    n_viewed: int = 0
    similar: RowBytes | None = None
    strangers: list[Vector] = field(default_factory=list)
    in_cart: dict[int, int] = field(default_factory=dict)
    bought: RowBytes | None = None
    repeat_factor: float | None = None

    @property
    def has_cart(self) -> bool:
        """Whether anything in the cart or among the viewed items is known."""
        return self.n_cart > 0 or self.n_viewed > 0


def gather(
    generation: Generation,
    reader: Reader,
    request: Request,
    key: bytes | None,
    *,
    withhold_affinity: bool = False,
) -> Gathered:
    """Look up everything a request names.

    Args:
        generation: the open snapshot.
        reader: the caller's way into it.
        request: the question.
        key: table key of the customer, None for nobody.
        withhold_affinity: pretend that no item has an affinity row, to learn what the vector search
            is worth when none has.
    """
    lookup = generation.lookup
    customer = reader.customer(key) if key is not None else None
    found = Gathered(
        tier="prior",
        tier_name="prior",
        context_rows=lookup.rows(request.at, request.context),
        banned=banned_offers(reader, request),
        customer=customer,
    )
    if request.cart:
        _gather_cart(reader, lookup, request.cart, found, withhold_affinity=withhold_affinity)
    if request.viewed:
        _gather_viewed(reader, request, found, withhold_affinity=withhold_affinity)
    if found.strangers:
        found.similar = _search(generation, found.strangers)
    if customer is not None:
        found.tier = "thin" if customer.n_orders < THIN_BELOW_ORDERS else "individual"
        policy = repeat_policy(request, generation.model)
        if policy == "exclude":
            found.bought = customer.history_bytes
        elif policy != "allow":
            found.repeat_factor = policy
    elif found.context_rows or found.has_cart:
        found.tier = "context"
    found.tier_name = generation.model.tier_name(found.tier, has_cart=found.has_cart)
    return found


def banned_offers(reader: Reader, request: Request) -> set[int]:
    """Offer rows of the items that a request excludes or says were declined."""
    banned: set[int] = set()
    for item_id in (*request.exclude, *request.declined):
        if (item := reader.item(item_id)) is not None:
            banned.update(item.own_offers)
    return banned


def repeat_policy(request: Request, model: Model) -> RepeatPolicy:
    """The request's own wish, or the brand's choice for the placement."""
    if request.repeat is not None:
        return request.repeat
    return model.repeat.get(request.placement, model.repeat.get(ANY_PLACEMENT, "allow"))


def _gather_cart(
    reader: Reader,
    lookup: ContextLookup,
    cart: list[CartLine],
    found: Gathered,
    *,
    withhold_affinity: bool,
) -> None:
    first_counted = len(cart) - MAX_CART_ROWS
    owned: dict[int, tuple[int, ...]] = {}
    for place, line in enumerate(cart):
        item = reader.item(line.item_id)
        if item is not None:
            owned[item.item_row] = item.own_offers
        if place < first_counted:
            continue
        category, band = lookup.cart_rows(line, item)
        if item is not None and item.n and not withhold_affinity:
            found.cart.append(item)
        elif item is not None and item.has_vector:
            found.strangers.append(item.vector)
        elif category != NO_ROW:
            record = reader.context(category)
            if record is not None and record.has_vector:
                found.strangers.append(record.vector)
        rows = found.cart_context_rows
        if category != NO_ROW:
            rows[category] = rows.get(category, 0) + 1
        if band != NO_ROW:
            rows[band] = rows.get(band, 0) + 1
        found.n_cart += item is not None or category != NO_ROW or band != NO_ROW
    found.in_cart = _times(owned.values())


def offers_in_cart(items: Iterable[ItemView | None]) -> dict[int, int]:
    """How many different items each offer is or contains, of those given."""
    owned = {item.item_row: item.own_offers for item in items if item is not None}
    return _times(owned.values())


def _times(groups: Iterable[tuple[int, ...]]) -> dict[int, int]:
    """In how many of the groups each offer is."""
    times: dict[int, int] = {}
    for offers in groups:
        for offer in offers:
            times[offer] = times.get(offer, 0) + 1
    return times


def _gather_viewed(
    reader: Reader,
    request: Request,
    found: Gathered,
    *,
    withhold_affinity: bool,
) -> None:
    in_cart = {line.item_id for line in request.cart}
    recent = dict.fromkeys(
        item_id for item_id in reversed(request.viewed) if item_id not in in_cart
    )
    for item_id in islice(recent, MAX_CART_ROWS):
        item = reader.item(item_id)
        if item is None:
            continue
        found.n_viewed += 1
        if item.n and not withhold_affinity:
            found.viewed.append(item)
        elif item.has_vector:
            found.strangers.append(item.vector)


def _search(generation: Generation, strangers: list[Vector]) -> bytes | None:
    if generation.vectors is None:
        return None
    query: Vector = np.array(strangers, dtype=np.float32).sum(axis=0)
    norm = float(np.linalg.norm(query))
    if not norm > 0.0:
        return None
    rows, values = generation.vectors.nearest(
        query / np.float32(norm), generation.model.similar_top
    )
    return packed_pairs(rows, values)
