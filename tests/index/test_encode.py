"""Answers as JSON: compiled code writes the very bytes that Python would."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from index import encode
from index.compiled import IS_COMPILED
from index.encode import decision_json
from index.request import ChosenOffer, Decision

needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")


def chosen(number: float, *, name: str = "item-1", fragment: bytes = b'"title":"x"') -> ChosenOffer:
    return ChosenOffer(name, 7, 3, number, 1.0 - number, number / 3.0, fragment)


def in_python(offers: list[ChosenOffer]) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "IS_COMPILED", False)
        return decision_json(Decision("d", "r", "s", "prior", offers))


def compiled(offers: list[ChosenOffer]) -> bytes:
    return decision_json(Decision("d", "r", "s", "prior", offers))


@needs_compiler
@given(st.floats() | st.floats(-30, 30) | st.floats(-30, 30, width=32))
@example(999999.5)
@example(99999.95)
@example(0.0001)
@example(-0.0)
@example(9.999995)
def test_any_number_is_written_with_six_digits(number: float) -> None:
    assert compiled([chosen(number)]) == in_python([chosen(number)])


@needs_compiler
def test_many_numbers_of_the_size_of_scores() -> None:
    draw = random.Random(1)
    numbers = [draw.uniform(-20, 5) for _ in range(3000)]
    numbers += [float(np.float32(draw.gauss(0, 3))) for _ in range(3000)]
    numbers += [round(draw.uniform(-100, 100), draw.randrange(7)) for _ in range(3000)]
    numbers += [10 ** draw.uniform(-8, 8) for _ in range(3000)]
    offers = [chosen(number) for number in numbers]
    assert compiled(offers) == in_python(offers)


@needs_compiler
@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=5))
def test_any_id_is_written_as_a_text(name: str, fragment: bytes) -> None:
    offers = [chosen(1.5, name=name, fragment=fragment), chosen(-2.0)]
    assert compiled(offers) == in_python(offers)


@needs_compiler
def test_no_offers_and_many() -> None:
    for n in (0, 1, 100):
        offers = [chosen(-n / 7.0, name=f"item-{n}", fragment=b"x" * n) for _ in range(n)]
        assert compiled(offers) == in_python(offers)
