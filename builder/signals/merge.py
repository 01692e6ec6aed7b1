"""Adds up what the partitions counted, except pairs, and cuts prices into bands.

Files written by `MergeTotals`: `totals.parquet`, `items.parquet`, `offers.parquet`,
`contexts.parquet`, `context_offers.parquet`, `sample.parquet` with the columns of `counts`, and
`price_edges.npy` int64: rising prices in minor units; `price_band` tells what they mean.
"""
