"""Requests of a busy hour at a synthetic shop: one moment, many shoppers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from bench.synthetic import COUNTRIES, DEVICES, SOURCES, Shape, customer_id, is_thin, item_id
from index.request import CartLine, Request

_MONDAY: Final = datetime(2026, 11, 23, tzinfo=UTC)


def known_customer(number: int, *, thin: bool, shape: Shape) -> str:
    """Id of a customer near a number who has one order, or many."""
    number -= number % 10
    number = number if thin else number + 1
    number %= shape.n_customers
    assert is_thin(number) == thin
    return customer_id(number)


def busy_request(
    rng: np.random.Generator,
    shape: Shape,
    customer: str | None,
    n_cart: int,
    *,
    new_item: bool = False,
) -> Request:
    """One shopper's request.

    Context values follow a shop's habits (most on the phone, most from two sources), so nearly all
    requests share a few combinations, as they do in any one hour of a real shop.
    """
    old = shape.n_offers * 99 // 100
    cart = (
        (old + rng.integers(0, shape.n_offers - old, n_cart))
        if new_item
        else (old * rng.random(n_cart) ** 2).astype(int)
    )
    return Request(
        placement="checkout",
        customer_id=customer,
        k=10,
        at=_MONDAY + timedelta(hours=20, seconds=float(rng.integers(0, 3600))),
        context={
            "device": DEVICES[min(int(rng.exponential(0.6)), 2)],
            "referrer_source": SOURCES[min(int(rng.exponential(1.0)), 4)],
            "country": COUNTRIES[min(int(rng.exponential(1.5)), 19)],
        },
        cart=[CartLine(item_id=item_id(int(number))) for number in cart],
    )
