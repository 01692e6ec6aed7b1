"""All baselines under the names and in the order the report prints them, and their tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from builder import metrics
from builder.baselines import (
    default,
    ease,
    frequency,
    item_knn,
    recent,
    rp3beta,
    segment,
    tifu_knn,
    v_sknn,
)
from builder.baselines.data import Baseline, Example, History

Fit = Callable[[History], Baseline]

# What a customer buys next: no cart is known.
NEXT_ORDER: Mapping[str, Fit] = MappingProxyType(
    {
        "default": default.fit,
        "recent": recent.fit,
        "segment": segment.fit,
        "frequency": frequency.fit,
        "tifu_knn": tifu_knn.fit,
        "ease": ease.fit_customers,
        "rp3beta": rp3beta.fit_customers,
    }
)

# What goes with this cart: methods that can start from either start from the cart.
POST_PURCHASE: Mapping[str, Fit] = MappingProxyType(
    {
        **NEXT_ORDER,
        "ease": ease.fit_orders,
        "rp3beta": rp3beta.fit_orders,
        "item_knn": item_knn.fit,
        "v_sknn": v_sknn.fit,
    }
)

# Published methods are only a fair comparison with settings that suit the shop.
_GRIDS: Mapping[Callable[..., Baseline], Sequence[object]] = {
    tifu_knn.fit: tifu_knn.GRID,
    ease.fit_customers: ease.GRID,
    ease.fit_orders: ease.GRID,
    rp3beta.fit_customers: rp3beta.GRID,
    rp3beta.fit_orders: rp3beta.GRID,
    item_knn.fit: item_knn.GRID,
    v_sknn.fit: v_sknn.GRID,
}

# What is tried in place of settings whose fit takes long.
_STAND_INS: Mapping[Callable[..., Baseline], Callable[[Any], object]] = {
    ease.fit_customers: ease.smaller,
    ease.fit_orders: ease.smaller,
}

# Settings of a coarse grid differ by more than the noise of this many examples.
_TUNING_EXAMPLES = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Baselines with settings that suit a shop.

    Attributes:
        fits: the same names as before.
        settings: the chosen settings of each tuned baseline, as text for the report.
    """

    fits: Mapping[str, Fit]
    settings: Mapping[str, str]


def tune(fits: Mapping[str, Fit], history: History, examples: Sequence[Example], k: int) -> Tuned:
    """Choose settings by mean NDCG@k on examples later than the history, the first of the best.

    Args:
        fits: NEXT_ORDER or POST_PURCHASE.
        history: the cut before the weight slice.
        examples: of the weight slice, never of the slice that the report measures. A fixed, evenly
            spread part of them is used.
        k: how many offers are ranked.
    """
    spread = examples[:: max(1, len(examples) // _TUNING_EXAMPLES)][:_TUNING_EXAMPLES]
    tuned, texts = dict(fits), {}
    names = {fit: name for name, fit in fits.items()}
    for fit, grid in _GRIDS.items():
        if fit not in names or not spread:
            continue
        stand_in = _STAND_INS.get(fit, _itself)
        scores = [_mean_ndcg(fit(history, stand_in(settings)), spread, k) for settings in grid]
        best = grid[int(np.argmax(scores))]
        tuned[names[fit]] = partial(fit, settings=best)
        texts[names[fit]] = repr(best).removeprefix("Settings(").removesuffix(")")
    return Tuned(fits=tuned, settings=texts)


def _itself(settings: object) -> object:
    return settings


def _mean_ndcg(baseline: Baseline, examples: Sequence[Example], k: int) -> float:
    judged = metrics.judge(baseline.rank(examples, k), [example.truth for example in examples])
    return float(metrics.ndcg(judged, k).mean())
