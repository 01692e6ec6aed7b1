"""Bodies of requests: four of five from customers with a history, all with a cart and a context."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from bench.shoppers import busy_request, known_customer
from bench.synthetic import Shape
from index.request import Request

KNOWN_SHARE: Final = 0.8
CART_ITEMS: Final = 3


def request_bodies(shape: Shape, n: int) -> list[bytes]:
    """Bodies as a shop sends them: without a moment and without an id of its own."""
    return [msgspec.json.encode(_members(request)) for request in _requests(shape, n)]


def checkable_bodies(shape: Shape, n: int) -> list[bytes]:
    """The same shoppers' bodies with moment and id, so that one answer only is right."""
    return [
        msgspec.json.encode(_members(request) | {"at": request.at, "request_id": f"check-{number}"})
        for number, request in enumerate(_requests(shape, n))
    ]


def _requests(shape: Shape, n: int) -> list[Request]:
    rng = np.random.default_rng(shape.seed + 2)
    known = rng.random(n) < KNOWN_SHARE
    numbers = rng.integers(0, shape.n_customers, n).tolist()
    return [
        busy_request(
            rng,
            shape,
            known_customer(number, thin=False, shape=shape) if is_known else None,
            CART_ITEMS,
        )
        for number, is_known in zip(numbers, known.tolist(), strict=True)
    ]


def _members(request: Request) -> dict[str, Any]:
    members: dict[str, Any] = {"placement": request.placement, "k": request.k}
    if request.customer_id is not None:
        members["customer_id"] = request.customer_id
    cart = [{"item_id": line.item_id, "quantity": 1} for line in request.cart]
    return members | {"context": request.context, "cart": cart}
