"""Histories and questions small enough to be worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from builder.baselines import data
from builder.baselines.data import ContextColumn, Example, History
from builder.metrics import Ints

DAY_US = 86_400_000_000
NONE = np.empty(0, dtype=np.int64)


def rows(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def history(
    orders: Sequence[tuple[int, int, list[int]]],
    *,
    n_customers: int = 3,
    n_offers: int = 5,
    categories: Sequence[int] | None = None,
    hours: Sequence[int] | None = None,
    context: Mapping[str, Sequence[str]] | None = None,
) -> History:
    """Orders as (customer, day, offers), each item being its own offer; context by order."""
    line_order = np.repeat(np.arange(len(orders)), [len(offers) for _, _, offers in orders])
    offer_row = rows(*(offer for _, _, offers in orders for offer in offers))
    return data.make_history(
        customer=rows(*(customer for customer, _, _ in orders))[line_order],
        order=line_order,
        ts_us=rows(*(day * DAY_US for _, day, _ in orders))[line_order],
        offer_row=offer_row,
        item_row=offer_row,
        hour_of_week=rows(*(hours or [-1] * len(orders)))[line_order],
        context={name: column(values, line_order) for name, values in (context or {}).items()},
        item_category=rows(*(categories or [-1] * n_offers)),
        n_customers=n_customers,
        n_offers=n_offers,
    )


def column(values: Sequence[str], line_order: Ints) -> ContextColumn:
    names = tuple(sorted(set(values)))
    return ContextColumn(values=names, codes=rows(*map(names.index, values))[line_order])


def ask(
    customer: int = -1,
    *,
    cart: Ints = NONE,
    exclude: Ints = NONE,
    hour_of_week: int = -1,
    context: Mapping[str, str] | None = None,
) -> Example:
    return Example(
        customer=customer,
        hour_of_week=hour_of_week,
        context=context or {},
        cart=cart,
        truth=NONE,
        exclude=exclude,
    )


CARTS = [
    (0, 1, [0, 1]),
    (0, 2, [0, 1]),
    (1, 1, [0, 2]),
    (2, 1, [2, 3]),
    (2, 2, [2, 3]),
    (2, 3, [2]),
]
