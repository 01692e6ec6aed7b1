"""What goes into a snapshot beside its tables."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from builder.assemble import GOLDEN, golden_requests
from builder.cases import NEXT_ORDER, POST_PURCHASE, Case, Order, make_case
from builder.signals.context import ContextTable
from builder.signals.rows import SparseRows

QUESTIONS = (NEXT_ORDER, POST_PURCHASE)
NAMES = [("device", "mobile"), ("store", "12")]
CONTEXTS = ContextTable(
    names=NAMES,
    n_orders=[50, 50],
    rows=SparseRows(
        starts=np.zeros(3, dtype=np.int64),
        rows=np.empty(0, dtype=np.uint32),
        values=np.empty(0, dtype=np.float32),
        counts=np.empty(0, dtype=np.uint32),
    ),
)


def cases(n_orders: int) -> list[Case]:
    """Both questions about each order, one after the other."""
    orders = [
        Order(
            key=place.to_bytes(16, "big"),
            order_key=place,
            bucket=0,
            at=datetime(2025, 7, 1, tzinfo=UTC),
            hour_of_week=24,
            context={"device": "Mobile", "store": "13", "note": f"for person {place}"},
            item_ids=("a", "b"),
            item_rows=(0, 1),
            own_offers=((0,), (1,)),
        )
        for place in range(n_orders)
    ]
    made = [make_case(order, question, k=10) for order in orders for question in QUESTIONS]
    return [case for case in made if case is not None]


@pytest.mark.parametrize("n_orders", [0, 1, 127, 128, 129, 200, 256, 257, 512, 5000])
def test_golden_requests_are_of_both_kinds_and_spread_over_all(n_orders: int) -> None:
    golden = golden_requests(cases(n_orders), CONTEXTS)
    n_golden = min(GOLDEN, 2 * n_orders)

    assert len(golden) == n_golden
    for question in QUESTIONS:
        keys = [key for key, request in golden if request.placement == question]
        places = [int.from_bytes(key or b"", "big") for key in keys]
        assert len(places) == n_golden // 2
        assert places == sorted(places)
        assert not places or places[-1] >= n_orders - max(2, n_orders // 64)


def test_golden_requests_keep_only_contexts_that_the_tables_name() -> None:
    contexts = [request.context for _, request in golden_requests(cases(9), CONTEXTS)]

    assert contexts == [{"device": "Mobile"}] * 18
