"""What several tables say of pairs of an item and an offer.

The candidates of an item are the offers of its affinity row (`affinity`), where walks from its own
offer over customers end (`walk`), and those of the rows of its categories (`cart_groups`). Of each:

- the value of its plain affinity row, and whether it has one;
- log-lifts of orders with both, drawn to chance with three strengths: together they make the curve
  by which few orders are believed;
- the log-lift of the walk's end: what kind of customer takes the item;
- the log-lifts of its category, of the one above and of the topmost;
- whether the offer is of the same category, or the same one above;
- how large the orders are that hold the offer, and that times how large those with the item are:
  who comes for one thing takes no other than who fills a trolley.

Nothing in it tells of a season: what is on the rise belongs to the prior, which is newer than any
cart that was learned from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import literal
from builder.signals.candidates import distinct
from builder.signals.context import open_context
from builder.signals.facts import LEVELS, open_facts
from builder.signals.histories import Floats, Ints
from builder.signals.interactions import open_links
from builder.signals.merge import item_groups
from builder.signals.orders import Vocabulary
from builder.signals.rows import SparseRows, open_array, open_rows

_STRENGTHS: Final = (10.0, 100.0, 1000.0)
_WALK_FLOOR: Final = 0.1
_LEVELS: Final = 3
_PSEUDO_ORDERS: Final = 20.0
FEATURES: Final = (
    "plain",
    "heard",
    *(f"orders_{strength:g}" for strength in _STRENGTHS),
    "walk",
    *(f"category_{level}" for level in range(_LEVELS)),
    "same_0",
    "same_1",
    "size",
    "sizes_alike",
)


class PairTables:
    """The tables of one cut that pairs are told from.

    Args:
        connection: from `builder.duck.connect`.
        globals_dir: result of `learn.GatherGlobals`.
        merged_dir: result of `merge.MergeCounts`.
        vocabulary: rows of items and offers.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        globals_dir: Path,
        merged_dir: Path,
        vocabulary: Vocabulary,
    ) -> None:
        facts = open_facts(globals_dir)
        self.prior = np.asarray(facts.prior, dtype=np.float64)
        self._groups = np.asarray(facts.groups[: len(LEVELS)])
        reach = np.asarray(facts.reach, dtype=np.float64)
        self._walk_base = reach / reach.sum()
        self.affinity = open_rows(globals_dir, "affinity")
        n_items, n_offers = len(self.affinity), len(self.prior)

        def counted(table: str, key: str, size: int) -> Floats:
            found = connection.execute(
                f"SELECT {key} AS row, n_units FROM {_parquet(merged_dir / f'{table}.parquet')}"
            ).fetchnumpy()
            dense = np.zeros(size)
            dense[found["row"]] = found["n_units"]
            return dense

        self._item_units = counted("items", "item_row", n_items)
        [(n_units,)] = connection.execute(
            f"SELECT n_units FROM {_parquet(merged_dir / 'totals.parquet')}"
        ).fetchall()
        self._share = (counted("offers", "offer_row", n_offers) + 0.5) / (n_units + 1.0)
        self._size = _sizes(connection, merged_dir, n_offers)
        own = connection.execute(
            f"""SELECT item_row, min(offer_row) AS offer_row
                FROM {_parquet(vocabulary.item_offers_path)} GROUP BY item_row"""
        ).fetchnumpy()
        self._own = np.full(n_items, -1, dtype=np.int64)
        self._own[own["item_row"]] = own["offer_row"]
        self._walk = open_links(globals_dir, "walk")
        self._reached = np.asarray(open_array(globals_dir / "reach_offers.npy"))
        self._place = np.full(n_offers + 1, -1, dtype=np.int64)
        self._place[self._reached] = np.arange(len(self._reached))
        context = open_context(globals_dir)
        self._context = context.rows
        row_of = {name: row for row, name in enumerate(context.names)}
        self._category = np.full((_LEVELS, n_items), -1, dtype=np.int64)
        sold = connection.execute(
            f"SELECT category, list(item_row) FROM {_parquet(vocabulary.items_path)}"
            " WHERE category IS NOT NULL GROUP BY category"
        ).fetchall()
        for category, item_rows in sold:
            paths = [row_of.get(name, -1) for name in item_groups(category, None, ())]
            nearest = [paths[-1], *paths[-2:-1], *(paths[:1] if len(paths) > 2 else [])]
            self._category[: len(nearest), item_rows] = np.array(nearest)[:, None]

    def features(self, items: Ints) -> tuple[Ints, Ints, NDArray[np.float32], NDArray[np.uint32]]:
        """All candidates of some items.

        Args:
            items: int64, shape (n,), item rows.

        Returns:
            For each pair, by place of the item and then offer: the place (int64), the offer
            (int64), features (float32, shape (n_pairs, n_features)) and orders with both.
        """
        n_offers = len(self.prior)
        walks = np.where(self._own[items] >= 0, self._place[self._own[items]], -1)
        sources = [
            _entries(self.affinity, items),
            _link_entries(self._walk, walks, self._reached),
            *(_entries(self._context, rows[items]) for rows in self._category),
        ]
        keys = [place * n_offers + offers for place, offers, _, _ in sources]
        pairs = distinct(np.concatenate(keys))
        place, offers = np.divmod(pairs, n_offers)

        def said(source: int, column: int, nothing: float = 0.0) -> Floats:
            dense = np.full(len(pairs), nothing)
            dense[np.searchsorted(pairs, keys[source])] = sources[source][column]
            return dense

        together, units = said(0, 3), self._item_units[items][place]
        share, base = self._share[offers], self._walk_base[offers]
        plain = said(0, 2)
        columns = [plain, plain > 0.0]
        columns += [
            np.log((together + strength * share) / ((units + strength) * share))
            for strength in _STRENGTHS
        ]
        walked = np.log((said(1, 2) + _WALK_FLOOR * base) / ((1.0 + _WALK_FLOOR) * base))
        columns.append(np.where(walks[place] >= 0, walked, 0.0))
        columns += [said(2 + level, 2) for level in range(_LEVELS)]
        own = self._own[items][place]
        columns += [
            (groups[own] == groups[offers]) & (groups[own] >= 0) & (own >= 0)
            for groups in self._groups
        ]
        size, of_item = self._size[offers], np.where(own >= 0, self._size[own], 0.0)
        columns += [size, size * of_item]
        return (
            place,
            offers,
            np.column_stack(columns).astype(np.float32),
            together.astype(np.uint32),
        )


def _sizes(connection: duckdb.DuckDBPyConnection, merged_dir: Path, n_offers: int) -> Floats:
    """Mean log size of the sampled orders with each offer, less that of all, drawn to 0."""
    sampled = connection.execute(
        f"""
        SELECT offer_row, count(*) AS n, sum(log_size_milli) / 1000 AS log_sizes
        FROM {_parquet(merged_dir / "sample.parquet")} JOIN (
            SELECT customer_hi, customer_lo, order_key,
                   round(1000 * ln(count(*)))::BIGINT AS log_size_milli
            FROM {_parquet(merged_dir / "sample.parquet")} GROUP BY ALL
        ) USING (customer_hi, customer_lo, order_key) GROUP BY offer_row
        """
    ).fetchnumpy()
    n, log_sizes = (np.asarray(sampled[name], dtype=np.float64) for name in ("n", "log_sizes"))
    usual = log_sizes.sum() / max(n.sum(), 1.0)
    sizes = np.zeros(n_offers)
    sizes[sampled["offer_row"]] = (log_sizes - usual * n) / (n + _PSEUDO_ORDERS)
    return sizes


def _entries(table: SparseRows, rows: Ints) -> tuple[Ints, Ints, Floats, Floats]:
    """Place, offer, value and count of every entry of some rows; -1 is an empty one."""
    starts = np.where(rows >= 0, table.starts[rows], 0)
    sizes = np.where(rows >= 0, table.starts[rows + 1], 0) - starts
    place, at = _spread(starts, sizes)
    return (
        place,
        table.rows[at].astype(np.int64),
        table.values[at].astype(np.float64),
        table.counts[at].astype(np.float64),
    )


def _link_entries(links: Any, rows: Ints, reached: Ints) -> tuple[Ints, Ints, Floats, Floats]:
    """The same of links between offers in reach."""
    starts = np.where(rows >= 0, links.indptr[rows], 0)
    place, at = _spread(starts, np.where(rows >= 0, links.indptr[rows + 1], 0) - starts)
    values = links.data[at].astype(np.float64)
    return place, reached[links.indices[at]], values, values


def _spread(starts: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Of ranges: which one each element is of, and where it stands."""
    place = np.repeat(np.arange(len(starts)), sizes)
    before = np.cumsum(sizes) - sizes
    return place, np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _parquet(path: Path) -> str:
    return f"read_parquet({literal(path)})"
