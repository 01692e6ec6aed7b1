"""Requests as bytes: four of five from customers with a history, all with a cart and a context."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np

from bench.shoppers import busy_request, known_customer
from bench.synthetic import Shape
from index.request import Request

KNOWN_SHARE: Final = 0.8
CART_ITEMS: Final = 3
_WIRE: Final = (
    b"POST %b HTTP/1.1\r\nhost: %b\r\naccept: */*\r\n%b"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)


def request_bodies(shape: Shape, n: int) -> list[bytes]:
    """Bodies as a shop sends them: without a moment and without an id of its own."""
    return [msgspec.json.encode(_members(request)) for request in _requests(shape, n)]


def checkable_bodies(shape: Shape, n: int) -> list[bytes]:
    """The same shoppers' bodies with moment and id, so that one answer only is right."""
    return [
        msgspec.json.encode(_members(request) | {"at": request.at, "request_id": f"check-{number}"})
        for number, request in enumerate(_requests(shape, n))
    ]


def on_the_wire(
    body: bytes, *, path: str = "/v1/offers", host: str = "127.0.0.1", stays: bool = True
) -> bytes:
    """A body as an HTTP/1.1 request.

    Args:
        body: JSON.
        path: what is posted to.
        host: what the request names as its host.
        stays: the connection is to stay for the next request.
    """
    closing = b"" if stays else b"connection: close\r\n"
    return _WIRE % (path.encode(), host.encode(), closing, len(body), body)


def traced_on_the_wire(body: bytes) -> bytes:
    """The same with a head of its own, as callers that trace, and proxies, bring it."""
    head, end, rest = on_the_wire(body).partition(b"\r\n")
    trace = blake2b(body, digest_size=24).hexdigest().encode()
    return b"%b%btraceparent: 00-%b-%b-01%b%b" % (head, end, trace[:32], trace[32:], end, rest)


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
