"""Adds up pair counts, one range of items at a time, and keeps what affinity and groups need.

Files written by `MergePairs`:

- `affinity.parquet`: `item_row`, `offer_row` UINTEGER, `value` FLOAT, `n_orders` BIGINT: the top
  offers of each item.
- `groups.parquet`: `feature` (`category` or `price_band`), `value`, `offer_row`, `n_orders`: pairs
  added up over the items of a category (each level of its path) or a price band.
"""
