"""What one value of one context feature says about offers: a row of log-lifts over the prior.

The features a request brings along, and the hour of its moment, are fitted together, and only those
that foretell orders they have not seen get rows (`context_rows`). The groups of items in a cart,
`category` and `price_band`, have rows too (`cart_groups`). Offers absent from a row have lift 0.

Globals: `context.json`: `[[feature, value, n_orders], …]` sorted by feature and value; and in the
same order the sparse rows `context_*.npy` (see `rows`), where counts are orders that held the
offer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from builder.signals.cart_groups import learn_cart_groups
from builder.signals.context_counts import load_context_counts
from builder.signals.context_rows import RowSettings, ValueRow, learn_rows
from builder.signals.moments import load_moments
from builder.signals.orders import Vocabulary
from builder.signals.rows import SparseRows, open_rows, pack_rows, write_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSettings:
    """How context counts become lifts.

    Attributes:
        reach: offers that the rows of features may name, those that stand highest in the list of
            some value.
        group_strength: what chances are drawn to the prior with, in expected orders: those of
            groups of items, and those that tell which offers are in reach.
        offers_per_group: length of a group's row: a cart has several groups.
        rows: of features.
        features: only these may have rows; None for any. Features are fitted together and share
            what they say between them, so one that nothing weighs would take away from the others.
    """

    reach: int = 2000
    group_strength: float = 20.0
    offers_per_group: int = 64
    rows: RowSettings = field(default_factory=RowSettings)
    features: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTable:
    """Rows of context values.

    Attributes:
        names: (feature, value) of each row, rising.
        n_orders: orders behind each row.
        rows: the lifts, in the same order.
    """

    names: list[tuple[str, str]]
    n_orders: list[int]
    rows: SparseRows


def learn_context(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    affinity_dirs: Sequence[Path],
    vocabulary: Vocabulary,
    settings: ContextSettings,
) -> ContextTable:
    """Lifts of context values and item groups.

    Args:
        connection: from `builder.duck.connect`; tables are made in it.
        merged_dir: result of `merge.MergeCounts`.
        affinity_dirs: results of all `pairs.LearnAffinity` tasks.
        vocabulary: rows of items and offers.
        settings: see there.
    """
    counts = load_context_counts(
        connection, merged_dir, reach=settings.reach, shrinkage=settings.group_strength
    ).only(settings.features)
    features = [feature.context_rows for feature in counts.features]
    moments = load_moments(connection, merged_dir, features)
    groups = learn_cart_groups(
        connection,
        merged_dir,
        affinity_dirs,
        vocabulary,
        strength=settings.group_strength,
        length=settings.offers_per_group,
    )
    return _table([*groups, *learn_rows(counts, moments, settings.rows)])


def write_context(table: ContextTable, out_dir: Path) -> None:
    """Write `context.json` and the sparse rows."""
    listed = [[*name, n] for name, n in zip(table.names, table.n_orders, strict=True)]
    (out_dir / "context.json").write_text(json.dumps(listed, ensure_ascii=False))
    write_rows(table.rows, out_dir, "context")


def open_context(globals_dir: Path) -> ContextTable:
    """Map what `write_context` wrote."""
    listed = json.loads((globals_dir / "context.json").read_text())
    return ContextTable(
        names=[(feature, value) for feature, value, _ in listed],
        n_orders=[n_orders for _, _, n_orders in listed],
        rows=open_rows(globals_dir, "context"),
    )


def _table(values: Sequence[ValueRow]) -> ContextTable:
    rising = sorted(values, key=lambda value: value.name)
    nothing = np.empty(0, dtype=np.int64)
    keys = np.repeat(np.arange(len(rising)), [len(value.offers) for value in rising])
    return ContextTable(
        names=[value.name for value in rising],
        n_orders=[value.n_orders for value in rising],
        rows=pack_rows(
            len(rising),
            keys,
            np.concatenate([nothing, *(value.offers for value in rising)]),
            np.concatenate([nothing, *(value.lifts for value in rising)]),
            np.concatenate([nothing, *(value.counts for value in rising)]),
        ),
    )
