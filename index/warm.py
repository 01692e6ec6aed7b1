"""Warming up: decisions that nobody waits for, so that the first somebody does is like the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from time import sleep
from typing import Final

import msgspec
import numpy as np

from index.answer import answer, answer_for_key
from index.decide import decide_for_key
from index.generation import DAMAGE, Generation
from index.plain import plain_decider
from index.request import CartLine, ContextValue, Request

_read = msgspec.json.Decoder(Request)
_ROUNDS: Final = 42
_GOLDEN: Final = 64
_KNOWN: Final = 16_384
"""Offers, and contexts, that are looked up."""
_AT_ONCE: Final = 256
_PAUSE_S: Final = 1e-4


def warm_up(generation: Generation) -> None:
    """Map the tables, look up what is asked for most, and decide some times, before anybody asks.

    Takes some 40 milliseconds and 30 more for each gigabyte of tables, during which another thread
    may well answer from another snapshot. Brings code and the commonest rows close to the
    processor.

    Args:
        generation: open.
    """
    generation.touch()
    _look_up(generation)
    for one in generation.manifest.golden[:_GOLDEN]:
        decide_for_key(generation, one.request, bytes.fromhex(one.key) if one.key else None)
    now = datetime.now(UTC)
    decide_for_key(generation, Request(at=now, explain=True), None)
    known: dict[str, list[ContextValue]] = {
        feature.name: [*islice(feature.rows, _ROUNDS)]
        for feature in generation.model.features
        if feature.rows and feature.kind == "request"
    }
    names = [offer.offer_id for offer in generation.safe_offers] or ["nothing"]
    keys = _some_customers(generation)
    answer(generation, Request(at=now, customer_id="nobody"))
    # Last what will be asked next, as it will be asked: a minute that nobody asked for yet.
    for place in range(_ROUNDS):
        context = {name: values[place % len(values)] for name, values in known.items()}
        cart = [CartLine(item_id=names[(3 * place + line) % len(names)]) for line in range(3)]
        at = now + timedelta(minutes=place)
        asked = msgspec.json.encode(Request(at=at, cart=cart, context=context))
        generation.key_of("nobody")
        answer_for_key(generation, _read.decode(asked), keys[place % len(keys)])


def _look_up(generation: Generation) -> None:
    """Let the reader that will answer know where contexts lie, and the most popular offers."""
    prior, n_contexts = generation.model.prior, generation.model.n_contexts
    offers = np.arange(len(prior), dtype=np.uint32)
    if len(offers) > _KNOWN:
        offers = np.sort(np.argpartition(-prior, _KNOWN)[:_KNOWN].astype(np.uint32))
    contexts = np.arange(min(n_contexts, _KNOWN), dtype=np.uint32)
    with generation.reading() as reader:
        try:
            if (plain := plain_decider(generation, reader)) is None:
                return
            for start in range(0, max(len(offers), len(contexts)), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                plain.look_up(contexts[part], offers[part])
                sleep(_PAUSE_S)  # or who answers meanwhile would wait for the interpreter's lock
        except DAMAGE:
            reader.renew()  # told of when somebody asks


def _some_customers(generation: Generation) -> list[bytes | None]:
    try:
        found: list[bytes | None] = [*generation.some_customers(_ROUNDS)]
    except DAMAGE:
        found = []  # told of when somebody asks: what is left is answered from
    return found or [None]
