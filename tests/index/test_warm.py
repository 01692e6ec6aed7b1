"""Warming up: whatever a snapshot holds, and without a trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from index.answer import answer
from index.compiled import IS_COMPILED
from index.generation import Reader
from index.model import Feature
from index.request import Request
from index.tables import Table, TableError, TableTransaction
from index.warm import warm_up
from tests.index.asking import EVERYTHING, Shop, lines
from tests.toys import N_OFFERS, item_id, toy_customer_key, toy_model


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


def test_every_table_is_mapped_before_it_is_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 38."""
    touched: list[str] = []
    monkeypatch.setattr(Table, "touch", lambda table: touched.append(table.path.name))

    warm_up(shop())

    assert touched == ["customers.lmdb", "contexts.lmdb", "items.lmdb", "offers.lmdb"]


def asked_for(monkeypatch: pytest.MonkeyPatch, kind: str) -> list[object]:
    """What readers look up in one kind of table from now on, in that order."""
    asked: list[object] = []
    look_up = getattr(Reader, kind)

    def noted(reader: Reader, name: object) -> object:
        asked.append(name)
        return look_up(reader, name)

    monkeypatch.setattr(Reader, kind, noted)
    return asked


@pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")
def test_what_is_asked_for_most_was_looked_up_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = shop()
    asked = [asked_for(monkeypatch, f"{kind}_data") for kind in ("context", "offer", "item")]

    warm_up(generation)
    contexts, offers, items = asked
    assert set(offers) == set(range(N_OFFERS))
    assert {item_id(row) for row in range(N_OFFERS)} <= set(items)
    assert set(contexts) >= set(range(generation.model.n_contexts))
    for one in asked:
        one.clear()
    request = Request(cart=lines(1, 2), context={"device": "mobile"}, k=20, customer_id="ann")
    assert answer(generation, request).n_offers == 20
    assert asked == [[], [], []]


@pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")
def test_of_too_many_offers_the_most_popular_are_looked_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.warm._KNOWN", 7)
    monkeypatch.setattr("index.warm._AT_ONCE", 3)
    monkeypatch.setattr("index.warm._ROUNDS", 0)
    generation = shop(model=toy_model(prior=toy_model().prior[::-1].copy()))
    items = asked_for(monkeypatch, "item_data")

    warm_up(generation)

    assert items == [item_id(row) for row in range(N_OFFERS - 7, N_OFFERS)]


def test_damage_found_while_looking_up_is_told_to_who_asks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = shop()
    monkeypatch.setattr("index.warm._ROUNDS", 0)
    with monkeypatch.context() as broken:

        def damaged(_: Reader, row: int) -> None:
            raise TableError(f"page of offer {row} is damaged")

        broken.setattr(Reader, "offer_data", damaged)
        warm_up(generation)
        before = generation.damaged
        answer(generation, EVERYTHING)
        assert generation.damaged == before + 1

    assert answer(generation, EVERYTHING).tier == "individual"
