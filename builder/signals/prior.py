"""How likely an order is to contain an offer when nothing else is known.

`learn_prior(merged_dir, n_offers, settings) -> NDArray[np.float32]` of shape (n_offers,): natural-log odds, finite for
every offer, also for those never sold. Written to the globals as `prior.npy`.
"""
