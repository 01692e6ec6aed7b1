"""Answers as bytes: what is written as it is decided is what a decision written afterwards is."""

from __future__ import annotations

import json

import pytest

from index.answer import answer
from index.decide import decide
from index.encode import decision_json, offer_fragment
from index.generation import Generation, Reader
from index.overlaying import lay_over
from index.request import Request
from tests.index.asking import EVERYTHING, NOW, Shop
from tests.index.test_overlay import overlay
from tests.toys import N_OFFERS, toy_offer

ODD_IDS = ['say "hi"', "a\\b", "Käse", "日本", "\x00\x1f", "\x7f", "emoji 🎁", " ", "x" * 5000]


def same(generation: Generation, request: Request) -> bool:
    return answer(generation, request).body == decision_json(decide(generation, request))


def test_texts_of_any_kind_are_written_alike(shop: Shop) -> None:
    """Escaped where they have to be, and however long."""
    odd = {
        row: toy_offer(row)._replace(
            offer_id=ODD_IDS[row % len(ODD_IDS)] + str(row),
            fragment=offer_fragment({"title": "T" * (row * 300)}) if row % 3 else b"",
        )
        for row in range(N_OFFERS)
    }
    generation = shop(offers=odd)
    request = Request(k=N_OFFERS)

    shown = json.loads(answer(generation, request).body)["offers"]

    assert {one["offer_id"] for one in shown} == {one.offer_id for one in odd.values()}
    assert all(same(generation, Request(k=k)) for k in (1, 3, 20, N_OFFERS))


def test_an_overlay_is_heeded_as_soon_as_it_is_there_and_until_it_is_gone(toy: Generation) -> None:
    before = answer(toy, EVERYTHING)
    first, second = (offer.offer_row for offer in decide(toy, EVERYTHING).offers[:2])

    lay_over(toy, overlay(kills={first}, prices={second: 7.5}), NOW)
    during = json.loads(answer(toy, EVERYTHING).body)["offers"]
    alike = same(toy, EVERYTHING)
    lay_over(toy, None, NOW)

    assert alike
    assert during[0]["offer_id"] == decide(toy, EVERYTHING).offers[1].offer_id
    assert answer(toy, EVERYTHING) == before


def test_what_is_counted_is_what_was_answered(toy: Generation) -> None:
    for request in (EVERYTHING, Request(k=1), Request(explain=True, exclude=["nothing"])):
        told, decision = answer(toy, request), decide(toy, request)
        assert (told.tier, told.n_offers) == (decision.tier, len(decision.offers))
        assert told.first_score == decision.offers[0].score
        assert (told.request_id, told.snapshot_id) == (
            decision.request_id,
            decision.snapshot_id,
        )


def test_a_damaged_table_gives_the_safe_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = shop()
    monkeypatch.setattr(Reader, "customer_data", lambda *_: memoryview(b"short"))
    told = answer(generation, EVERYTHING)

    assert (told.tier, generation.damaged) == ("safe", 1)
    assert same(generation, EVERYTHING)
