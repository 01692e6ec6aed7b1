"""What counts say about offers as such, for learners that look at one customer at a time.

Globals, each of shape (n_offers,), float32, finite:

- `prior.npy`: see `prior`.
- `trend.npy`: log of the share of the last days' orders (the shortest counted half-life) minus log
  of the prior's share.
- `long_run.npy`: log of the share of all orders minus log of the prior's share.
- `cadence.npy`: days between two orders of the offer by the same customer.
- `repeat.npy`: log of the share of its buyers who bought it again.
- `reach.npy`: share of the sampled customers who took it, smoothed.

`offer_groups.npy`, int64, shape (4, n_offers): see `GROUPS`; numbers, -1 where there is none (an
offer of several items goes by the first).

And `facts.json`: `order_gap_days`, the median time between two orders of a customer, at least an
hour and at most a year. It is the shop's unit of time: half-lives are multiples of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import literal
from builder.signals.counts import DECAY_UNIT, decayed_name
from builder.signals.histories import Ints
from builder.signals.orders import DAY_US, Vocabulary
from builder.signals.rows import open_array
from index.arrays import Scores
from index.context import CATEGORY_SEPARATOR

GROUPS: Final = ("group", "parent", "brand", "band")
"""What an offer shares with others: its deepest category, the one above, its brand, and its price's
third among the offers of its deepest category."""

LEVELS: Final = GROUPS[:2]
"""Those of which there is more to tell than how much a customer likes them."""

_NAMES: Final = ("prior", "trend", "long_run", "cadence", "repeat", "reach")
_PSEUDO_GAPS: Final = 20.0
_PSEUDO_BUYERS: Final = 5.0
_PSEUDO_TREND_ORDERS: Final = 100.0
_SHORTEST_GAP_DAYS: Final = 1 / 24
_LONGEST_GAP_DAYS: Final = 365.0
_USUAL_GAP_DAYS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFacts:
    """The arrays of the module docstring."""

    prior: Scores
    trend: Scores
    long_run: Scores
    cadence: Scores
    repeat: Scores
    reach: Scores
    groups: Ints
    order_gap_days: float

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of orders that hold each offer, by the prior."""
        share: NDArray[np.float64] = np.exp(self.prior.astype(np.float64))
        return share


def learn_facts(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    vocabulary: Vocabulary,
    prior: Scores,
    trend_days: int,
) -> OfferFacts:
    """Facts from merged counts and the sample of customers.

    Args:
        connection: from `builder.duck.connect`.
        merged_dir: result of `merge.MergeCounts`.
        vocabulary: rows of items and offers.
        prior: log of each offer's share of orders, shape (n_offers,).
        trend_days: which counted half-life the trend looks at.
    """
    totals = connection.execute(_from(merged_dir, "totals")).fetchnumpy()
    offers = connection.execute(_from(merged_dir, "offers")).fetchnumpy()

    def dense(name: str) -> NDArray[np.float64]:
        return _dense(offers["offer_row"], offers[name], len(prior))

    share = np.exp(prior.astype(np.float64))
    recent = decayed_name(trend_days)
    pseudo = _PSEUDO_TREND_ORDERS
    trend = (dense(recent) / DECAY_UNIT + pseudo * share) / (
        float(totals[recent][0]) / DECAY_UNIT + pseudo
    )
    long_run = (dense("n_orders") + 0.5) / (float(totals["n_orders"][0]) + 1.0)
    order_gap_days = _order_gap_days(connection, merged_dir)
    cadence, repeat, reach = _cadence(connection, merged_dir, len(prior), order_gap_days)
    return OfferFacts(
        prior=prior,
        trend=(np.log(trend) - np.log(share)).astype(np.float32),
        long_run=(np.log(long_run) - np.log(share)).astype(np.float32),
        cadence=cadence,
        repeat=repeat,
        reach=reach,
        groups=_groups(connection, vocabulary, len(prior)),
        order_gap_days=order_gap_days,
    )


def write_facts(facts: OfferFacts, out_dir: Path) -> None:
    """Write the files of the module docstring."""
    for name in _NAMES:
        np.save(out_dir / f"{name}.npy", getattr(facts, name))
    np.save(out_dir / "offer_groups.npy", facts.groups)
    (out_dir / "facts.json").write_text(json.dumps({"order_gap_days": facts.order_gap_days}))


def open_facts(globals_dir: Path) -> OfferFacts:
    """Map what `write_facts` wrote."""
    return OfferFacts(
        **{name: open_array(globals_dir / f"{name}.npy") for name in _NAMES},
        groups=open_array(globals_dir / "offer_groups.npy"),
        order_gap_days=float(
            json.loads((globals_dir / "facts.json").read_text())["order_gap_days"]
        ),
    )


def _order_gap_days(connection: duckdb.DuckDBPyConnection, merged_dir: Path) -> float:
    [(gap_us,)] = connection.execute(
        f"""
        SELECT quantile_disc(ts_us - before_us, 0.5) FROM (
            SELECT ts_us, lag(ts_us) OVER (
                PARTITION BY customer_hi, customer_lo ORDER BY ts_us, order_key) AS before_us
            FROM (SELECT DISTINCT customer_hi, customer_lo, order_key, ts_us
                  {_from(merged_dir, "sample")})
        ) WHERE before_us IS NOT NULL
        """
    ).fetchall()
    if gap_us is None:
        return _USUAL_GAP_DAYS
    return float(np.clip(gap_us / DAY_US, _SHORTEST_GAP_DAYS, _LONGEST_GAP_DAYS))


def _cadence(
    connection: duckdb.DuckDBPyConnection, merged_dir: Path, n_offers: int, order_gap_days: float
) -> tuple[Scores, Scores, Scores]:
    """Days between repeats, drawn to the mean over offers; share of repeaters; share of takers."""
    seen = connection.execute(
        f"""
        SELECT offer_row, sum(span_us)::BIGINT AS span_us, sum(n - 1)::BIGINT AS gaps,
               count_if(n > 1) AS repeaters, count(*) AS buyers
        FROM (SELECT offer_row, count(*) AS n, max(ts_us) - min(ts_us) AS span_us
              {_from(merged_dir, "sample")} GROUP BY customer_hi, customer_lo, offer_row)
        GROUP BY offer_row
        """
    ).fetchnumpy()
    span_days, gaps, repeaters, buyers = (
        _dense(seen["offer_row"], seen[name], n_offers)
        for name in ("span_us", "gaps", "repeaters", "buyers")
    )
    span_days /= DAY_US
    usual = span_days.sum() / gaps.sum() if gaps.sum() else order_gap_days
    usual = max(float(usual), _SHORTEST_GAP_DAYS)
    cadence = (span_days + _PSEUDO_GAPS * usual) / (gaps + _PSEUDO_GAPS)
    usual_repeat = (repeaters.sum() + 1.0) / (buyers.sum() + 100.0)
    repeat = (repeaters + _PSEUDO_BUYERS * usual_repeat) / (buyers + _PSEUDO_BUYERS)
    [(n_customers,)] = connection.execute(
        f"SELECT count(DISTINCT (customer_hi, customer_lo)) {_from(merged_dir, 'sample')}"
    ).fetchall()
    reach = (buyers + 0.5) / (n_customers + 1.0)
    return (
        cadence.astype(np.float32),
        np.log(repeat).astype(np.float32),
        reach.astype(np.float32),
    )


def _groups(connection: duckdb.DuckDBPyConnection, vocabulary: Vocabulary, n_offers: int) -> Ints:
    """Numbers of each offer's `GROUPS`."""
    first = connection.execute(
        f"""
        SELECT offer_row, category, brand, price_cents, least(floor(3 * percent_rank() OVER (
                PARTITION BY category, price_cents IS NULL ORDER BY price_cents)), 2)
                AS band
        FROM (SELECT offer_row, arg_min(category, item_row) AS category,
                     lower(arg_min(brand, item_row)) AS brand,
                     arg_min(price_cents, item_row) AS price_cents
              FROM read_parquet({literal(vocabulary.item_offers_path)}) AS links
              JOIN read_parquet({literal(vocabulary.items_path)}) AS items USING (item_row)
              GROUP BY offer_row)
        ORDER BY offer_row
        """
    ).fetchall()
    groups = np.full((len(GROUPS), n_offers), -1, dtype=np.int64)
    numbers: dict[tuple[object, ...], int] = {}
    for offer_row, category, brand, price_cents, band in first:
        parent = (category or "").rpartition(CATEGORY_SEPARATOR)[0]
        named = (
            ("category", category) if category else None,
            ("category", parent) if parent else None,
            ("brand", brand) if brand else None,
            ("band", category, band) if price_cents is not None else None,
        )
        for place, name in enumerate(named):
            if name is not None:
                groups[place, offer_row] = numbers.setdefault(name, len(numbers))
    return groups


def _dense(rows: NDArray[np.int64], values: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    dense = np.zeros(size)
    dense[rows] = values
    return dense


def _from(merged_dir: Path, table: str) -> str:
    return f"FROM read_parquet({literal(merged_dir / f'{table}.parquet')})"
