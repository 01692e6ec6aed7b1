"""What one value of one context feature says about offers: a row of log-lifts over the prior.

Files in the globals: `context.json`: a list of `[feature, value, n_orders]`, sorted by feature and value; and
the sparse rows `context_*.npy` (see `rows`) in the same order.

`open_context(globals_dir) -> ContextTable(names: list[tuple[str, str]], n_orders: list[int], rows: SparseRows)`.
"""
