"""What an item in the cart says about offers: a row of directional log-lifts per item.

An order that holds item p also holds offer o with the smoothed chance c(p,o) / (n(p) + shrinkage),
where c counts orders with both and n orders with p (or customers: `counts.CountSettings`); the
shrinkage keeps what few orders say small.

Trust times that chance is mixed with the offer's overall share:

    value(p,o) = ln(1 + trust · c(p,o) / ((n(p) + shrinkage) · share(o)))

It is 0 exactly where nothing was seen together, so a sparse row loses nothing but what it prunes,
and ranking by prior + value is ranking by share(o) + trust · chance(o | p). A row keeps the offers
that are highest in that mixture, not those of highest lift: the latter are rare by nature.

The item's own offers are in its row only where sessions are learned from (`sequences`).

Of several items in a cart the decision takes, for each offer, the largest value: share(o) + trust ·
the best chance that any of them gives; their sum has a weight of its own. Measured on
Complete Journey (cut at 2017-12-01, carts of 1 to 4 items of unseen households, 1,957 orders),
recall@10 in multiples of popularity, prior and affinity alone: largest 1.60, mixed as
ln(1 + mean(exp(value) − 1)) 1.53, added and damped by the square root of their number 1.41; RP3beta
1.50. The largest hardly depends on trust (2 to 30: 1.56 to 1.60) and shrinkage (10 to 300: 1.57 to
1.60).

Globals: the sparse rows `affinity_*.npy` (see `rows`); row i is item row i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from builder.duck import literal
from builder.signals.rows import SparseRows, pack_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinitySettings:
    """How pair counts become affinity.

    Attributes:
        shrinkage_orders: an item with this many orders gets half of its row's full strength.
        trust: how much a chance given the item counts against the offer's overall share.
        single_below_orders: a pair seen once counts only for items with fewer orders than this;
            nearly all pairs were seen once, and to leave them out spares most of the sorting.
        offers_per_item: length of a row; each one more costs every decision with a cart time, and
            the items table 12 bytes an item.
        group_offers: how many of the shop's most frequent offers the rows of item groups may name.
        links_per_item: pairs of an item that vectors are made from.
    """

    shrinkage_orders: float = 100.0
    trust: float = 5.0
    single_below_orders: int = 100
    offers_per_item: int = 128
    group_offers: int = 2000
    links_per_item: int = 64


def learn_affinity(
    connection: duckdb.DuckDBPyConnection, affinity_dirs: Sequence[Path], n_items: int
) -> SparseRows:
    """Put the ranges' rows together.

    Args:
        connection: from `builder.duck.connect`.
        affinity_dirs: results of all `pairs.LearnAffinity` tasks of one cut.
        n_items: rows of the table.
    """
    paths = ", ".join(literal(path / "affinity.parquet") for path in affinity_dirs)
    columns = connection.execute(
        f"SELECT item_row, offer_row, value, n_units FROM read_parquet([{paths}])"
    ).fetchnumpy()
    return pack_rows(
        n_items, columns["item_row"], columns["offer_row"], columns["value"], columns["n_units"]
    )
