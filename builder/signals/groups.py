"""What a customer's orders say about an offer's category: how often, how lately, is it due.

Someone who bought milk yesterday needs no other milk today: what was taken of a category tells of
each offer in it, those included that the customer never had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from builder.signals.candidates import Candidates, distinct, find
from builder.signals.histories import Floats, Histories, Ints

_HALF_LIFE_GAPS: Final = 7.0
_PSEUDO_ORDERS: Final = 0.1
_PSEUDO_GAPS: Final = 5.0
_PSEUDO_USES: Final = 5.0
_LONG_GAPS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visits:
    """Orders of each (customer, category), categories of one customer rising.

    Attributes:
        keys: int64, customer * n_categories + category, rising.
        n_orders: orders that held something of it.
        decayed: the same, each order decayed.
        newest, oldest: ages in usual times between two orders.
    """

    keys: Ints
    n_orders: Floats
    decayed: Floats
    newest: Floats
    oldest: Floats


def group_columns(
    histories: Histories, candidates: Candidates, numbers: Ints, order_gap_days: float
) -> Iterator[Floats]:
    """Columns of `features.GROUP_FEATURES`; 0 where the offer has no category.

    Args:
        histories: of the customers.
        candidates: of the same customers.
        numbers: int64, shape (n_offers,): each offer's category, -1 for none.
        order_gap_days: the shop's usual time between two orders.
    """
    n_categories = int(numbers.max(initial=-1)) + 1
    group = numbers[candidates.offer]
    is_filed = group >= 0
    visits = _visits(histories, numbers, n_categories, order_gap_days)
    place = find(visits.keys, candidates.customer * n_categories + group)
    is_known = is_filed & (place >= 0)

    def known(values: Floats, otherwise: float) -> Floats:
        found = np.full(len(place), otherwise)
        found[is_known] = values[place[is_known]]
        return found

    n_orders = histories.n_orders[candidates.customer]
    seen = known(visits.n_orders, 0.0)
    newest = known(visits.newest, _LONG_GAPS)
    gap = (visits.oldest - visits.newest + _PSEUDO_GAPS) / np.maximum(visits.n_orders, 1.0)
    own = np.append(np.diff(histories.use_starts), 0)[candidates.entry]
    columns = (
        np.log((seen + _PSEUDO_ORDERS) / (n_orders + 1.0)),
        np.log(known(visits.decayed, 0.0) + _PSEUDO_ORDERS),
        np.log1p(newest),
        np.log((own + 0.2) / (seen + 1.0)),
        np.log(newest / known(gap, _LONG_GAPS) + 0.05),
    )
    for column in columns:
        yield np.where(is_filed, column, 0.0)


def affinity_column(
    histories: Histories, candidates: Candidates, numbers: Ints, share: Floats
) -> Floats:
    """How much more of what the customer took is of the offer's group than of what all took.

    Natural log of a ratio of shares, drawn to 0 by a few uses; 0 where the offer has no group.

    Args:
        histories: of the customers.
        candidates: of the same customers.
        numbers: int64, shape (n_offers,): each offer's group, -1 for none.
        share: float64, shape (n_offers,): share of orders that hold each offer.
    """
    n_groups = int(numbers.max(initial=-1)) + 1
    if not n_groups:
        return np.zeros(len(candidates.offer))
    filed = numbers >= 0
    held = np.bincount(numbers[filed], share[filed], minlength=n_groups)
    usual = held / held.sum()
    customer = np.repeat(np.arange(len(histories)), np.diff(histories.entry_starts))
    group = numbers[histories.entry_offer]
    uses = np.diff(histories.use_starts) * (group >= 0)
    keys, place = np.unique(customer * n_groups + np.maximum(group, 0), return_inverse=True)
    own = np.bincount(place, uses, minlength=len(keys))
    total = np.bincount(customer, uses, minlength=len(histories))
    asked = numbers[candidates.offer]
    wanted = candidates.customer * n_groups + np.maximum(asked, 0)
    taken = np.append(own, 0.0)[find(keys, wanted)]
    expected = np.where(asked >= 0, usual[np.maximum(asked, 0)], 1.0)
    lift = (taken + _PSEUDO_USES * expected) / (total[candidates.customer] + _PSEUDO_USES)
    return np.where(asked >= 0, np.log(lift) - np.log(expected), 0.0)


def _visits(
    histories: Histories, numbers: Ints, n_categories: int, order_gap_days: float
) -> _Visits:
    customer = np.repeat(np.arange(len(histories)), np.diff(histories.entry_starts))
    entry = np.repeat(np.arange(len(histories.entry_offer)), np.diff(histories.use_starts))
    group = numbers[histories.entry_offer[entry]]
    filed = group >= 0
    n_all = max(len(histories.order_age_days), 1)
    keys = (customer[entry] * n_categories + group)[filed] * n_all + histories.use_order[filed]
    keys = distinct(keys)
    age = histories.order_age_days[keys % n_all] / order_gap_days if len(keys) else np.empty(0)
    found, first = np.unique(keys // n_all, return_index=True)
    if not len(found):
        return _Visits(keys=found, n_orders=age, decayed=age, newest=age, oldest=age)
    return _Visits(
        keys=found,
        n_orders=np.diff(np.append(first, len(keys))).astype(np.float64),
        decayed=np.add.reduceat(np.exp2(-age / _HALF_LIFE_GAPS), first),
        newest=np.minimum.reduceat(age, first),
        oldest=np.maximum.reduceat(age, first),
    )
