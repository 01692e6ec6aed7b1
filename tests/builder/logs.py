"""Logs of decisions for tests: one small enough for the head, and worlds whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from builder.estimators.decisions import LoggedDecisions
from builder.estimators.estimates import Estimate, Estimator
from builder.metrics import Floats, Ints

# Weights 1, 1/2, 3 and 1.
FOUR = LoggedDecisions(
    reward=np.array([1.0, 0.0, 2.0, 0.0]),
    propensity=np.array([0.5, 0.5, 0.25, 0.25]),
    action=np.array([0, 1, 2, 0]),
    pi_e=np.array([0.5, 0.25, 0.75, 0.25]),
    customers=np.array([7, 8, 9, 5]),
    q_logged=np.array([1.0, 0.5, 1.0, 0.5]),
    q_policy=np.array([1.0, 1.0, 1.0, 0.0]),
)


def by_name(estimates: tuple[Estimate, ...]) -> dict[Estimator, Estimate]:
    return {estimate.estimator: estimate for estimate in estimates}


def values(estimates: tuple[Estimate, ...]) -> dict[Estimator, float]:
    return {
        estimate.estimator: estimate.reward.value
        for estimate in estimates
        if estimate.reward is not None
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Customers of some kinds, offers, and two policies; what each earns is known exactly.

    Attributes:
        rewards: float64, shape (kinds, offers): mean reward.
        logging: float64, shape (kinds, offers): probabilities of the policy that wrote the log.
        evaluated: likewise, of the policy to judge.
        luck: standard deviation of what a customer earns more than others of the kind, every time.
    """

    rewards: Floats
    logging: Floats
    evaluated: Floats
    luck: float = 0.0

    @property
    def truth(self) -> float:
        """What the evaluated policy earns, all kinds being equally frequent."""
        return float((self.evaluated * self.rewards).sum(axis=1).mean())

    def log(
        self,
        rng: np.random.Generator,
        n_customers: int,
        *,
        each: int = 1,
        model: Floats | None = None,
        believed: Floats | None = None,
    ) -> LoggedDecisions:
        """A new log.

        Args:
            rng: where chance comes from.
            n_customers: how many.
            each: decisions of each.
            model: estimated rewards, shape (kinds, offers); the true ones when None.
            believed: propensities that are written down, likewise; the true ones when None.
        """
        customers = np.repeat(np.arange(n_customers), each)
        kind = rng.integers(len(self.rewards), size=n_customers)[customers]
        action = _drawn(rng, self.logging[kind])
        luck = rng.normal(0.0, self.luck, n_customers)[customers]
        estimated = self.rewards if model is None else model
        propensities = self.logging if believed is None else believed
        return LoggedDecisions(
            reward=self.rewards[kind, action] + luck + rng.normal(0.0, 0.5, customers.size),
            propensity=propensities[kind, action],
            action=action,
            pi_e=self.evaluated[kind, action],
            customers=customers,
            q_logged=estimated[kind, action],
            q_policy=(self.evaluated * estimated).sum(axis=1)[kind],
        )


def _drawn(rng: np.random.Generator, probabilities: Floats) -> Ints:
    """A column of each row, at these probabilities."""
    below = rng.random(len(probabilities))[:, None] >= probabilities.cumsum(axis=1)[:, :-1]
    column: Ints = below.sum(axis=1)
    return column
