"""What a group of items in the cart says about offers: rows of categories and price bands.

The units (see `counts`) and pairs of a group are added up over its items. Its rows are log-lifts
like those of other contexts: with c pairs of the group's items and the offer, and E = the group's
units × the offer's share of all units, ln((c + k) / (E + k)). Halves of pairs are not counted, so
k is a setting. From an offer's own items nothing is expected: a pair is two different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np

from builder.duck import literal
from builder.signals.context_rows import ValueRow
from builder.signals.orders import Vocabulary


def learn_cart_groups(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    affinity_dirs: Sequence[Path],
    vocabulary: Vocabulary,
    *,
    strength: float,
    length: int,
) -> list[ValueRow]:
    """Rows of all groups of items, by feature and value.

    Args:
        connection: from `builder.duck.connect`.
        merged_dir: result of `merge.MergeCounts`.
        affinity_dirs: results of all `pairs.LearnAffinity` tasks.
        vocabulary: rows of items and offers.
        strength: k, in expected orders.
        length: of a row, at most: the offers with the highest smoothed chance.
    """

    def merged(table: str) -> str:
        return f"read_parquet({literal(merged_dir / f'{table}.parquet')}) AS {table}"

    groups = connection.execute(
        f"""SELECT context_row, feature, value, n_orders FROM {merged("contexts")}
            WHERE n_half IS NULL ORDER BY context_row"""
    ).fetchall()
    pairs = ", ".join(literal(path / "group_offers.parquet") for path in affinity_dirs)
    connection.execute(
        f"""
        CREATE TEMP TABLE expected AS
        SELECT context_row, offer_row, share, c,
               share * greatest(n_orders - coalesce(own, 0), 0) AS e
        FROM (SELECT context_row, offer_row, sum(n_units)::BIGINT AS c
              FROM read_parquet([{pairs}]) GROUP BY context_row, offer_row)
        JOIN (SELECT context_row, n_orders FROM {merged("contexts")}) USING (context_row)
        JOIN (SELECT offer_row, (n_units + 0.5) / (SELECT n_units + 1 FROM {merged("totals")})
                     AS share FROM {merged("offers")}) USING (offer_row)
        LEFT JOIN (SELECT context_row, offer_row, sum(n_units)::BIGINT AS own
                   FROM {merged("item_groups")} JOIN {merged("items")} USING (item_row)
                   JOIN read_parquet({literal(vocabulary.item_offers_path)}) AS links
                   USING (item_row) GROUP BY context_row, offer_row)
            USING (context_row, offer_row)
        """
    )
    kept = connection.execute(
        f"""
        SELECT context_row, offer_row, ln((c + {strength}) / (e + {strength})) AS lift, c
        FROM expected
        QUALIFY row_number() OVER (
            PARTITION BY context_row
            ORDER BY share * (c + {strength}) / (e + {strength}) DESC, offer_row) <= {length}
        ORDER BY context_row, offer_row
        """
    ).fetchnumpy()
    bounds = np.searchsorted(kept["context_row"], [*(row for row, *_ in groups), 2**32])
    return [
        ValueRow(
            name=(feature, value),
            n_orders=n_orders,
            offers=kept["offer_row"][start:stop].astype(np.int64),
            lifts=kept["lift"][start:stop],
            counts=kept["c"][start:stop],
        )
        for (_, feature, value, n_orders), (start, stop) in zip(
            groups, pairwise(bounds), strict=True
        )
    ]
