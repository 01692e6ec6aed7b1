"""The snapshot that an incremental build goes on from: whose it is, and which rows it gave.

Rows are numbers inside a snapshot. What keeps its row keeps the meaning of every record that names
it, so items, offers and contexts that the earlier snapshot knows keep theirs, as far as rows stay
without gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.errors import DataGate, UsageError
from index.generation import Generation
from index.layout import MODEL_NAME
from index.manifest import read_manifest
from index.model import read_model

NO_ROW: Final = -1

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """An earlier snapshot, as tasks are told of it.

    Attributes:
        directory: where it is.
        snapshot_id: which.
        model_id: of its very bytes: a task that names it is done again for another.
        depth: incremental builds since the last whole one.
        n_orders: it was learned from.
        n_items: it knows.
    """

    directory: Path
    snapshot_id: str
    model_id: str
    depth: int
    n_orders: int
    n_items: int


def open_parent(directory: Path, *, brand: str, secret_check: str, target: str) -> Parent:
    """Read which snapshot it is, and check that this build may go on from it.

    Args:
        directory: of the earlier snapshot.
        brand: whose is built.
        secret_check: fingerprint of the brand's secret.
        target: the event that offers are meant to bring about.

    Raises:
        SnapshotError: there is none, or it is damaged.
        UsageError: it was made of something else, so that nothing of it can be kept.
    """
    manifest = read_manifest(directory)
    build: dict[str, Any] = manifest.build
    earlier_target = build.get("input", {}).get("target", target)
    for what, theirs, ours in (
        ("brand", manifest.brand, brand),
        ("secret", manifest.secret_check, secret_check),
        ("target", earlier_target, target),
    ):
        if theirs != ours:
            raise UsageError(
                f"{directory}: its {what} is {theirs}, this build's is {ours}",
                hint="leave out --incremental: nothing of that snapshot can be kept",
                path=directory,
            )
    read_model(directory / MODEL_NAME)  # now rather than after an hour
    return Parent(
        directory=directory.absolute(),
        snapshot_id=manifest.snapshot_id,
        model_id=manifest.model_id,
        depth=int(build.get("incremental", {}).get("depth", 0)),
        n_orders=manifest.counts["orders"],
        n_items=manifest.counts["items"],
    )


def require_no_loss(parent: Parent, *, n_orders: int, n_items: int, max_loss: float) -> None:
    """Refuse input that lost a part of what the earlier snapshot was learned from.

    Raises:
        DataGate: there are fewer orders or items than may be.
    """
    for noun, before, now in (
        ("orders", parent.n_orders, n_orders),
        ("items", parent.n_items, n_items),
    ):
        if now < (1.0 - max_loss) * before:
            raise DataGate(
                f"{now:,} {noun}, {parent.snapshot_id} has {before:,}:"
                f" more than {max_loss:.0%} are missing",
                hint="is a file or a partition missing? If not, allow more (input.max_loss), or"
                " ship all the same with --force",
            )


def item_rows_in(generation: Generation, item_ids: Iterable[str]) -> Ints:
    """Rows that a snapshot gave to items; `NO_ROW` for those it does not know."""
    with generation.reading() as reader:
        found = map(reader.item, item_ids)
        return np.array([item.item_row if item else NO_ROW for item in found], dtype=np.int64)


def offer_ids_in(generation: Generation) -> list[str]:
    """Ids of a snapshot's offers by row."""
    with generation.reading() as reader:
        records = (reader.stored_offer(row) for row in range(generation.model.n_offers))
        return [record.offer_id if record else "" for record in records]


def dense_rows(known: Ints) -> Ints:
    """Rows without gaps, in which as many as possible keep the one they had.

    What is new, or had a row beyond the end, takes the rows that are free, in order.

    Args:
        known: int64, shape (n,), the row each had, distinct; `NO_ROW` for what is new.

    Returns:
        int64, shape (n,), a permutation of 0 … n - 1.

    >>> dense_rows(np.array([NO_ROW, 1, 4, 0, NO_ROW])).tolist()
    [2, 1, 4, 0, 3]
    """
    n = len(known)
    stays = (known >= 0) & (known < n)
    is_free = np.ones(n, dtype=np.bool_)
    is_free[known[stays]] = False
    rows = known.copy()
    rows[~stays] = np.flatnonzero(is_free)
    return rows


def rows_by_name(before: Sequence[str], now: Sequence[str]) -> Ints:
    """`dense_rows` of things that are known by distinct names.

    Args:
        before: names by the rows they had.
        now: names that are to have rows.
    """
    row_of = {name: row for row, name in enumerate(before)}
    return dense_rows(np.array([row_of.get(name, NO_ROW) for name in now], dtype=np.int64))
