"""Item and offer vectors from co-purchase, so that near vectors mean bought together or alike.

Globals: `item_vectors.npy` float32 (n_items, dim), `offer_vectors.npy` float32 (n_offers, dim), rows L2-normalised;
`item_vectors_known.npy`, `offer_vectors_known.npy` bool: False where a row is only the mean of its category or brand;
a row of zeros where not even that is known.
"""
