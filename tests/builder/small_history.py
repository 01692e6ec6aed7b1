"""Histories and questions small enough to be worked by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from builder.baselines import data
from builder.baselines.data import Baseline, ContextColumn, Example, History
from builder.baselines.ranking import Entries
from builder.metrics import PADDING, Floats, Ints

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


def offers_for(method: Baseline, example: Example, k: int) -> list[int]:
    """What one example alone is shown."""
    return [row for row in method.rank([example], k)[0].tolist() if row != PADDING]


class Scoring(Protocol):
    """A baseline that ranks by scores."""

    @property
    def popular(self) -> Ints: ...

    def scores(self, examples: Sequence[Example]) -> Iterator[Entries]: ...


def scores_for(method: Scoring, example: Example) -> Floats:
    """What each offer scores for one example alone, 0 where it has no score."""
    [(columns, scores)] = method.scores([example])
    dense = np.zeros(method.popular.size)
    dense[method.popular[columns]] = scores
    return dense


CARTS = [
    (0, 1, [0, 1]),
    (0, 2, [0, 1]),
    (1, 1, [0, 2]),
    (2, 1, [2, 3]),
    (2, 2, [2, 3]),
    (2, 3, [2]),
]
