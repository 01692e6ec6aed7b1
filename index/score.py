"""What is added up for one request: the rows of all signals with the weights of its tier."""

from __future__ import annotations

from index.adder import Pool, Terms
from index.arrays import RowBytes
from index.context import ContextLookup
from index.gather import Gathered
from index.generation import Reader
from index.model import Model


def terms_of(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered, placement: str
) -> Terms:
    """The terms of a request's scores, under the weights of its tier."""
    tier = model.tiers[found.tier_name]
    weight_of = tier.weights.get
    context_weights = lookup.weights[found.tier_name]
    # Nearly all context rows are decoded already; a dict answers sooner than a method.
    known, context = reader.kept_contexts, reader.context
    pairs: list[RowBytes] = [reader.top(placement)]
    weights = [1.0]
    if found.customer is not None:
        pairs.insert(0, found.customer.pairs)
        weights.insert(0, weight_of("personal", 0.0))
        if found.repeat_factor is not None:
            pairs.append(found.customer.history_pairs)
            weights.append(tier.shift_of(found.repeat_factor))
    for row in found.context_rows:
        weight = context_weights[row]
        if weight and (record := known.get(row) or context(row)) is not None:
            pairs.append(record.pairs)
            weights.append(weight)
    damping = found.n_cart**-model.cart_power if found.n_cart else 1.0
    for row, times in found.cart_context_rows.items():
        weight = context_weights[row] * damping * times
        if weight and (record := known.get(row) or context(row)) is not None:
            pairs.append(record.pairs)
            weights.append(weight)
    if found.similar is not None:
        pairs.append(found.similar)
        weights.append(weight_of("similar", 0.0))
    pools: list[Pool] = []
    if found.cart:
        n, weight, added = len(found.cart), weight_of("cart", 0.0), weight_of("cart_sum", 0.0)
        rows = [item.pairs for item in found.cart]
        pools.append(Pool(rows, [weight] * n, [added * damping] * n))
    if found.viewed:
        weight, added = weight_of("viewed", 0.0), weight_of("viewed_sum", 0.0)
        faded = [model.viewed_decay**place for place in range(len(found.viewed))]
        rows = [item.pairs for item in found.viewed]
        pools.append(Pool(rows, [weight * one for one in faded], [added * one for one in faded]))
    return Terms(pairs, weights, pools, found.bought)
