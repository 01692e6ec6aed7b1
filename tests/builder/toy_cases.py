"""Questions about the toy shop's customers, with the answers that a test decides on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from builder.answering import K
from builder.cases import NEXT_ORDER, Case, Order
from index.request import Request
from tests.toys import toy_customer_key

NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)


def next_order(
    customer: str | None, truth: Sequence[int], context: Mapping[str, str] | None = None
) -> Case:
    """What a customer, or somebody nobody knows, orders next."""
    key = toy_customer_key(customer) if customer else None
    order = Order(
        key=key,
        order_key=1,
        bucket=0,
        at=NOON,
        hour_of_week=-1,
        context=context or {},
        item_ids=(),
        item_rows=(),
        own_offers=(),
    )
    return Case(
        question=NEXT_ORDER,
        order=order,
        key=key,
        request=Request(k=K, context=dict(order.context)),
        truth=np.array(truth),
        cart_rows=np.array([], dtype=np.int64),
    )
