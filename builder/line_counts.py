"""Which offers an evaluation asks about: those that enough order lines before the cut hold.

Published protocols leave out what was hardly ever sold, from the truth and from what methods may
rank; with `evaluation.min_orders` they can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from builder.duck import connect, literal
from builder.metrics import Bools
from builder.signals.orders import Partition, Vocabulary, kept
from builder.split import Cut


def offers_with_lines(
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    *,
    n_offers: int,
    target_kind: int,
    min_lines: int,
    memory_bytes: int,
    temp_dir: Path,
) -> Bools:
    """Which offers at least so many order lines hold.

    Args:
        partitions: the canonical events.
        vocabulary: rows of items and offers.
        cut: what may be seen.
        n_offers: offers of the vocabulary.
        target_kind: kind of event that makes an order.
        min_lines: an item's line counts for each offer that holds the item.
        memory_bytes: for DuckDB.
        temp_dir: where it may spill.

    Returns:
        bool, shape (n_offers,).
    """
    n_lines = np.zeros(n_offers, dtype=np.int64)
    for partition in partitions:
        for path in partition.event_paths:
            with connect(memory_bytes, temp_dir) as connection:
                found = connection.execute(
                    f"""
                    SELECT offer_row, sum(n)::BIGINT AS n FROM (
                        SELECT item_id, count(*) AS n FROM read_parquet({literal(path)})
                        WHERE kind = {target_kind} AND ts_us < {cut.until_us} AND {kept(cut)}
                        GROUP BY item_id)
                    JOIN read_parquet({literal(vocabulary.items_path)}) USING (item_id)
                    JOIN read_parquet({literal(vocabulary.item_offers_path)}) USING (item_row)
                    GROUP BY offer_row
                    """
                ).fetchnumpy()
            n_lines[np.asarray(found["offer_row"], dtype=np.int64)] += found["n"]
    return n_lines >= min_lines
