"""Small shops as canonical events and vocabularies, and what is learned from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from builder.engine import Engine, Task
from builder.progress import Listener
from builder.signals.collaborative import METHODS, LearnCollaborative
from builder.signals.counts import CountPartition, CountSettings
from builder.signals.learn import PARTS, GatherGlobals, LearnSignals, SignalSettings
from builder.signals.merge import MergeCounts
from builder.signals.orders import DAY_US, Partition, Vocabulary
from builder.signals.pairs import LearnAffinity, item_ranges
from builder.signals.personal_model import PersonalModel, PersonalSettings
from builder.split import Cut
from builder.teaching import learn_personal
from tests.builder.files import connected

MEMORY_BYTES = 512 * 2**20
LATE = Cut(until_us=10_000 * DAY_US, holdout_share=0.0)
"""A cut after everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event; `customer` 0 is a guest."""

    customer: int
    order: int
    item: int
    day: float = 0.0
    kind: int = 0
    hour_of_week: int = 0
    offer: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Files of one shop."""

    partitions: tuple[Partition, ...]
    vocabulary: Vocabulary
    n_items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Result folders of one cut."""

    merged_dir: Path
    affinity_dirs: tuple[Path, ...]
    globals_dir: Path


def key_lo(customer: int) -> int:
    """Low key half of a customer: spread, so that halves and samples are mixed."""
    return customer * 0x9E3779B97F4A7C15 % 2**64


def write_shop(
    folder: Path,
    lines: Sequence[Line],
    *,
    n_items: int,
    contexts: Sequence[str] = (),
    partition_of: Sequence[int] | None = None,
    categories: Sequence[str | None] | None = None,
    prices: Sequence[int | None] | None = None,
    titles: Sequence[str | None] | None = None,
    brands: Sequence[str | None] | None = None,
    item_offers: Sequence[tuple[int, int]] | None = None,
    expiry_days: Sequence[float | None] | None = None,
    placements: Sequence[Sequence[str]] | None = None,
) -> Shop:
    """Write events and vocabulary; item i is `i<i>`, and is offer `o<i>` unless told otherwise.

    Args:
        folder: an empty one.
        lines: in source order.
        n_items: items of the vocabulary.
        contexts: names of the context features.
        partition_of: partition of each line; all in one by default.
        categories: path of each item.
        prices: in hundredths.
        titles: of each item.
        brands: of each item.
        item_offers: (item row, offer row) pairs.
        expiry_days: the day after the last one of each offer.
        placements: that each offer is restricted to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placed = partition_of if partition_of is not None else [0] * len(lines)
    partitions = []
    for number in range(max(placed, default=0) + 1):
        path = folder / f"part-{number}.parquet"
        own = [(n, line) for n, line in enumerate(lines) if placed[n] == number]
        _write(path, _events(own, contexts))
        partitions.append(Partition(number=number, event_paths=(path,)))
    links = item_offers if item_offers is not None else [(row, row) for row in range(n_items)]
    n_offers = max((offer for _, offer in links), default=-1) + 1
    rows = range(n_items)
    _write(
        folder / "items.parquet",
        {
            "item_row": list(rows),
            "item_id": [f"i{row}" for row in rows],
            "title": [titles[row] if titles else None for row in rows],
            "category": [categories[row] if categories else None for row in rows],
            "brand": [brands[row] if brands else None for row in rows],
            "price_cents": [prices[row] if prices else None for row in rows],
        },
    )
    expiry = expiry_days or [None] * n_offers
    _write(
        folder / "offers.parquet",
        {
            "offer_row": list(range(n_offers)),
            "offer_id": [f"o{row}" for row in range(n_offers)],
            "placements": [list(names) for names in placements or [()] * n_offers],
            "expires_us": [None if day is None else round(day * DAY_US) for day in expiry],
        },
    )
    _write(
        folder / "item_offers.parquet",
        {
            "item_row": [item for item, _ in links],
            "offer_row": [offer for _, offer in links],
        },
    )
    return Shop(partitions=tuple(partitions), vocabulary=Vocabulary.in_dir(folder), n_items=n_items)


def learn(
    shop: Shop,
    folder: Path,
    cut: Cut = LATE,
    *,
    counts: CountSettings | None = None,
    signals: SignalSettings | None = None,
    value_min_orders: int = 1,
) -> Learned:
    """Run the learning tasks of one cut, one after the other."""
    count_dirs = tuple(
        run(
            CountPartition(
                partition=partition,
                vocabulary=shop.vocabulary,
                cut=cut,
                settings=counts or CountSettings(),
            ),
            folder,
        )
        for partition in shop.partitions
    )
    merged_dir = run(
        MergeCounts(
            label="x",
            count_dirs=count_dirs,
            vocabulary=shop.vocabulary,
            value_min_orders=value_min_orders,
        ),
        folder,
    )
    affinity_dirs = tuple(
        run(
            LearnAffinity(
                label="x",
                first_item=first,
                stop_item=stop,
                count_dirs=count_dirs,
                merged_dir=merged_dir,
            ),
            folder,
        )
        for first, stop in item_ranges(shop.n_items, 2)
    )
    methods = [
        LearnCollaborative(label="x", method=method, merged_dir=merged_dir) for method in METHODS
    ]
    parts = [
        LearnSignals(
            label="x",
            part=part,
            merged_dir=merged_dir,
            affinity_dirs=affinity_dirs,
            vocabulary=shop.vocabulary,
            settings=signals or SignalSettings(),
        )
        for part in PARTS
    ]
    learned_dirs = (
        *(run(task, folder) for task in methods),
        *(run(task, folder) for task in parts),
    )
    globals_dir = run(GatherGlobals(label="x", learned_dirs=learned_dirs), folder)
    return Learned(merged_dir=merged_dir, affinity_dirs=affinity_dirs, globals_dir=globals_dir)


def fit(
    shop: Shop,
    learned: Learned,
    cut: Cut,
    until_us: int,
    folder: Path,
    *,
    holdout_share: float | None = None,
    settings: PersonalSettings | None = None,
) -> PersonalModel:
    """The personal model from the slice after a cut, by an engine in this process.

    Nothing is learned from a share of the customers, or else from those that the cut holds out.
    """
    with Engine(
        folder / "fit",
        workers=1,
        memory_bytes=MEMORY_BYTES,
        listener=Listener(),
        executor=lambda: ThreadPoolExecutor(1),
    ) as engine:
        return learn_personal(
            engine,
            shop.partitions,
            shop.vocabulary,
            cut,
            until_us,
            since_us=0,
            globals_dir=learned.globals_dir,
            holdout_share=cut.holdout_share if holdout_share is None else holdout_share,
            settings=settings or PersonalSettings(),
        )


def run(task: Task, folder: Path) -> Path:
    """Run a task in a folder of its name."""
    out_dir = folder / task.name
    out_dir.mkdir(parents=True)
    task.run(out_dir, MEMORY_BYTES)
    return out_dir


def read(path: Path) -> list[tuple[Any, ...]]:
    """Rows of a Parquet file, in their order."""
    with connected() as connection:
        return connection.execute(f"SELECT * FROM read_parquet('{path}')").fetchall()


def contents(folder: Path) -> dict[str, Any]:
    """What a result folder holds, by file name: rows of Parquet files, bytes of others."""
    return {
        str(path.relative_to(folder)): read(path)
        if path.suffix == ".parquet"
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _events(lines: Sequence[tuple[int, Line]], contexts: Sequence[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "customer_hi": [line.customer for _, line in lines],
        "customer_lo": [key_lo(line.customer) for _, line in lines],
        "order_key": [line.order for _, line in lines],
        "session_key": [0 for _ in lines],
        "ts_us": [round(line.day * DAY_US) for _, line in lines],
        "hour_of_week": [line.hour_of_week for _, line in lines],
        "kind": [line.kind for _, line in lines],
        "item_id": [f"i{line.item}" for _, line in lines],
        "offer_id": [line.offer for _, line in lines],
        "quantity": [1 for _ in lines],
        "price_cents": [None for _ in lines],
        "line": [number for number, _ in lines],
    }
    columns |= {f"ctx_{name}": [line.context.get(name) for _, line in lines] for name in contexts}
    return columns


_TYPES = {
    "customer_hi": "UBIGINT",
    "customer_lo": "UBIGINT",
    "order_key": "UBIGINT",
    "session_key": "UBIGINT",
    "ts_us": "BIGINT",
    "hour_of_week": "UTINYINT",
    "kind": "UTINYINT",
    "quantity": "INTEGER",
    "price_cents": "BIGINT",
    "line": "UBIGINT",
    "item_row": "UINTEGER",
    "offer_row": "UINTEGER",
    "expires_us": "BIGINT",
    "placements": "VARCHAR[]",
}


def _write(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    with connected() as connection:
        connection.register(
            "given",
            {name: np.array([*cells, None], dtype=object)[:-1] for name, cells in columns.items()},
        )
        cast = ", ".join(f"{name}::{_TYPES.get(name, 'VARCHAR')} AS {name}" for name in columns)
        connection.execute(f"COPY (SELECT {cast} FROM given) TO '{path}' (FORMAT parquet)")
