"""Warming up: decisions that nobody waits for, so that the first somebody does is like the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Final

from index.answer import answer, answer_for_key
from index.decide import decide_for_key
from index.generation import DAMAGE, Generation
from index.request import CartLine, ContextValue, Request

_ROUNDS: Final = 42
_GOLDEN: Final = 64


def warm_up(generation: Generation) -> None:
    """Decide a few hundred times, which takes milliseconds, before anybody asks.

    Brings code, the upper pages of every table and the commonest rows close to the processor.

    Args:
        generation: open.
    """
    for one in generation.manifest.golden[:_GOLDEN]:
        decide_for_key(generation, one.request, bytes.fromhex(one.key) if one.key else None)
    now = datetime.now(UTC)
    decide_for_key(generation, Request(at=now, explain=True), None)
    known: dict[str, list[ContextValue]] = {
        feature.name: [*islice(feature.rows, _ROUNDS)]
        for feature in generation.model.features
        if feature.rows
    }
    names = [offer.offer_id for offer in generation.safe_offers] or ["nothing"]
    keys = _some_customers(generation)
    answer(generation, Request(at=now, customer_id="nobody"))
    # Last what will be asked next, as it will be asked: items that nobody asked for yet.
    for place in range(_ROUNDS):
        context = {name: values[place % len(values)] for name, values in known.items()}
        cart = [CartLine(item_id=names[(3 * place + line) % len(names)]) for line in range(3)]
        request = Request(at=now, cart=cart, context=context)
        answer_for_key(generation, request, keys[place % len(keys)])


def _some_customers(generation: Generation) -> list[bytes | None]:
    try:
        found: list[bytes | None] = [*generation.some_customers(_ROUNDS)]
    except DAMAGE:
        found = []  # told of when somebody asks: what is left is answered from
    return found or [None]
