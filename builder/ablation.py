"""Ablation: what the decision loses when one signal is taken out of the sum.

The shipped tables answer once more under a model that gives the signal no weight, with all other
weights as they are. Not how well it would do had it been learned without the signal: others would
then count more. Signals that say the same thing cover for each other, so all features of the
context are also taken out together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from builder import metrics
from builder.metrics import Interval, Ints
from index.generation import Generation
from index.model import Model
from index.snapshot import open_snapshot

PRIOR: Final = "prior"
CONTEXT: Final = "context"
"""All features of the context together."""

_CONTEXT_PREFIX: Final = f"{CONTEXT}:"
_OF_CARTS: Final = ("cart", "viewed", "similar")
_KINDS_OF_CARTS: Final = frozenset({"category", "price_band"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """What a slice loses without one signal.

    Attributes:
        signal: its name, as weights go by it; `prior`, or `context` for all features together.
        recall: recall@k as shipped minus recall@k without it, paired by example.
        ndcg: the same of NDCG@k.
        changed: share of the lists that differ in the offers of the first k places or their order.
    """

    signal: str
    recall: Interval
    ndcg: Interval
    changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceAblation:
    """One question and slice, each signal that counts there taken out in turn.

    Attributes:
        question: as in `comparison.SliceResult`.
        slice_name: likewise.
        k: places that count.
        n_examples: questions asked, of those of the slice.
        n_customers: different customers among them.
        signals: what each is worth, the one whose loss costs most NDCG first.
    """

    question: str
    slice_name: str
    k: int
    n_examples: int
    n_customers: int
    signals: tuple[Without, ...]


def signals_of(model: Model, tier_names: Sequence[str], *, has_cart: bool) -> list[str]:
    """Signals that count in any of the tiers, the prior first, `context` where several do.

    Args:
        model: whose weights.
        tier_names: as in `index.model.Model.tiers`.
        has_cart: whether anything is in the cart or was viewed: some signals speak of that alone.
    """
    weighed = {
        name
        for tier in tier_names
        for name, weight in model.tiers[tier].weights.items()
        if weight != 0.0
    }
    if not has_cart:
        weighed = {name for name in weighed if not name.startswith(_OF_CARTS)}
        weighed -= {
            f"{_CONTEXT_PREFIX}{feature.name}"
            for feature in model.features
            if feature.kind in _KINDS_OF_CARTS
        }
    features = sum(name.startswith(_CONTEXT_PREFIX) for name in weighed)
    return [PRIOR, *([CONTEXT] if features > 1 else []), *sorted(weighed)]


@contextmanager
def without(generation: Generation, signal: str) -> Iterator[Generation]:
    """The same tables, opened once more, under a model that does not count a signal."""
    opened = open_snapshot(generation.directory)
    with Generation(
        directory=opened.directory,
        manifest=opened.manifest,
        model=silenced(opened.model, signal),
        secret=None,
        customers=opened.customers,
        contexts=opened.contexts,
        items=opened.items,
        offers=opened.offers,
        vectors=opened.vectors,
    ) as ablated:
        yield ablated


def silenced(model: Model, signal: str) -> Model:
    """The model without a signal: its weight 0 in every tier, or the prior the same for all.

    What is considered at all stays the same: the offers of the highest prior are candidates still.
    """
    if signal == PRIOR:
        return replace(model, prior=np.zeros_like(model.prior))

    def is_silent(name: str) -> bool:
        return name == signal or (signal == CONTEXT and name.startswith(_CONTEXT_PREFIX))

    return replace(
        model,
        tiers={
            tier: replace(
                one,
                weights={
                    name: 0.0 if is_silent(name) else weight for name, weight in one.weights.items()
                },
            )
            for tier, one in model.tiers.items()
        },
    )


def compare_without(
    *,
    question: str,
    slice_name: str,
    shipped: Ints,
    ablated: Mapping[str, Ints],
    truth: Sequence[Ints],
    customers: Ints,
    k: int,
    seed: int,
) -> SliceAblation:
    """Measure what each signal is worth on one slice.

    Args:
        question: what was asked.
        slice_name: of whom.
        shipped: int64, shape (n, at least k), offer rows of the decision as it ships, padded with
            -1.
        ablated: the same without each signal.
        truth: n arrays of offer rows, none of them empty.
        customers: int64, shape (n,): whose example it is; whole customers are resampled.
        k: places that count.
        seed: equal seeds draw equal resamples.
    """
    n = len(truth)
    found: list[Without] = []
    if n and ablated:
        lists = [shipped, *ablated.values()]
        judged = [metrics.judge(rows, truth) for rows in lists]
        columns = [metric(one, k) for one in judged for metric in (metrics.recall, metrics.ndcg)]
        replicates = metrics.bootstrap(np.column_stack(columns), customers, seed)
        found = [
            Without(
                signal=signal,
                recall=metrics.difference_interval(replicates, 0, 2 * place),
                ndcg=metrics.difference_interval(replicates, 1, 2 * place + 1),
                changed=float((rows[:, :k] != shipped[:, :k]).any(axis=1).mean()),
            )
            for place, (signal, rows) in enumerate(ablated.items(), start=1)
        ]
    return SliceAblation(
        question=question,
        slice_name=slice_name,
        k=k,
        n_examples=n,
        n_customers=np.unique(customers).size,
        signals=tuple(sorted(found, key=lambda one: (-one.ndcg.value, one.signal))),
    )
