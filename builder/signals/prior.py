"""How likely an order is to contain an offer when nothing else is known.

The share of recent orders that held the offer (`decayed_<d>`), drawn towards its share of all
orders by a few pseudo-orders, and that towards one half order: every offer gets a finite value, a
never sold one the lowest. When all orders are too old for the half-life to see, the share of all
orders decides alone.

How fast to forget is learned: of the half-lives counted, and of never forgetting, the one that best
foretells the last days before the cut from what lies before them. Where all do about as well it is
the usual one; where orders have no times, nothing is forgotten.

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
_LEAST_GAIN: Final = 0.05
_PLACES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings:
    """How counts become the prior.

    Attributes:
        half_lives_days: which of the counted half-lives may be chosen, the usual one first; None is
            to forget nothing. What comes later must be clearly better.
        pseudo_orders: how many recent orders the share of all orders weighs: likewise.
    """

    half_lives_days: tuple[int | None, ...] = (91, None, 364, 28, 7, 2)
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
    """The half-life and pseudo-orders under which what was ordered later stands highest.

    Judged by places in the list, discounted as in NDCG: by likelihood a week that was like no other
    may win, since that is mostly about offers that no list will ever hold for their popularity.

    Args:
        later: float64, shape (n_offers,): how many later orders held each offer.
        shares: by half-life and pseudo-orders, each offer's share of orders as it was seen before;
            the most welcome first.

    Returns:
        The first, unless another one is better than it by a twentieth, and by two standard errors
        of the mean difference; of several such, in their order, likewise. Uses of one week are less
        independent than a standard error has it, so that less than a twentieth may be the weather.
    """
    uses = float(later.sum())
    (best, kept), *others = (
        (forgetting, _discounts(share)) for forgetting, share in shares.items()
    )
    for forgetting, discounts in others if uses else ():
        gain = discounts - kept
        mean = float(later @ gain) / uses
        spread = float(later @ (gain - mean) ** 2) / uses
        material = _LEAST_GAIN * float(later @ kept) / uses
        if mean > max(material, _STANDARD_ERRORS * np.sqrt(spread / uses)):
            best, kept = forgetting, discounts
    return best


def _discounts(share: Floats) -> Floats:
    """What each offer's place in a list by falling share is worth; ties go by row."""
    discounts = np.zeros(len(share))
    top = np.argsort(-share, kind="stable")[:_PLACES]
    discounts[top] = 1.0 / np.log2(np.arange(len(top)) + 2.0)
    return discounts


def log_share(share: NDArray[np.float64]) -> Scores:
    """Natural log of shares in (0, 1].

    >>> log_share(np.array([0.5, 1.0])).tolist()
    [-0.6931471824645996, 0.0]
    """
    logs: Scores = np.log(share).astype(np.float32)
    return logs


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, NDArray[np.int64]]:
    return connection.execute(f"SELECT * FROM read_parquet({literal(path)})").fetchnumpy()
