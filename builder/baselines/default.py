"""Global popularity: what a visitor nobody knows gets from most shops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.baselines.data import Example, History
from builder.baselines.ranking import by_popularity, fill_up
from builder.metrics import Ints


@dataclass(frozen=True, slots=True)
class Popularity:
    """The same order for everyone."""

    popular: Ints

    def rank(self, examples: Sequence[Example], k: int) -> Ints:
        return fill_up([self.popular[:0]] * len(examples), self.popular, examples, k)


def fit(history: History) -> Popularity:
    """Offers by the number of orders they stand in, ties by row."""
    return Popularity(by_popularity(history.popularity))
