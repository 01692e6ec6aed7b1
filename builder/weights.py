"""How signals add up: weights by conditional logit, calibration by Platt scaling, tier by tier.

Learned on orders later than the tables, from the same sums the edge forms: `index.explain` takes a
decision apart and this module finds the weights under which the offers that were bought come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.cases import POST_PURCHASE, Case
from builder.fitting import fit_conditional_logit, fit_platt
from builder.metrics import Floats
from builder.signals.logit import contenders
from index.explain import SUMMED, signal_matrix
from index.generation import Generation
from index.model import TIERS, WITH_CART, TierModel
from index.request import Tier

FIELD: Final = 200
"""Of each case so many candidates are looked at: the best under the expected weights.

Hardly any of the others gets near the contenders under whatever weights, and they are most of all.
"""

CONTENDERS: Final = 30
"""Weights decide among a case's best candidates: what is far down must not outvote them.

Over all candidates the likelihood is mostly about offers that no list of ten will ever hold.
"""

ROUNDS: Final = 3
CART_POWERS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
VIEWED_DECAYS: Final = (1.0, 0.9, 0.75, 0.5, 0.25)
MIN_CASES: Final = 50
_CONTEXT: Final = "context:"
_DECAY_CASES: Final = 1000
_DAMPED: Final = ("cart_sum", "context:category", "context:price_band")
_ALIKE: Final = (
    ("viewed", "cart"),
    ("cart", "viewed"),
    ("viewed_sum", "cart_sum"),
    ("cart_sum", "viewed_sum"),
)
_CALIBRATED_PLACES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedWeights:
    """Weights of every tier and what they were learned from.

    Attributes:
        tiers: weights and calibration, by names as in `index.model.Model.tiers`.
        cart_power: how strongly the contexts of a long cart are damped.
        viewed_decay: what an item viewed counts for each that was viewed after it.
        n_cases: cases each tier's weights come from; 0 where another tier's were taken.
        n_redemptions: redemptions that `personal` and the calibration of a tier come from.
    """

    tiers: Mapping[str, TierModel]
    cart_power: float
    viewed_decay: float
    n_cases: Mapping[str, int]
    n_redemptions: Mapping[str, int]

    @property
    def context_features(self) -> tuple[str, ...]:
        """The context features that any tier has a weight for, sorted."""
        names = {name for tier in self.tiers.values() for name in tier.weights}
        return tuple(sorted(n.removeprefix(_CONTEXT) for n in names if n.startswith(_CONTEXT)))


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The candidates of one tier's cases under each other, of each the best `FIELD`.

    Attributes:
        values: float64, shape (n, m): unweighted signal values with a cart power of 0.
        is_bought: bool, shape (n,).
        starts: int64, shape (n_cases,): first row of each case.
        n_cart: float64, shape (n,): lines in the case's cart, at least 1.
    """

    values: Floats
    is_bought: NDArray[np.bool_]
    starts: NDArray[np.int64]
    n_cart: Floats

    def damped(self, signals: Sequence[str], power: float) -> Floats:
        """The values under a cart power."""
        values = self.values.copy()
        for place, signal in enumerate(signals):
            if signal in _DAMPED:
                values[:, place] *= self.n_cart**-power
        return values


def learn_weights(
    generation: Generation,
    cases: Sequence[Case],
    signals: tuple[str, ...],
    redemptions: Sequence[Case] = (),
) -> LearnedWeights:
    """Find the weights of all tiers.

    Args:
        generation: tables cut before the cases, opened, with a cart power of 0.
        cases: questions with answers, of known customers and strangers.
        signals: signal names besides `prior`. A context feature without rows in these tables gets
            no weight: should a later cut find something in it, nothing vouches for that yet.
        redemptions: questions about which of the offers that could be had were taken.

    Returns:
        Weights that are never negative. Requests with a cart get their own where there are 50
        cases. A tier with fewer takes the weights of the nearest tier that has enough (thin ←
        individual, context ← individual's without `personal`), and all-ones when none has.
        In a tier with 50 redemptions the weight of `personal` and the calibration come from these:
        what somebody buys anyway is not always what they take.
    """
    signals = _with_rows(generation, signals)
    names = ("prior", *signals)
    decay = _best_decay(generation, cases, signals)
    sheets = _sheets(generation, cases, signals, viewed_decay=decay)
    power = _best_power(sheets, names)
    found = {name: _fit(sheet, names, power) for name, sheet in sorted(sheets.items())}
    # The vector search speaks only for items without an affinity row: pretend that none has one.
    carts = [case for case in cases if case.question == POST_PURCHASE]
    withheld = _sheets(
        generation, carts, signals, viewed_decay=decay, withhold_affinity=True
    ).items()
    for name, sheet in withheld:
        if name in found:
            found[name] = _with(found[name], sheet, names, power, signal="similar")
    taken = _sheets(generation, redemptions, signals, viewed_decay=decay, shown_only=True)
    for name, sheet in taken.items():
        bought = found.get(name, _untold(names))
        expected = bought.weights["personal"]
        model = _with(bought, sheet, names, power, signal="personal", expected=expected)
        found[name] = _calibrated(model, sheet, names, power)
    tiers = _filled(found, signals)
    return LearnedWeights(
        tiers=tiers,
        cart_power=power,
        viewed_decay=decay,
        n_cases={name: len(sheets[name].starts) if name in sheets else 0 for name in tiers},
        n_redemptions={name: len(sheet.starts) for name, sheet in taken.items()},
    )


def _with_rows(generation: Generation, signals: Sequence[str]) -> tuple[str, ...]:
    """All but the context features that the tables say nothing about."""
    known = {f"{_CONTEXT}{feature.name}" for feature in generation.model.features}
    return tuple(name for name in signals if not name.startswith(_CONTEXT) or name in known)


def _expected(names: Sequence[str]) -> Floats:
    """A signal is a log-lift already, so one is its natural weight; what overlaps others has none.

    Contexts overlap each other, and what all items say together what the loudest says.
    """
    return np.array([0.0 if name.startswith(_CONTEXT) or name in SUMMED else 1.0 for name in names])


def _fit(sheet: _Sheet, names: Sequence[str], power: float) -> TierModel:
    values = sheet.damped(names, power)
    relative, _ = _fit_contenders(values, sheet, _expected(names))
    slope, intercept = _calibrate(values @ relative, sheet)
    weights = dict(zip(names[1:], map(float, relative[1:]), strict=True))
    # What nothing was learned of counts like the other: an item looked at, and one in the cart.
    heard = {name: bool(values[:, place].any()) for place, name in enumerate(names)}
    for missing, like in _ALIKE:
        if not heard.get(missing, True) and heard.get(like, False):
            weights[missing] = weights[like]
    return TierModel(weights=weights, slope=slope, intercept=intercept)


def _untold(names: Sequence[str]) -> TierModel:
    return TierModel(weights=dict(zip(names[1:], _expected(names)[1:].tolist(), strict=True)))


def _with(
    model: TierModel,
    sheet: _Sheet,
    names: Sequence[str],
    power: float,
    *,
    signal: str,
    expected: float = 1.0,
) -> TierModel:
    """The weight of one signal learned anew, with all others as they are."""
    values = sheet.damped(names, power)
    weights = _in_order(model, names)
    place = names.index(signal)
    weights[place] = 0.0
    columns = np.column_stack([values @ weights, values[:, place]])
    relative, _ = _fit_contenders(columns, sheet, np.array([1.0, expected]))
    return replace(model, weights={**model.weights, signal: float(relative[1])})


def _calibrated(model: TierModel, sheet: _Sheet, names: Sequence[str], power: float) -> TierModel:
    """The same weights with a curve for these cases."""
    scores = sheet.damped(names, power) @ _in_order(model, names)
    slope, intercept = _calibrate(scores, sheet)
    return replace(model, slope=slope, intercept=intercept)


def _in_order(model: TierModel, names: Sequence[str]) -> Floats:
    return np.array([1.0, *(model.weights[name] for name in names[1:])])


def _fit_contenders(
    values: Floats, sheet: _Sheet, expected_weights: Floats
) -> tuple[Floats, float]:
    """Weights relative to the first, and the loss: fitted on all, then on whom these put first."""
    fitted, loss = fit_conditional_logit(values, sheet.is_bought, sheet.starts, expected_weights)
    for _ in range(ROUNDS):
        rows, starts = contenders(values @ fitted, sheet.is_bought, sheet.starts, CONTENDERS)
        if not len(starts):
            break
        fitted, loss = fit_conditional_logit(
            values[rows], sheet.is_bought[rows], starts, expected_weights, fitted
        )
    return fitted / fitted[0], loss


def _best_decay(generation: Generation, cases: Sequence[Case], signals: tuple[str, ...]) -> float:
    """The decay of views with the least loss for customers nobody knows, on some of the cases."""
    names = ("prior", *signals)
    # Of one view there is nothing to decay.
    views = [case for case in cases if len(set(case.request.viewed)) > 1][:_DECAY_CASES]
    best = (np.inf, 1.0)
    for decay in VIEWED_DECAYS if views else ():
        sheets = _sheets(generation, views, signals, viewed_decay=decay)
        sheet = sheets.get("context+cart") or sheets.get("individual+cart")
        if sheet is not None:
            _, loss = fit_conditional_logit(
                sheet.values, sheet.is_bought, sheet.starts, _expected(names)
            )
            best = min(best, (loss, decay))
    return best[1]


def _sheets(
    generation: Generation,
    cases: Sequence[Case],
    signals: tuple[str, ...],
    *,
    viewed_decay: float,
    withhold_affinity: bool = False,
    shown_only: bool = False,
) -> dict[str, _Sheet]:
    expected = _expected(("prior", *signals))
    parts: dict[str, list[tuple[Floats, NDArray[np.bool_], int]]] = {}
    for case in cases:
        matrix = signal_matrix(
            generation,
            case.request,
            case.key,
            signals,
            withhold_affinity=withhold_affinity,
            viewed_decay=viewed_decay,
            shown_only=shown_only,
        )
        field = np.argsort(-(matrix.values @ expected), kind="stable")[:FIELD]
        values, is_bought = matrix.values[field], np.isin(matrix.rows[field], case.truth)
        if is_bought.any() and not is_bought.all():
            n_cart = max(len(case.request.cart), 1)
            parts.setdefault(matrix.tier_name, []).append((values, is_bought, n_cart))
    return {name: _stack(rows) for name, rows in parts.items() if len(rows) >= MIN_CASES}


def _stack(parts: list[tuple[Floats, NDArray[np.bool_], int]]) -> _Sheet:
    sizes = np.array([len(values) for values, _, _ in parts])
    return _Sheet(
        values=np.concatenate([values for values, _, _ in parts]),
        is_bought=np.concatenate([bought for _, bought, _ in parts]),
        starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        n_cart=np.repeat([float(n_cart) for _, _, n_cart in parts], sizes),
    )


def _best_power(sheets: Mapping[str, _Sheet], names: Sequence[str]) -> float:
    """The cart power with the least loss where carts count most: for customers nobody knows."""
    sheet = sheets.get("context+cart") or sheets.get("individual+cart")
    if sheet is None:
        return 0.5
    losses = [
        fit_conditional_logit(
            sheet.damped(names, power), sheet.is_bought, sheet.starts, _expected(names)
        )[1]
        for power in CART_POWERS
    ]
    return CART_POWERS[int(np.argmin(losses))]


def _calibrate(scores: Floats, sheet: _Sheet) -> tuple[float, float]:
    """Fit on each case's best places only: nothing else is ever shown with a probability."""
    stops = np.append(sheet.starts[1:], len(scores))
    best = [
        start + np.argsort(-scores[start:stop], kind="stable")[:_CALIBRATED_PLACES]
        for start, stop in zip(sheet.starts, stops, strict=True)
    ]
    rows = np.concatenate(best)
    return fit_platt(scores[rows], sheet.is_bought[rows])


def _filled(found: Mapping[str, TierModel], names: Sequence[str]) -> dict[str, TierModel]:
    """Every tier with weights, the missing ones borrowed."""
    ones = TierModel(weights={name: float(name not in SUMMED) for name in names})
    lenders: dict[Tier, tuple[Tier, ...]] = {
        "individual": ("thin", "context"),
        "thin": ("individual", "context"),
        "context": ("individual", "thin"),
        "prior": ("context", "individual", "thin"),
    }
    tiers = {name: model for name, model in found.items() if name in WITH_CART.values()}
    for tier in TIERS:
        lender = next((found[name] for name in (tier, *lenders[tier]) if name in found), ones)
        weights = dict(lender.weights)
        if tier in ("context", "prior"):
            weights.pop("personal", None)
        tiers[tier] = replace(lender, weights=weights)
    return tiers
