"""From a request to the context rows it stands in: the moment, the caller's words, the cart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from index.eligibility import normal_value
from index.kept import Kept
from index.layout import NO_ROW
from index.model import Feature, FeatureKind, Model
from index.records import NO_PRICE, ItemView
from index.request import CartLine, ContextValue

CATEGORY_SEPARATOR = " > "
_MAX_PRICE = 1e12
HOURS = 7 * 24
_KEPT_MINUTES: Final = 1024
_WHOLE_MINUTES_SINCE: Final = 1973
"""Before, some zones were off by seconds."""


class ContextLookup:
    """A model's context vocabularies, arranged for look-up by request. Threads may share it.

    Args:
        model: whose features.
        zone: the brand's time zone.

    Attributes:
        by_name: features by name.
        names: `feature=value` of each context row, for explanations.
        signals: signal name of each context row.
        weights: by tier name, the weight of each context row's signal.
    """

    __slots__ = (
        "_bands",
        "_category",
        "_edges",
        "_hour_rows",
        "_hours",
        "_lock",
        "_zone",
        "by_name",
        "names",
        "signals",
        "weights",
    )

    def __init__(self, model: Model, zone: tzinfo) -> None:
        self._zone = zone
        self.by_name = {feature.name: feature for feature in model.features}
        self._hour_rows: Kept[int, int] = Kept(_KEPT_MINUTES)
        self._lock = Lock()
        hours = self._rows_of_kind(model, "hour_of_week")
        self._hours = tuple(hours.get(str(hour), NO_ROW) for hour in range(HOURS)) if hours else ()
        self._category = self._rows_of_kind(model, "category")
        bands = self._rows_of_kind(model, "price_band")
        self._edges = model.price_edges_cents
        self._bands = tuple(bands.get(str(band), NO_ROW) for band in range(len(self._edges) + 1))
        self.names = {
            row: f"{feature.name}={value}"
            for feature in model.features
            for value, row in feature.rows.items()
        }
        self.signals = {
            row: f"context:{feature.name}"
            for feature in model.features
            for row in feature.rows.values()
        }
        self.weights = {
            name: {row: tier.weights.get(signal, 0.0) for row, signal in self.signals.items()}
            for name, tier in model.tiers.items()
        }

    @staticmethod
    def _rows_of_kind(model: Model, kind: FeatureKind) -> Mapping[str, int]:
        for feature in model.features:
            if feature.kind == kind:
                return feature.rows
        return {}

    def rows(self, at: datetime | None, context: Mapping[str, ContextValue]) -> tuple[int, ...]:
        """Rising context rows of the moment and the caller's context; unknown values give none."""
        found = set()
        if at is not None and "hour_of_week" not in context:
            found.add(self.hour_row(at))
        for name, value in context.items():
            feature = self.by_name.get(name)
            if feature is not None and value is not None:
                found.add(self.row_of(feature, value))
        found.discard(NO_ROW)
        return tuple(sorted(found))

    def hour_row(self, at: datetime) -> int:
        """Row of the moment's local hour of the week; `NO_ROW` when hours have none.

        What a minute comes to is kept: rules of time zones take longer than all else here.
        """
        if not self._hours:
            return NO_ROW
        if at.tzinfo is not UTC or at.year < _WHOLE_MINUTES_SINCE:
            return self._hours[hour_of_week(at, self._zone)]
        minute = int(at.timestamp()) // 60
        row = self._hour_rows.get(minute)
        if row is None:
            row = self._hours[hour_of_week(at, self._zone)]
            with self._lock:  # or two threads would forget the same minute
                self._hour_rows.keep(minute, row)
        return row

    def row_of(self, feature: Feature, value: ContextValue) -> int:
        """Row of a feature's value; `NO_ROW` when nothing is known of it."""
        row = feature.rows.get(value) if type(value) is str else None
        if row is not None:
            return row
        text = normal_value(value) if value is not None else ""
        if feature.kind == "category":
            return category_row(text, feature.rows)
        return feature.rows.get(text, NO_ROW)

    def cart_rows(self, line: CartLine, item: ItemView | None) -> tuple[int, int]:
        """Category and price-band rows of one cart line; `NO_ROW` for what is not known."""
        if item is not None and item.category_row != NO_ROW:
            category = item.category_row
        else:
            category = self.row_of_category(line.category) if line.category else NO_ROW
        if line.unit_price is not None:
            band = self._band(min(line.unit_price, _MAX_PRICE) * 100.0)
        elif item is not None and item.price_cents != NO_PRICE:
            band = self._band(item.price_cents)
        else:
            band = NO_ROW
        return category, band

    def row_of_category(self, path: str) -> int:
        """Row of the nearest category that is known of a path, as a caller spells it."""
        return category_row(normal_value(path), self._category) if self._category else NO_ROW

    def band_edges(self) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
        """Bounds between price bands, and the row of each band: one more of these."""
        return np.array(self._edges, np.float64), np.array(self._bands, np.uint32)

    def _band(self, price_cents: float) -> int:
        return self._bands[bisect_right(self._edges, price_cents)]


def hour_of_week(at: datetime, zone: tzinfo) -> int:
    """Hour of the local week, 0 for Monday 00:00 to 167; a naive time is local already.

    >>> from datetime import timezone
    >>> hour_of_week(datetime(2026, 11, 24, 9, 30), timezone.utc)
    33
    """
    try:
        local = at if at.tzinfo is None else at.astimezone(zone)
    except (OverflowError, ValueError):
        local = at
    return local.weekday() * 24 + local.hour


def category_row(path: str, rows: Mapping[str, int]) -> int:
    """Context row of a category path, or of its nearest known parent; `NO_ROW` when none is known.

    >>> category_row("grocery > bread > rye", {"grocery": 7, "grocery > bread": 8})
    8
    """
    while path:
        row = rows.get(path)
        if row is not None:
            return row
        path = path.rpartition(CATEGORY_SEPARATOR)[0]
    return NO_ROW


def price_edges(prices_cents: list[int], n_bands: int = 5) -> tuple[int, ...]:
    """Rising bounds that split prices into at most `n_bands` bands of similar size.

    >>> price_edges([100, 200, 300, 400], n_bands=2)
    (300,)
    """
    ordered = sorted(prices_cents)
    cuts = (
        (ordered[len(ordered) * band // n_bands] for band in range(1, n_bands)) if ordered else ()
    )
    return tuple(sorted(set(cuts) - {ordered[0]} if ordered else set()))
