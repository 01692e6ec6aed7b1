"""Customers whose record of an earlier snapshot still says what it should, so that it is kept.

A record is kept, byte for byte, when the customer ordered nothing since (also nothing that came in
late, and nothing that was taken back), and when every offer it names is still the same offer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from builder.duck import connect
from builder.parent import Parent
from builder.signals.histories import Histories, load_histories
from builder.signals.orders import DAY_US, Partition, Vocabulary, load_orders
from builder.signals.personal import history_of
from builder.signals.personal_model import PersonalSettings
from builder.split import Cut
from index.records import CustomerView
from index.snapshot import open_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What tasks need to know to keep records.

    Attributes:
        parent: the earlier snapshot.
        same_path: .npy of bool, shape (n_offers of the parent,): whether each of its offer rows
            still means the same offer. Its name tells its contents.
    """

    parent: Parent
    same_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Customers of one partition.

    Attributes:
        records: packed records by key, of those whose record is kept.
        changed: keys of the others.
    """

    records: Mapping[bytes, bytes]
    changed: tuple[bytes, ...]


def kept_customers(  # noqa: PLR0917  # what a task holds, in its order
    keeping: Keeping,
    partition: Partition,
    vocabulary: Vocabulary,
    cut: Cut,
    settings: PersonalSettings,
    memory_bytes: int,
) -> Kept:
    """Look at all customers of a partition.

    Args:
        keeping: see there.
        partition: whose events.
        vocabulary: rows of items and offers.
        cut: what may be seen.
        settings: how records are made.
        memory_bytes: for this process.
    """
    with TemporaryDirectory() as temp_dir, connect(memory_bytes, Path(temp_dir)) as connection:
        load_orders(connection, partition, vocabulary, cut, target_kind=settings.target_kind)
        histories = load_histories(connection, cut.until_us)
    is_same: NDArray[np.bool_] = np.load(keeping.same_path, allow_pickle=False)
    records: dict[bytes, bytes] = {}
    changed: list[bytes] = []
    with open_snapshot(keeping.parent.directory) as generation, generation.reading() as reader:
        for customer in range(len(histories)):
            key = histories.key(customer)
            data = reader.customer_data(key)
            if data is not None and still_says(
                CustomerView(data), histories, customer, is_same, settings.history_offers
            ):
                records[key] = bytes(data)
            else:
                changed.append(key)
    return Kept(records=records, changed=tuple(changed))


def still_says(
    record: CustomerView,
    histories: Histories,
    customer: int,
    is_same: NDArray[np.bool_],
    history_offers: int,
) -> bool:
    """Whether a record's facts are those of today.

    Args:
        record: of the earlier snapshot.
        histories: of today.
        customer: which of them.
        is_same: bool, shape (n_offers of the earlier snapshot,).
        history_offers: how many offers a record's history has at most.
    """
    if record.n_orders != int(histories.n_orders[customer]):
        return False
    if record.last_day != int(histories.last_us[customer]) // DAY_US:
        return False
    history = history_of(histories, customer, history_offers)
    if not np.array_equal(record.history, history):
        return False
    if not (is_same[record.rows].all() and is_same[history].all()):
        return False
    return bool(np.array_equal(record.counts, _uses(histories, customer, record)))


def _uses(histories: Histories, customer: int, record: CustomerView) -> NDArray[np.int64]:
    """In how many orders the customer took each offer of a record's row."""
    first, stop = (int(at) for at in histories.entry_starts[customer : customer + 2])
    taken = histories.entry_offer[first:stop]
    uses = np.append(np.diff(histories.use_starts[first : stop + 1]), 0)
    place = np.searchsorted(taken, record.rows)
    is_taken = np.zeros(len(place), dtype=np.bool_)
    inside = place < len(taken)
    is_taken[inside] = taken[place[inside]] == record.rows[inside]
    return np.where(is_taken, uses[np.where(is_taken, place, len(taken))], 0)
