"""How much a log can say about another policy: the policy must do what was tried often enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from builder.estimators.decisions import LoggedDecisions
from builder.gate import MIN_CUSTOMERS
from builder.metrics import Floats, Ints

# A propensity this small makes one lucky decision count like a thousand.
TINY_PROPENSITY: Final = 1e-3
_MAX_TINY_SHARE: Final = 0.01

# Below this the normal approximation behind any interval of a mean of clicks is poor.
_MIN_EFFECTIVE: Final = 100.0

# One decision that carries more than this moves the estimate by its own luck.
_MAX_SHARE_OF_ONE: Final = 0.05

_SURE_ERRORS: Final = 3.0
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How well the logged decisions cover what the evaluated policy does.

    Attributes:
        n_decisions: logged decisions.
        n_customers: different customers among them.
        effective_n: how many decisions of equal weight would say as much; see `effective_n`.
        mean_weight: about 1 when the log gave a chance to all the policy does.
        mean_weight_error: its standard error, over customers.
        max_weight: the largest importance weight.
        max_share: its share of all weight, in [0, 1]; 0 when there is no weight.
        tiny_share: share of decisions the policy might make, but at a propensity below
            TINY_PROPENSITY.
    """

    n_decisions: int
    n_customers: int
    effective_n: float
    mean_weight: float
    mean_weight_error: float
    max_weight: float
    max_share: float
    tiny_share: float

    def warnings(self) -> tuple[str, ...]:
        """Why estimates that rest on weights should not be believed, a sentence each."""
        found = []
        if self.effective_n < _MIN_EFFECTIVE:
            found.append(
                f"{self.n_decisions:,} decisions count like {self.effective_n:,.1f};"
                f" at least {_MIN_EFFECTIVE:.0f} are needed"
            )
        if self.max_share > _MAX_SHARE_OF_ONE:
            found.append(
                f"one decision, of weight {self.max_weight:,.1f}, carries {self.max_share:.0%} of"
                " all weight"
            )
        if self.tiny_share > _MAX_TINY_SHARE:
            found.append(
                f"{self.tiny_share:.1%} of the decisions the policy might make were logged at a"
                f" propensity below {TINY_PROPENSITY}"
            )
        if abs(self.mean_weight - 1.0) > _SURE_ERRORS * self.mean_weight_error + _ROUNDING:
            found.append(
                f"weights average {self.mean_weight:.3f} instead of 1: the policy shows what the"
                " log gave no chance to, or propensities are wrong"
            )
        return (*found, *self.too_few_customers())

    def too_few_customers(self) -> tuple[str, ...]:
        """The warning that holds for every estimate with an interval over customers, if it does."""
        if self.n_customers >= MIN_CUSTOMERS:
            return ()
        return (f"{self.n_customers} customers: intervals are too narrow below {MIN_CUSTOMERS}",)


def overlap(log: LoggedDecisions) -> Overlap:
    """Measure how well a log covers the policy it is to judge."""
    weights = log.weights
    customers, owner = np.unique(log.customers, return_inverse=True)
    total = float(weights.sum())
    might = log.pi_e > 0.0
    tiny = log.propensity[might] < TINY_PROPENSITY
    return Overlap(
        n_decisions=len(log),
        n_customers=customers.size,
        effective_n=effective_n(weights),
        mean_weight=float(weights.mean()),
        mean_weight_error=float(np.sqrt(variance_of_mean(weights, owner))),
        max_weight=float(weights.max()),
        max_share=float(weights.max() / total) if total > 0.0 else 0.0,
        tiny_share=float(tiny.mean()) if tiny.size else 0.0,
    )


def effective_n(weights: Floats) -> float:
    """How many equal weights would give a mean of the same variance: (Σw)² / Σw².

    Source: Kish (1965), *Survey Sampling*. Zero when all weights are.

    >>> effective_n(np.array([2.0, 2.0, 0.0, 0.0]))
    2.0
    """
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def variance_of_mean(values: Floats, owner: Ints) -> float:
    """Variance of a mean over decisions when whole customers are drawn, linearised.

    With one decision for each customer this is the variance divided by n.

    Args:
        values: float64, shape (n,).
        owner: int64, shape (n,): the customer's number, from 0.
    """
    sums = np.bincount(owner, weights=values - values.mean())
    return float(sums @ sums) / values.size**2
