"""Which offers are asked for and ranked, by every method alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builder.cases import NEXT_ORDER, POST_PURCHASE, Case
from builder.evaluate import Measured, measure
from builder.history import Past
from builder.line_counts import offers_with_lines
from builder.metrics import Bools
from builder.signals.orders import DAY_US
from builder.slices import LoadSlice, read_slice
from builder.split import Cut
from index.generation import Generation
from tests.builder.signal_shops import MEMORY_BYTES, Line, write_shop
from tests.builder.small_history import history
from tests.builder.toy_cases import next_order
from tests.toys import N_OFFERS, toy_customer_key

POPULAR = [(0, 1, [offer]) for offer in range(20) for _ in range(40 - offer)]
"""Every offer below 20 in some orders, the lower the row the more of them."""


def case(*truth: int) -> Case:
    """What `ann`, who loves 30 and 31, orders next."""
    return next_order("ann", truth)


def recalls(measured: Measured) -> dict[str, float]:
    """Recall@10 of the warm customers by method."""
    (warm, *_) = measured.slices
    return {one.method: one.recall.mean.value for one in warm.methods}


def measured(generation: Generation, *cases: Case, only: Bools | None = None) -> Measured:
    past = Past(
        history=history(POPULAR, n_customers=1, n_offers=N_OFFERS),
        customers={toy_customer_key("ann"): 0},
    )
    return measure(
        generation,
        NEXT_ORDER,
        cases,
        past,
        tuning_cases=(),
        tuning_past=past,
        only=only,
        methods=("default", "frequency"),
        ablate=1,
        seed=0,
    )


def test_all_offers_are_asked_for_unless_told_otherwise(toy: Generation) -> None:
    # Ours are 30, 31 and 0 to 7; theirs 0 to 9.
    found = measured(toy, case(0, 9, 30, 31))

    assert recalls(found) == {"almanac": 0.75, "default": 0.5, "frequency": 0.5}
    assert found.slices[0].methods[0].exposure.coverage == 10 / N_OFFERS


def test_what_is_left_out_is_asked_for_by_nobody_and_ranked_by_nobody(toy: Generation) -> None:
    only = np.ones(N_OFFERS, dtype=np.bool_)
    only[[0, 1, 2, 3, 31]] = False
    found = measured(toy, case(0, 9, 13, 30, 31), case(0), only=only)

    # The second customer wanted nothing else; ours are 30 and 4 to 12, theirs 4 to 13.
    assert found.slices[0].n_examples == 1
    assert recalls(found) == {
        "almanac": pytest.approx(2 / 3),
        "default": pytest.approx(2 / 3),
        "frequency": pytest.approx(2 / 3),
    }
    assert found.slices[0].methods[0].exposure.coverage == 10 / (N_OFFERS - 5)


def test_a_slice_says_what_each_signal_is_worth_there(toy: Generation) -> None:
    found = measured(toy, case(30, 0), case(31, 0))
    warm = found.ablation[0]

    # Half of what each of them wanted; one of the two was asked again.
    assert (warm.slice_name, warm.n_examples) == ("warm", 1)
    assert {one.signal: one.recall.value for one in warm.signals}["personal"] == 0.5


def test_lines_are_counted_before_the_cut_for_each_offer_of_an_item(tmp_path: Path) -> None:
    lines = [
        # Item 0 stands twice in one order; item 1 is in offers 1 and 2; item 2 comes too late.
        Line(customer=1, order=1, item=0, day=1),
        Line(customer=1, order=1, item=0, day=1),
        Line(customer=2, order=2, item=1, day=2),
        Line(customer=0, order=3, item=1, day=2),
        Line(customer=2, order=4, item=1, day=3, kind=1),
        Line(customer=2, order=5, item=2, day=12),
        Line(customer=2, order=6, item=2, day=13),
    ]
    shop = write_shop(
        tmp_path / "shop", lines, n_items=3, item_offers=[(0, 0), (1, 1), (1, 2), (2, 2)]
    )

    def standing(min_lines: int, until_day: int) -> list[bool]:
        found = offers_with_lines(
            shop.partitions,
            shop.vocabulary,
            Cut(until_us=until_day * DAY_US, holdout_share=0.0),
            n_offers=3,
            target_kind=0,
            min_lines=min_lines,
            memory_bytes=MEMORY_BYTES,
            temp_dir=tmp_path,
        )
        return list(found.tolist())

    assert standing(2, 10) == [True, True, True]
    assert standing(3, 10) == [False, False, False]
    assert standing(3, 20) == [False, False, True]


def test_a_slice_holds_its_questions_and_what_was_known_before_it(tmp_path: Path) -> None:
    lines = [
        Line(customer=1, order=1, item=0, day=1),
        Line(customer=1, order=2, item=0, day=2),
        Line(customer=2, order=3, item=1, day=2),
        # After the cut: what is known often enough, and what is not; then nothing of the former.
        Line(customer=1, order=4, item=0, day=11),
        Line(customer=1, order=4, item=1, day=11),
        Line(customer=2, order=5, item=1, day=12),
        Line(customer=2, order=6, item=0, day=22),
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=2, item_offers=[(0, 0), (1, 1)])
    cut = Cut(until_us=10 * DAY_US, holdout_share=0.0)
    task = LoadSlice(
        label="measured",
        partitions=tuple(shop.partitions),
        vocabulary=shop.vocabulary,
        cut=cut,
        until_us=20 * DAY_US,
        without=None,
        judged=cut,
        min_orders=2,
        n_items=2,
        n_offers=2,
        target_kind=0,
    )
    task.run(tmp_path, MEMORY_BYTES)
    found = read_slice(tmp_path)

    assert found.only is not None
    assert found.only.tolist() == [True, False]
    asked = [(case.question, case.truth.tolist()) for case in found.cases]
    assert asked == [(NEXT_ORDER, [0, 1]), (POST_PURCHASE, [1])]
    assert found.past.history.popularity.tolist() == [2, 1]
    assert found.past.offers_of(found.cases[0].key).tolist() == [0, 0]
