"""What goes with what, learned from carts: the model once, and rows under it for every cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from builder.cases import MAX_CART, POST_PURCHASE, Case, Order
from builder.duck import connect
from builder.engine import Engine
from builder.learning import Learned, ranges_of
from builder.signals.affinity import AffinitySettings
from builder.signals.histories import Ints
from builder.signals.orders import Vocabulary
from builder.signals.pair_model import MIN_CARTS, Cart, PairModel, fit_pairs, pair_rows
from builder.signals.pair_tables import PairTables
from builder.signals.rows import SparseRows, open_rows, replace_rows, stack_rows, write_rows
from builder.split import Cut
from builder.tables import LearnedArrays

_ITEMS_AT_A_TIME: Final = 1000
_ROWS: Final = "pairs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePairs:
    """The task that makes the learned rows of a range of items.

    Attributes:
        label: tells the cuts of one build apart in the task's name.
        first_item: first item row of the range.
        stop_item: first item row after it.
        model: what a pair's features count.
        learned: the tables of the cut.
        vocabulary: rows of items and offers.
    """

    label: str
    first_item: int
    stop_item: int
    model: PairModel
    learned: Learned
    vocabulary: Vocabulary

    @property
    def name(self) -> str:
        return f"pairs-{self.label}-{self.first_item:09d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            tables = _tables(connection, self.learned, self.vocabulary)
        rows = _rows_of(tables, self.model, np.arange(self.first_item, self.stop_item))
        write_rows(rows, out_dir, _ROWS)


def learn_pair_model(
    cases: Sequence[Case],
    cut: Cut,
    arrays: LearnedArrays,
    learned: Learned,
    vocabulary: Vocabulary,
    *,
    memory_bytes: int,
    temp_dir: Path,
) -> tuple[PairModel | None, LearnedArrays]:
    """Fit the model on the carts of those of whom a cut knows nothing.

    Returns:
        The model, None when such carts are few; and the arrays with the learned rows of the items
        that the cases give, which are all that is asked of them.
    """
    carts = [case for case in cases if case.question == POST_PURCHASE and case.request.cart]
    lessons = [
        cart for case in carts if case.order.is_held_out(cut) for cart in _first_items(case.order)
    ]
    if len(lessons) < MIN_CARTS:
        return None, arrays
    with connect(memory_bytes, temp_dir) as connection:
        tables = _tables(connection, learned, vocabulary)
    model = fit_pairs(tables, lessons)
    if model is None:
        return None, arrays
    items = np.unique(np.concatenate([case.cart_rows for case in carts]))
    rows = _rows_of(tables, model, items)
    return model, replace(arrays, affinity=replace_rows(arrays.affinity, items, rows))


def _first_items(order: Order) -> Iterator[Cart]:
    """An order as all the carts it grew from, of as many items as questions give."""
    for n_cart in range(1, min(MAX_CART, len(order.item_ids) - 1) + 1):
        if wanted := order.wanted(n_cart):
            yield Cart(
                item_rows=np.array(order.item_rows[:n_cart], dtype=np.int64),
                banned=np.array(order.given(n_cart), dtype=np.int64),
                truth=np.array(wanted, dtype=np.int64),
            )


def with_pairs(
    engine: Engine,
    label: str,
    arrays: LearnedArrays,
    *,
    model: PairModel | None,
    learned: Learned,
    vocabulary: Vocabulary,
) -> LearnedArrays:
    """The same arrays with learned rows instead of those of plain counts, if there is a model."""
    if model is None:
        return arrays
    results = engine.run(
        f"pairs-{label}",
        [
            ScorePairs(
                label=label,
                first_item=first,
                stop_item=stop,
                model=model,
                learned=learned,
                vocabulary=vocabulary,
            )
            for first, stop in ranges_of(arrays.n_items)
        ],
    )
    return replace(arrays, affinity=stack_rows([open_rows(path, _ROWS) for path in results]))


def _tables(
    connection: duckdb.DuckDBPyConnection, learned: Learned, vocabulary: Vocabulary
) -> PairTables:
    return PairTables(connection, learned.globals_dir, learned.merged_dir, vocabulary)


def _rows_of(tables: PairTables, model: PairModel, items: Ints) -> SparseRows:
    length = AffinitySettings().offers_per_item
    firsts = range(0, len(items), _ITEMS_AT_A_TIME)
    return stack_rows(
        [pair_rows(tables, model, items[at : at + _ITEMS_AT_A_TIME], length) for at in firsts]
    )
