"""What every baseline learns from, what it is asked, and the one interface they share.

The learning cut is held in memory: all rows of the customers of the evaluation sample, plus counts
over the whole cut. Reading files and choosing the sample is left to `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from builder.metrics import Ints

UNKNOWN = -1

# Four whole weeks: every weekday counts alike, and a shop's monthly rhythm is in it once.
RECENT_DAYS = 28
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextColumn:
    """One context feature of every history row.

    Attributes:
        values: the different values; a code is a place in this tuple.
        codes: int64, shape (n,): the value of each row, -1 = unknown.
    """

    values: tuple[str, ...]
    codes: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class History:
    """Order lines of the learning cut, sorted by customer, then time, then order.

    A line whose item belongs to several offers stands here once for each of them. Equal only to
    itself, so that what is made of it can be kept.

    Attributes:
        customer: int64, shape (n,): dense customer index, -1 = guest.
        order: int64, shape (n,): dense order index in [0, n_orders).
        ts_us: int64, shape (n,): UTC microseconds.
        offer_row: int64, shape (n,): what was bought as an offer, -1 = the item belongs to none.
        item_row: int64, shape (n,): what was bought as an item.
        hour_of_week: int64, shape (n,): 0 = Monday 00h, -1 = unknown.
        context: the features the brand sends, by name.
        item_category: int64, shape (n_items,): top-level category of each item, -1 = unknown.
        n_customers: customers are 0 … n_customers - 1; some may have no rows.
        n_orders: orders are 0 … n_orders - 1.
        n_offers: candidates are the offers 0 … n_offers - 1.
        popularity: int64, shape (n_offers,): orders with the offer, in the whole cut.
        recent_popularity: int64, shape (n_offers,): the same over the cut's last RECENT_DAYS days.
    """

    customer: Ints
    order: Ints
    ts_us: Ints
    offer_row: Ints
    item_row: Ints
    hour_of_week: Ints
    context: Mapping[str, ContextColumn]
    item_category: Ints
    n_customers: int
    n_orders: int
    n_offers: int
    popularity: Ints
    recent_popularity: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question with its answer.

    Attributes:
        customer: dense index in the history, -1 = unknown there.
        hour_of_week: 0 = Monday 00h, -1 = unknown.
        context: the features known at this moment.
        cart: int64, item rows in the cart or in the order's first lines; may be empty.
        truth: int64, offer rows that were bought; what the metrics compare with.
        exclude: int64, offer rows that must not be ranked: those of the cart, and where repeats are
            out those the customer took before.
    """

    customer: int
    hour_of_week: int = UNKNOWN
    context: Mapping[str, str] = field(default_factory=dict)
    cart: Ints
    truth: Ints
    exclude: Ints


class Baseline(Protocol):
    """A method after learning."""

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        """The k offers to show to each, best first: int64, shape (n, k), without repetition.

        Padded with -1 only where fewer than k offers are not excluded. Where a method has nothing
        to say it goes on with the most popular offers.
        """
        ...


def make_history(
    *,
    customer: Ints,
    order: Ints,
    ts_us: Ints,
    offer_row: Ints,
    item_row: Ints,
    hour_of_week: Ints,
    context: Mapping[str, ContextColumn],
    item_category: Ints,
    n_customers: int,
    n_offers: int,
) -> History:
    """Sort lines into a history and count popularity over them.

    Args: as in History, in any row order; `order` may be any numbers, equal means same order.
    A caller that passes only a sample of the customers replaces the two popularities by counts over
    the whole cut.
    """
    sort = np.lexsort((order, ts_us, customer))
    dense = np.unique(order, return_inverse=True)[1]
    recent = ts_us > (ts_us.max() if ts_us.size else 0) - RECENT_DAYS * _DAY_US
    return History(
        customer=customer[sort],
        order=dense[sort],
        ts_us=ts_us[sort],
        offer_row=offer_row[sort],
        item_row=item_row[sort],
        hour_of_week=hour_of_week[sort],
        context={name: _reordered(column, sort) for name, column in context.items()},
        item_category=item_category,
        n_customers=n_customers,
        n_orders=int(dense.max()) + 1 if dense.size else 0,
        n_offers=n_offers,
        popularity=count_orders(dense, offer_row, n_offers),
        recent_popularity=count_orders(dense[recent], offer_row[recent], n_offers),
    )


def _reordered(column: ContextColumn, sort: Ints) -> ContextColumn:
    return ContextColumn(values=column.values, codes=column.codes[sort])


def count_orders(order: Ints, offer_row: Ints, n_offers: int) -> Ints:
    """In how many different orders each offer stands: int64, shape (n_offers,)."""
    offers = distinct_pairs(order, offer_row, n_offers)[1]
    return np.bincount(offers, minlength=n_offers)


def distinct_pairs(owner: Ints, row: Ints, n_rows: int) -> tuple[Ints, Ints]:
    """Each (owner, row) once, by owner and then row; pairs without a row (-1) are left out."""
    known = row >= 0
    keys = np.sort(owner[known] * n_rows + row[known])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return keys // n_rows, keys % n_rows
