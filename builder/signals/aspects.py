"""Ways to look at a feature's values: each by itself, or together with others it resembles.

A value that few orders had says little by itself, but it may belong to a part of the day, a price
band or a branch of a path that many orders had. Such a coarser look is an *aspect* of the feature.
What its groups say becomes part of the rows of their values, so that serving never hears of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from builder.signals.counts import HOUR_OF_WEEK
from index.context import CATEGORY_SEPARATOR

Groups: TypeAlias = NDArray[np.int64]

_HOURS_OF_DAY: Final = 24
_HOURS_OF_PART: Final = 4
_BANDS: Final = (8, 64)
_LEAST_NUMBERS: Final = 20
_NUMBER_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aspect:
    """One look at a feature.

    Attributes:
        feature: name of the feature.
        name: what its groups are, for people.
        groups: int64, shape (n_values,): the group of each value, from 0 without gaps.
    """

    feature: str
    name: str
    groups: Groups

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups.max(initial=-1)) + 1


def aspects_of(feature: str, values: Sequence[str], n_orders: Sequence[int]) -> list[Aspect]:
    """All looks at a feature, coarse ones first; the last one takes each value by itself.

    Args:
        feature: its name.
        values: as requests are read; different.
        n_orders: how many orders had each.
    """
    looks: list[tuple[str, Sequence[object]]] = []
    if feature == HOUR_OF_WEEK:
        hours = [int(value) % _HOURS_OF_DAY for value in values]
        looks.append(("part of the day", [hour // _HOURS_OF_PART for hour in hours]))
        looks.append(("hour", hours))
        looks.append(("day", [int(value) // _HOURS_OF_DAY for value in values]))
    else:
        looks += [(f"{n} bands", bands) for n in _BANDS if (bands := _bands(values, n_orders, n))]
        looks += _parents(values)
    looks.append(("value", values))
    found: dict[bytes, Aspect] = {}
    for name, labels in looks:
        groups = _numbered(labels)
        # Of two looks that see the same, the plainer one, which comes later, gives the name.
        found[groups.tobytes()] = Aspect(feature=feature, name=name, groups=groups)
    return [aspect for aspect in found.values() if aspect.n_groups > 1 or aspect.name == "value"]


def _bands(values: Sequence[str], n_orders: Sequence[int], n_bands: int) -> list[int]:
    """Bands of about equally many orders, where values are numbers; what is none is a band."""
    numbers = [_number(value) for value in values]
    known = np.array([number is not None for number in numbers])
    weights = np.array(n_orders, dtype=np.float64)
    total = weights[known].sum()
    if known.sum() < _LEAST_NUMBERS or total < _NUMBER_SHARE * weights.sum():
        return []
    rising = sorted((number, place) for place, number in enumerate(numbers) if number is not None)
    bands, below = [n_bands] * len(values), 0.0
    for _, place in rising:
        bands[place] = min(int((below + weights[place] / 2) / total * n_bands), n_bands - 1)
        below += weights[place]
    return bands


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _parents(values: Sequence[str]) -> list[tuple[str, Sequence[object]]]:
    """One look per level above the last, where values are paths."""
    paths = [value.split(CATEGORY_SEPARATOR) for value in values]
    depth = max(map(len, paths), default=1)
    return [
        (f"first {level} levels", [tuple(path[:level]) for path in paths])
        for level in range(1, depth)
    ]


def _numbered(labels: Sequence[object]) -> Groups:
    """Labels as numbers in the order of their first appearance.

    >>> _numbered(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    known: dict[object, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)
