"""What an item in the cart says about offers: a row of directional log-lifts per item.

Globals: the sparse rows `affinity_*.npy` (see `rows`), row i is item row i.
"""
