"""How likely an order is to contain an offer when nothing else is known.

The share of recent orders that held the offer (`decayed_<d>`), drawn towards its share of all
orders by a few pseudo-orders, and that towards one half order: every offer gets a finite value, a
never sold one the lowest. When all orders are too old for the half-life to see, the share of all
orders decides alone.

Globals: `prior.npy` float32, shape (n_offers,), natural log of that share: the unit that lifts are
added to, hence their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import literal
from builder.signals.counts import DECAY_UNIT, decayed_name
from index.arrays import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings:
    """How counts become the prior.

    Attributes:
        half_life_days: which of the counted half-lives; None for orders without decay.
        pseudo_orders: how many recent orders the share of all orders weighs.
    """

    half_life_days: int | None = 91
    pseudo_orders: float = 100.0


def learn_prior(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    n_offers: int,
    settings: PriorSettings,
) -> Scores:
    """Log of every offer's share of orders, below 0, from merged counts."""
    totals = _columns(connection, merged_dir / "totals.parquet")
    offers = _columns(connection, merged_dir / "offers.parquet")

    def dense(name: str) -> NDArray[np.float64]:
        values = np.zeros(n_offers)
        values[offers["offer_row"]] = offers[name]
        return values

    share = (dense("n_orders") + 0.5) / (float(totals["n_orders"][0]) + 1.0)
    if settings.half_life_days is not None:
        name = decayed_name(settings.half_life_days)
        recent, all_recent = dense(name) / DECAY_UNIT, float(totals[name][0]) / DECAY_UNIT
        pseudo = settings.pseudo_orders
        share = (recent + pseudo * share) / (all_recent + pseudo)
    return log_share(share)


def log_share(share: NDArray[np.float64]) -> Scores:
    """Natural log of shares in (0, 1].

    >>> log_share(np.array([0.5, 1.0])).tolist()
    [-0.6931471824645996, 0.0]
    """
    logs: Scores = np.log(share).astype(np.float32)
    return logs


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, NDArray[np.int64]]:
    return connection.execute(f"SELECT * FROM read_parquet({literal(path)})").fetchnumpy()
