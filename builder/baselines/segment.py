"""Popularity inside a rule-based segment: the approach most marketing tools offer.

A segment is favourite category × source × part of the day: the customer's most bought top-level
category (of the cart for somebody unknown), where the visit comes from, and six-hour dayparts. A
segment with too few orders backs off to category × source, then to category, then to everyone.
Somebody of whom no category is known is in a segment of source × part of the day, or source, or
part of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builder.baselines.data import UNKNOWN, Example, History, distinct_pairs
from builder.baselines.ranking import RankedLists, by_popularity, fill_up, ranked_lists
from builder.metrics import Ints

# With 100 orders, the share of an offer bought in every twentieth order is known to about ± 0.04;
# below that, the order inside a segment is mostly chance.
MIN_ORDERS = 100

_SOURCE_FEATURE = "referrer_source"
_HOURS_PER_DAYPART = 6
_N_DAYPARTS = 24 // _HOURS_PER_DAYPART

_CATEGORY, _SOURCE, _DAYPART = range(3)
_LEVELS = ((_CATEGORY, _SOURCE, _DAYPART), (_CATEGORY, _SOURCE), (_CATEGORY,))
_WITHOUT_CATEGORY = ((_SOURCE, _DAYPART), (_SOURCE,), (_DAYPART,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Segments of one coarseness that have enough orders to speak for themselves.

    Attributes:
        parts: which of (category, source, daypart) make up a segment's code.
        list_of: which list belongs to a segment's code.
        offers: each segment's offers, most popular there first.
    """

    parts: tuple[int, ...]
    list_of: dict[int, int]
    offers: RankedLists


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """All levels, fine to coarse, and the rules that place an example in them.

    Attributes:
        levels: for those whose category is known.
        without_category: for all others.
        sizes: number of codes of category, source and daypart, unknown included.
        source_feature: the context feature taken as source; None when the brand sends none.
        source_codes: code of each of its values.
        customer_category: int64, shape (n_customers,): favourite category, -1 = none.
        item_category: int64, shape (n_items,), as in the history.
    """

    levels: tuple[Level, ...]
    without_category: tuple[Level, ...]
    sizes: tuple[int, int, int]
    source_feature: str | None
    source_codes: dict[str, int]
    customer_category: Ints
    item_category: Ints
    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return fill_up(map(self._offers, examples), self.popular, examples, k)

    def _offers(self, example: Example) -> Ints:
        category = self._category(example)
        parts = (category, self._source(example), daypart(example.hour_of_week))
        for level in self.levels if category >= 0 else self.without_category:
            segment = int(_codes(parts, self.sizes, level.parts))
            if segment in level.list_of:
                return level.offers.of(level.list_of[segment])
        return self.popular[:0]

    def _category(self, example: Example) -> int:
        if example.customer >= 0:
            return int(self.customer_category[example.customer])
        known = self.item_category[example.cart]
        known = known[known >= 0]
        return int(np.bincount(known).argmax()) if known.size else UNKNOWN

    def _source(self, example: Example) -> int:
        if self.source_feature is None:
            return UNKNOWN
        return self.source_codes.get(example.context.get(self.source_feature, ""), UNKNOWN)


def fit(history: History) -> Segment:
    """Count every segment's orders and offers, at every level."""
    source_feature = _source_feature(history)
    values = history.context[source_feature].values if source_feature else ()
    sizes = (int(history.item_category.max(initial=-1)) + 2, len(values) + 1, _N_DAYPARTS + 1)
    favourite = _favourite_categories(history)
    parts = _parts_of_orders(history, favourite, source_feature)
    lines = distinct_pairs(history.order, history.offer_row, history.n_offers)

    def level(which: tuple[int, ...]) -> Level:
        return _level(history, lines, _codes(parts, sizes, which), which)

    return Segment(
        levels=tuple(map(level, _LEVELS)),
        without_category=tuple(map(level, _WITHOUT_CATEGORY)),
        sizes=sizes,
        source_feature=source_feature,
        source_codes={value: code for code, value in enumerate(values)},
        customer_category=favourite[: history.n_customers],
        item_category=history.item_category,
        popular=by_popularity(history.popularity),
    )


def daypart(hour_of_week: int) -> int:
    """Night, morning, afternoon or evening as 0 … 3; -1 when the hour is unknown."""
    return UNKNOWN if hour_of_week < 0 else hour_of_week % 24 // _HOURS_PER_DAYPART


def _source_feature(history: History) -> str | None:
    """The referrer's source, or the first feature by name where a brand sends something else.

    A column that is always empty says nothing: imports know some that a brand never fills.
    """
    names = sorted(name for name, column in history.context.items() if column.values)
    return _SOURCE_FEATURE if _SOURCE_FEATURE in names else next(iter(names), None)


def _favourite_categories(history: History) -> Ints:
    """Most frequent category of each customer, then of each order (for guests); -1 = none."""
    owner = _owners(history)
    category = history.item_category[history.item_row]
    favourite = np.full(history.n_customers + history.n_orders, UNKNOWN, dtype=np.int64)
    known = category >= 0
    n_categories = int(history.item_category.max(initial=0)) + 1
    keys, counts = np.unique(owner[known] * n_categories + category[known], return_counts=True)
    rising = np.lexsort((-keys, counts))
    favourite[keys[rising] // n_categories] = keys[rising] % n_categories
    return favourite


def _owners(history: History) -> Ints:
    """Who a line's segment is about: its customer, or its order when it is a guest's."""
    guest = history.n_customers + history.order
    return np.where(history.customer >= 0, history.customer, guest)


def _parts_of_orders(
    history: History, favourite: Ints, source_feature: str | None
) -> tuple[Ints, Ints, Ints]:
    """Category, source and daypart of every order; those of its first line."""
    n = history.n_orders
    first = np.full(n, history.order.size, dtype=np.int64)
    np.minimum.at(first, history.order, np.arange(history.order.size))
    category = favourite[_owners(history)[first]]
    source = history.context[source_feature].codes[first] if source_feature else np.full(n, UNKNOWN)
    hour = history.hour_of_week[first]
    return category, source, np.where(hour < 0, UNKNOWN, hour % 24 // _HOURS_PER_DAYPART)


def _codes(
    parts: Sequence[Ints] | Sequence[int], sizes: Sequence[int], which: tuple[int, ...]
) -> Ints:
    """One number for some of the parts; unknown (-1) is a value like any other."""
    code = np.zeros((), dtype=np.int64)
    for part in which:
        code = code * sizes[part] + (np.asarray(parts[part]) + 1)
    return code


def _level(
    history: History, lines: tuple[Ints, Ints], segment_of: Ints, parts: tuple[int, ...]
) -> Level:
    """Rank the offers of every segment that has MIN_ORDERS.

    `lines` is every (order, offer) once, `segment_of` the code of each order's segment.
    """
    codes, dense, n_orders = np.unique(segment_of, return_inverse=True, return_counts=True)
    large = np.flatnonzero(n_orders >= MIN_ORDERS)
    list_of = np.full(codes.size, UNKNOWN, dtype=np.int64)
    list_of[large] = np.arange(large.size)
    owner = list_of[dense][lines[0]]
    keys = owner[owner >= 0] * history.n_offers + lines[1][owner >= 0]
    keys, counts = np.unique(keys, return_counts=True)
    owner, row = np.divmod(keys, history.n_offers)
    return Level(
        parts=parts,
        list_of=dict(zip(codes[large].tolist(), range(large.size), strict=True)),
        offers=ranked_lists(owner, row, (-counts, -history.popularity[row], row), large.size),
    )
