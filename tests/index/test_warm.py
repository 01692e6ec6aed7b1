"""Warming up: whatever a snapshot holds, and without a trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from index.answer import answer
from index.model import Feature
from index.request import Request
from index.tables import TableError, TableTransaction
from index.warm import warm_up
from tests.index.asking import EVERYTHING, Shop
from tests.toys import toy_customer_key, toy_model


def test_a_snapshot_answers_as_before_and_everything_was_asked_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    golden = replace(EVERYTHING, customer_id=None)
    generation = shop(golden=[(toy_customer_key("ann"), golden)])
    before = answer(generation, EVERYTHING).body

    def noted(_: object, request: Request, *rest: object, **named: object) -> None:
        asked.append(request)

    warm_up(generation)
    assert answer(generation, EVERYTHING).body == before
    assert generation.damaged == 0
    monkeypatch.setattr("index.warm.decide_for_key", noted)
    monkeypatch.setattr("index.warm.answer", noted)
    monkeypatch.setattr("index.warm.answer_for_key", noted)
    warm_up(generation)
    values = {
        (name, value) for request in asked for name, value in request.context.items() if value
    }
    assert {("device", "mobile"), ("device", "desktop")} <= values
    assert golden in asked
    assert any(request.explain for request in asked)


def test_a_feature_without_values_is_no_hindrance(shop: Shop) -> None:
    known = tuple(one for one in toy_model().features if one.kind != "request")
    empty = Feature(name="device", kind="request", rows={})
    for features in (known, (*known, empty)):
        generation = shop(model=toy_model(features=features))
        warm_up(generation)
        assert generation.damaged == 0


def test_a_damaged_table_is_no_hindrance(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can't be answered from tables is answered from memory, once there is somebody."""
    generation = shop()

    def damaged(_: object) -> Iterator[tuple[bytes, bytes]]:
        raise TableError("page is damaged")

    monkeypatch.setattr(TableTransaction, "records", damaged)
    warm_up(generation)

    assert generation.damaged == 0
