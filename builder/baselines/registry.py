"""All baselines under the names and in the order the report prints them, and their tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from builder import metrics
from builder.baselines import default, frequency, item_knn, recent, rp3beta, segment, tifu_knn
from builder.baselines.data import Baseline, Example, History
from builder.metrics import Ints

Fit = Callable[[History], Baseline]

# What a customer buys next: no cart is known.
NEXT_ORDER: Mapping[str, Fit] = MappingProxyType(
    {
        "default": default.fit,
        "recent": recent.fit,
        "segment": segment.fit,
        "frequency": frequency.fit,
        "tifu_knn": tifu_knn.fit,
    }
)

# What goes with this cart.
POST_PURCHASE: Mapping[str, Fit] = MappingProxyType(
    {**NEXT_ORDER, "item_knn": item_knn.fit, "rp3beta": rp3beta.fit}
)

# Published methods are only a fair comparison with settings that suit the shop.
_GRIDS: Mapping[str, tuple[Callable[..., Baseline], Sequence[object]]] = {
    "tifu_knn": (tifu_knn.fit, tifu_knn.GRID),
    "item_knn": (item_knn.fit, item_knn.GRID),
    "rp3beta": (rp3beta.fit, rp3beta.GRID),
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
    for name, (fit, grid) in _GRIDS.items():
        if name not in fits or not spread:
            continue
        scores = [_mean_ndcg(fit(history, settings), spread, k) for settings in grid]
        best = grid[int(np.argmax(scores))]
        tuned[name] = partial(fit, settings=best)
        texts[name] = repr(best).removeprefix("Settings(").removesuffix(")")
    return Tuned(fits=tuned, settings=texts)


def rank_all(baseline: Baseline, examples: Sequence[Example], k: int) -> Ints:
    """The ranked lists of many examples: int64, shape (n, k), padded with -1."""
    ranked = np.full((len(examples), k), metrics.PADDING, dtype=np.int64)
    for place, example in enumerate(examples):
        rows = baseline.rank(example, k)
        ranked[place, : rows.size] = rows
    return ranked


def _mean_ndcg(baseline: Baseline, examples: Sequence[Example], k: int) -> float:
    ranked = rank_all(baseline, examples, k)
    judged = metrics.judge(ranked, [example.truth for example in examples])
    return float(metrics.ndcg(judged, k).mean())
