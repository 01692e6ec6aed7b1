"""Popularity in the last weeks of the data: `default` that follows the season."""

from __future__ import annotations

import numpy as np

from builder.baselines.data import History
from builder.baselines.default import Popularity
from builder.metrics import Ints


def fit(history: History) -> Popularity:
    """Offers by orders in the last RECENT_DAYS days, ties by all-time popularity, then row."""
    popular: Ints = np.lexsort((-history.popularity, -history.recent_popularity))
    return Popularity(popular)
