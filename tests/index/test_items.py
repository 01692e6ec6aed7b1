"""Items that compiled code found once: it finds the same again, whatever they are called."""

from __future__ import annotations

import random
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.compiled import IS_COMPILED
from index.decide import decide
from index.layout import NO_ROW
from index.records import NO_PRICE, ItemRecord
from index.request import CartLine, Request
from index.snapshot import open_snapshot
from tests.toys import N_OFFERS, SECRET, item_id, write_toy

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")

PLACES = 1 << 15
"""Of `Items` in compiled code; an id tries eight of them, beginning with that of its hash."""
IN_THE_SAME_PLACE = [
    *islice((name for n in count() if hash(name := f"sku-{n}") % PLACES in (9, 10)), 24)
]
ODD = [
    "x",
    "é" * 46,
    "é" * 47,
    "日本語" * 7,
    "日本語" * 8,
    "🙂" * 11,
    "🙂" * 12,
    "half \ud83d",
    "a" * 46,
    "a" * 47,
    "a" * 512,
    "nul \0 and more",
    "nul \0 and less",
]


class Alike(str):
    """Text whose hash is that of any other."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 9


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    names = IN_THE_SAME_PLACE + ODD
    write_toy(tmp_path / "snapshot", items={name: item(n) for n, name in enumerate(names)})
    return tmp_path / "snapshot"


def item(number: int) -> ItemRecord:
    """One that goes with an offer that no other goes with."""
    return ItemRecord(
        item_row=number,
        n_orders=5,
        price_cents=NO_PRICE,
        category_row=NO_ROW,
        own_offers=[],
        rows=np.array([number % N_OFFERS], dtype=np.uint32),
        values=np.array([20.0 + number], dtype=np.float32),
        counts=np.ones(1, dtype=np.uint32),
        vector=np.empty(0, dtype=np.float32),
    )


@pytest.mark.parametrize("kind", [str, Alike])
def test_every_id_is_told_from_every_other(snapshot: Path, kind: type[str]) -> None:
    names = [kind(name) for name in (*IN_THE_SAME_PLACE, *ODD)]
    asked = [*range(len(names))] * 3
    random.Random(5).shuffle(asked)
    with open_snapshot(snapshot, SECRET) as generation:
        for number in asked:
            cart = [CartLine(item_id="unknown"), CartLine(item_id=names[number])]
            first = decide(generation, Request(cart=cart, k=1)).offers[0]
            assert first.offer_row == number % N_OFFERS
            assert round(first.score) == round(
                20 + number + generation.model.prior[first.offer_row]
            )


def test_what_is_like_a_text_is_taken_for_one(snapshot: Path) -> None:
    with open_snapshot(snapshot, SECRET) as generation:
        for name in (np.str_("x"), item_id(1), "x", np.str_("x")):
            cart = [CartLine(item_id=name)]
            assert decide(generation, Request(cart=cart)).offers[0].score > -2


@pytest.mark.parametrize("name", [None, 7, b"x"])
def test_what_is_no_text_is_a_callers_mistake(snapshot: Path, name: Any) -> None:
    with open_snapshot(snapshot, SECRET) as generation:
        for _ in range(2):
            with pytest.raises((AttributeError, TypeError)):
                decide(generation, Request(cart=[CartLine(item_id=name)]))
        assert generation.damaged == 0


def test_what_only_encodes_like_a_text_is_asked_of_the_table(snapshot: Path) -> None:
    """And not remembered: it has no place in memory that a text has."""

    class Encodes:
        def encode(self) -> bytes:
            return b"x"

    with open_snapshot(snapshot, SECRET) as generation:
        for _ in range(2):
            cart: Any = [CartLine(item_id=Encodes())]  # type: ignore[arg-type]
            assert decide(generation, Request(cart=cart)).offers[0].score > -2
