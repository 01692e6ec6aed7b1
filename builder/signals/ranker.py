"""Trees on top of the logit: what a sum of features can't say of a customer's likeliest offers.

Gradient boosting (Friedman 2001, *Greedy function approximation*) of the likelihood of the same
conditional logit, begun at its utility, so that what the trees add is a log-lift like all else.
They are grown with LightGBM, on one thread, in two halves: each from one half of the customers. On
the other half it is told how many trees are worth having, and whether any are; only then are both
halves taken, at their mean.

Trees see only what is told of customers (`features.OF_OFFER`), and only a case's contenders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.features import FEATURES, OF_OFFER, Features
from builder.signals.histories import Floats, Ints
from builder.signals.lessons import Lessons, case_of

if TYPE_CHECKING:
    from lightgbm import Booster

LEAST_CASES: Final = 1000
"""With fewer lessons trees never earned a place."""

_PLACES: Final = 10
_EVERY: Final = 10
_HALF_BIT: Final = np.uint64(24)
_SEEN: Final = [place for place, name in enumerate(FEATURES) if name not in OF_OFFER]
_DISCOUNT: Final = 1.0 / np.log2(np.arange(2, 2 + _PLACES))


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerSettings:
    """How trees are grown.

    Attributes:
        rounds: at most this many in each half; with 0 there is no ranker.
        learning_rate: share of each tree that counts.
        leaves: of a tree.
        least_rows: candidates in a leaf, at least.
        ridge: how strongly leaves are drawn to 0.
        feature_share: features that a tree may look at.
    """

    rounds: int = 150
    learning_rate: float = 0.1
    leaves: int = 8
    least_rows: int = 500
    ridge: float = 10.0
    feature_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranker:
    """Grown trees; plain text and numbers.

    Attributes:
        halves: LightGBM's text of the trees from customers of half 0 and of half 1.
        gain: mean difference of NDCG@10 to the logit, each half judged on the other's customers.
        gain_error: standard error of the gain.
    """

    halves: tuple[str, str]
    gain: float
    gain_error: float


def half_of(key_lo: NDArray[np.uint64]) -> Ints:
    """Which half customers belong to, by a bit of their key: int64, 0 or 1."""
    return ((key_lo >> _HALF_BIT) & np.uint64(1)).astype(np.int64)


def fit_ranker(lessons: Lessons, utility: Floats, settings: RankerSettings) -> Ranker | None:
    """Grow trees, if they earn their place on customers they were not grown from.

    Args:
        lessons: contenders of each case only.
        utility: float64, shape (n,), the logit's.
        settings: see there.

    Returns:
        None where the gain is not above its standard error, there is too little to tell by, or
        LightGBM is not installed.
    """
    if not settings.rounds or len(lessons) < LEAST_CASES or find_spec("lightgbm") is None:
        return None
    sheets = [_Sheet.of(lessons, utility, half) for half in (0, 1)]
    if any((sheet.features == sheet.features[0]).all() for sheet in sheets):
        return None
    grown = [_Growing(sheet, settings) for sheet in sheets]
    told = [sheet.utility.copy() for sheet in sheets]
    best, best_loss, best_told = 0, sum(map(_Sheet.loss, sheets, told)), list(told)
    for n_trees in range(_EVERY, settings.rounds + 1, _EVERY):
        for half, growing in enumerate(grown):
            growing.grow(_EVERY)
            other = sheets[1 - half]
            told[1 - half] = told[1 - half] + growing.latest(other.features, _EVERY)
        loss = sum(map(_Sheet.loss, sheets, told))
        if loss < best_loss:
            best, best_loss, best_told = n_trees, loss, list(told)
    if not best:
        return None
    gains = np.concatenate(
        [
            sheet.ndcg(after) - sheet.ndcg(sheet.utility)
            for sheet, after in zip(sheets, best_told, strict=True)
        ]
    )
    gain, error = float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
    if gain <= error:
        return None
    first, second = (growing.text(best) for growing in grown)
    return Ranker(halves=(first, second), gain=gain, gain_error=error)


def ranked_lift(
    ranker: Ranker, features: Features, utility: Floats, starts: Ints, halves: Ints | None
) -> Floats:
    """What the trees add to the utility of each case's contenders.

    Args:
        ranker: from `fit_ranker`.
        features: shape (n, n_features), contenders only.
        utility: float64, shape (n,), the logit's.
        starts: int64, first row of each case; no case is empty.
        halves: of each row's customer, to judge customers by trees that were not grown from them;
            None for the mean of both.

    Returns:
        Float64, shape (n,). Contenders together are as likely as before, so that they keep their
        distance from all other offers.
    """
    columns = _columns(features, utility, starts)
    first, second = (
        np.asarray(_booster(text).predict(columns, raw_score=True), dtype=np.float64)
        for text in ranker.halves
    )
    added = (first + second) / 2.0 if halves is None else np.where(halves == 0, second, first)
    case = case_of(starts, len(utility))
    shift = _log_sums(utility, starts, case) - _log_sums(utility + added, starts, case)
    lift: Floats = added + shift[case]
    return lift


def _log_sums(values: Floats, starts: Ints, case: Ints) -> Floats:
    top = np.maximum.reduceat(values, starts)
    sums: Floats = np.log(np.add.reduceat(np.exp(values - top[case]), starts)) + top
    return sums


def _columns(features: Features, utility: Floats, starts: Ints) -> Features:
    """What trees see: features of customers, and how far below the case's best the logit is."""
    below = utility - np.maximum.reduceat(utility, starts)[case_of(starts, len(utility))]
    return np.column_stack([features[:, _SEEN], below]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Contenders of one half's customers."""

    features: Features
    taken: NDArray[np.bool_]
    starts: Ints
    case: Ints
    utility: Floats

    @classmethod
    def of(cls, lessons: Lessons, utility: Floats, half: int) -> _Sheet:
        rows = (half_of(lessons.customer) == half)[lessons.case]
        part = lessons.only(rows)
        inside = utility[rows]
        return cls(
            features=_columns(part.features, inside, part.starts),
            taken=part.taken,
            starts=part.starts,
            case=part.case,
            utility=inside,
        )

    @property
    def weight(self) -> Floats:
        """Of each row's case per taken offer, as in `logit`."""
        weight: Floats = 1.0 / np.sqrt(self.n_taken)
        return weight

    @property
    def n_taken(self) -> Floats:
        """How many of each row's case were taken."""
        n_taken: Floats = np.add.reduceat(self.taken.astype(np.float64), self.starts)[self.case]
        return n_taken

    def chance(self, scores: Floats) -> Floats:
        sums = _log_sums(scores, self.starts, self.case)
        chance: Floats = np.exp(scores - sums[self.case])
        return chance

    def loss(self, scores: Floats) -> float:
        sums = _log_sums(scores, self.starts, self.case)
        return float(((sums[self.case] - scores) * self.taken) @ self.weight)

    def ndcg(self, scores: Floats) -> Floats:
        """NDCG@10 of each case among its contenders; ties to the first."""
        order = np.lexsort((-scores, self.case))
        rank = np.arange(len(order)) - self.starts[self.case[order]]
        top = rank < _PLACES
        hit = self.taken[order[top]] * _DISCOUNT[rank[top]]
        gained = np.bincount(self.case[order[top]], hit, minlength=len(self.starts))
        n_taken = np.add.reduceat(self.taken.astype(np.int64), self.starts)
        ideal: Floats = np.cumsum(_DISCOUNT)[np.minimum(n_taken, _PLACES) - 1]
        return gained / ideal


class _Growing:
    """Trees from one sheet, some more at a time."""

    def __init__(self, sheet: _Sheet, settings: RankerSettings) -> None:
        import lightgbm  # noqa: PLC0415 - slow to load, and not everybody has it

        data = lightgbm.Dataset(
            sheet.features, sheet.taken.astype(np.float32), init_score=sheet.utility
        )
        parameters = {
            "objective": "none",
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.least_rows,
            "min_sum_hessian_in_leaf": 1e-3,
            "lambda_l2": settings.ridge,
            "feature_fraction": settings.feature_share,
            "max_bin": 63,
            "feature_pre_filter": False,  # LightGBM stops at data of which it keeps no feature
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "seed": 0,
            "verbosity": -1,
        }
        self._sheet, self._booster = sheet, lightgbm.Booster(parameters, data)

    def grow(self, n_trees: int) -> None:
        expected, taken = self._sheet.weight * self._sheet.n_taken, self._sheet.taken
        bought = self._sheet.weight * taken

        def slopes(scores: Floats, _: Any) -> tuple[Floats, Floats]:
            chance = self._sheet.chance(scores)
            share = expected * chance
            return share - bought, np.maximum(share * (1.0 - chance), 1e-6)

        for _ in range(n_trees):
            self._booster.update(fobj=slopes)

    def latest(self, features: Features, n_trees: int) -> Floats:
        """What the last trees add."""
        first = self._booster.num_trees() - n_trees
        added = self._booster.predict(
            features, start_iteration=first, num_iteration=n_trees, raw_score=True
        )
        return np.asarray(added, dtype=np.float64)

    def text(self, n_trees: int) -> str:
        text: str = self._booster.model_to_string(num_iteration=n_trees)
        return text


@cache
def _booster(text: str) -> Booster:
    import lightgbm  # noqa: PLC0415 - slow to load, and not everybody has it

    return lightgbm.Booster(model_str=text)
