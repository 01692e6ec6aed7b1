"""Global popularity: what a visitor nobody knows gets from most shops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from builder.baselines.data import Example, History
from builder.baselines.ranking import by_popularity, fill_up
from builder.metrics import Ints


@dataclass(frozen=True, slots=True)
class Popularity:
    """The same order for everyone."""

    popular: Ints

    def rank(self, example: Example, k: int) -> Ints:
        return fill_up(np.empty(0, dtype=np.int64), self.popular, example.exclude, k)


def fit(history: History) -> Popularity:
    """Offers by the number of orders they stand in, ties by row."""
    return Popularity(by_popularity(history.popularity))
