"""How likely an order is to contain an offer when nothing else is known.

The share of recent orders that held the offer (`decayed_<d>`), drawn towards its share of all
orders by a few pseudo-orders, and that towards one half order: every offer gets a finite value, a
never sold one the lowest. When all orders are too old for the half-life to see, the share of all
orders decides alone.

How fast to forget is learned: of the half-lives counted, and of never forgetting, the one that best
foretells the last days before the cut from what lies before them. Where all do about as well, as in
a shop whose orders have no times, nothing is forgotten.

Globals: `prior.npy` float32, shape (n_offers,), natural log of that share: the unit that lifts are
added to, hence their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import literal
from builder.signals.counts import DECAY_UNIT, before_name, decayed_name
from builder.signals.histories import Floats
from index.arrays import Scores

Forgetting: TypeAlias = tuple[int | None, float]

_STANDARD_ERRORS: Final = 2.0
_CONTENDERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings:
    """How counts become the prior.

    Attributes:
        half_lives_days: which of the counted half-lives may be chosen, longest first; None is to
            forget nothing. What comes later must be clearly better.
        pseudo_orders: how many recent orders the share of all orders weighs: likewise.
    """

    half_lives_days: tuple[int | None, ...] = (None, 364, 91, 28, 7, 2)
    pseudo_orders: tuple[float, ...] = (1000.0, 100.0, 10.0)


def learn_prior(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    n_offers: int,
    settings: PriorSettings,
) -> Scores:
    """Log of every offer's share of orders, below 0, from merged counts."""
    totals = _columns(connection, merged_dir / "totals.parquet")
    offers = _columns(connection, merged_dir / "offers.parquet")

    def counted(name: str) -> tuple[Floats, float]:
        """By offer, and of all orders."""
        values = np.zeros(n_offers)
        values[offers["offer_row"]] = offers[name]
        return values, float(totals[name][0])

    def share_of(n_held: Floats, n_orders: float, name: str | None, pseudo: float) -> Floats:
        share: Floats = (n_held + 0.5) / (n_orders + 1.0)
        if name is not None:
            recent, all_recent = (count / DECAY_UNIT for count in counted(name))
            share = (recent + pseudo * share) / (all_recent + pseudo)
        return share

    held, n_orders = counted("n_orders")
    later, n_later = counted("n_later")
    before = held - later, n_orders - n_later
    tried = {
        (days, pseudo): share_of(*before, None if days is None else before_name(days), pseudo)
        for days, pseudo in product(settings.half_lives_days, settings.pseudo_orders)
    }
    days, pseudo = choose_forgetting(later, tried)
    name = None if days is None else decayed_name(days)
    return log_share(share_of(held, n_orders, name, pseudo))


def choose_forgetting(later: Floats, shares: Mapping[Forgetting, Floats]) -> Forgetting:
    """The half-life and pseudo-orders under which what was ordered later is likeliest.

    Judged among the offers that stand highest under any of them: the likelihood of all is mostly
    about offers that no list will ever hold for their popularity.

    Args:
        later: float64, shape (n_offers,): how many later orders held each offer.
        shares: by half-life and pseudo-orders, each offer's share of orders as it was seen before,
            above 0; the most welcome first.

    Returns:
        The first, unless another one is better than it by two standard errors of the difference
        between their log-likelihoods; of several such, in their order, likewise.
    """
    tops = [np.argsort(-share, kind="stable")[:_CONTENDERS] for share in shares.values()]
    judged = np.unique(np.concatenate(tops))
    later = later[judged]
    uses = float(later.sum())
    (best, kept), *others = (
        (forgetting, np.log(share[judged] / share[judged].sum()))
        for forgetting, share in shares.items()
    )
    for forgetting, logs in others if uses else ():
        gain = logs - kept
        mean = float(later @ gain) / uses
        spread = float(later @ (gain - mean) ** 2) / uses
        if mean > _STANDARD_ERRORS * np.sqrt(spread / uses):
            best, kept = forgetting, logs
    return best


def log_share(share: NDArray[np.float64]) -> Scores:
    """Natural log of shares in (0, 1].

    >>> log_share(np.array([0.5, 1.0])).tolist()
    [-0.6931471824645996, 0.0]
    """
    logs: Scores = np.log(share).astype(np.float32)
    return logs


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, NDArray[np.int64]]:
    return connection.execute(f"SELECT * FROM read_parquet({literal(path)})").fetchnumpy()
