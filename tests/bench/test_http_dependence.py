"""What answers depend on, told of services that are known to depend on just that."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from bench.http_dependence import Answering, Dependence, dependence
from bench.http_requests import checkable_bodies
from bench.synthetic import Shape
from index.decide import decide
from index.generation import Generation
from index.request import Request

OFFERS = [f"item-{number}" for number in range(30)]


def constant(body: bytes) -> list[str]:
    return OFFERS[:10]


def filtering(body: bytes) -> list[str]:
    cart = {line["item_id"] for line in orjson.loads(body)["cart"]}
    return [offer for offer in OFFERS if offer not in cart][:10]


def personal(body: bytes) -> list[str]:
    start = int(orjson.loads(body)["customer_id"].rpartition("-")[2]) // 10 % 10
    return OFFERS[start : start + 10]


def timely(body: bytes) -> list[str]:
    return OFFERS[:10][:: 1 if orjson.loads(body)["at"] < "2026-11-24" else -1]


@pytest.mark.parametrize(
    ("answering", "customer", "cart", "moment"),
    [
        (constant, "no", "no", "no"),
        (filtering, "no", "left out", "no"),
        (personal, "yes", "no", "no"),
        (timely, "no", "no", "yes"),
    ],
)
def test_a_service_depends_on_what_it_was_written_to_depend_on(
    answering: Answering,
    customer: Dependence,
    cart: Dependence,
    moment: Dependence,
    shape: Shape,
) -> None:
    found = dependence(answering, checkable_bodies(shape, 20))

    assert found == {"customer": customer, "cart": cart, "moment": moment}


def test_a_decision_depends_on_all_three(generation: Generation, shape: Shape) -> None:
    def answering(body: bytes) -> list[str]:
        request = msgspec.json.decode(body, type=Request)
        return [offer.offer_id for offer in decide(generation, request).offers]

    found = dependence(answering, checkable_bodies(shape, 20))

    assert found == {"customer": "yes", "cart": "yes", "moment": "yes"}
