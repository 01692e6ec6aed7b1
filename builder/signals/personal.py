"""What a customer's own orders say about offers: one row per customer.

    fit_personal(partitions, vocabulary, cut, slice_until_us, globals_dir, settings) -> PersonalModel
    score_partition(partition, vocabulary, cut, model, globals_dir, memory_bytes) -> Iterator[CustomerRow]

`PersonalModel`: frozen dataclass of floats, JSON through `write_model` / `read_model`.
`CustomerRow(key: bytes (16), n_orders: int, rows: uint32, values: float32, counts: uint16, history: uint32)`, ordered by key;
rows in falling value; `value` is an additive natural-log lift over the prior; `counts`: orders of this customer
with the offer (0 = new to them); history: all offers bought, most recent first, at most 512.
"""
