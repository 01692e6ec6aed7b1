"""A log of decisions, and how likely another policy would have made each of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from builder.errors import DataGate
from builder.metrics import Bools, Floats, Ints

_WHOLE: Final = ("action", "customers", "position")

# Probabilities are often sums of others, which end a few units in the last place above 1.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecisions:
    """Decisions that were made, with what they earned and what another policy thinks of them.

    A row is one offer shown at one place of one decision. All arrays have the shape (n,), n at
    least 1, and are checked when the value is made.

    Attributes:
        reward: float64, what the offer earned there, in any one unit; finite.
        propensity: float64, in (0, 1], how likely the offer was shown there; from the log.
        action: int64, at least 0, the number of the offer that was shown.
        pi_e: float64, in [0, 1], how likely the evaluated policy shows that offer there.
        customers: int64, whose decision it was; equal means same customer. At least two differ,
            because intervals come from resampling customers.
        position: int64, the place the offer stood at; None when there is only one.
        q_logged: float64, the estimated reward of the offer shown; None without a model of it.
        q_policy: float64, the estimated reward under the evaluated policy: the sum over all offers
            of its probability times the offer's estimated reward; None when q_logged is.

    Raises:
        DataGate: a length, type or range is wrong; the sentence names the array and the row.
    """

    reward: Floats
    propensity: Floats
    action: Ints
    pi_e: Floats
    customers: Ints
    position: Ints | None = None
    q_logged: Floats | None = None
    q_policy: Floats | None = None

    def __post_init__(self) -> None:
        n = self.reward.size
        if n == 0:
            raise DataGate("the log is empty: there is no decision to learn from")
        for name, array in self._arrays().items():
            dtype = np.dtype(np.int64 if name in _WHOLE else np.float64)
            if array.shape != (n,) or array.dtype != dtype:
                raise DataGate(
                    f"{name}: expected {n} numbers of {dtype}, as there are rewards;"
                    f" found {array.dtype} of shape {array.shape}"
                )
            self._refuse(name, ~np.isfinite(array), "a finite number")
        self._check_values()

    def _arrays(self) -> dict[str, Floats | Ints]:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in given.items() if array is not None}

    def _check_values(self) -> None:
        too_much = 1.0 + _ROUNDING
        self._refuse(
            "propensity",
            (self.propensity <= 0.0) | (self.propensity > too_much),
            "more than 0 and at most 1",
            hint="log the propensity that comes with each offer of an answer",
        )
        self._refuse("pi_e", (self.pi_e < 0.0) | (self.pi_e > too_much), "0 to 1")
        self._refuse("action", self.action < 0, "at least 0")
        if (self.q_logged is None) != (self.q_policy is None):
            raise DataGate("q_logged and q_policy: expected both or neither, found one")
        if (self.customers == self.customers[0]).all():
            raise DataGate(
                "customers: expected at least two, found one",
                hint="intervals come from resampling customers; guests are one each",
            )

    def _refuse(self, name: str, is_bad: Bools, expected: str, hint: str | None = None) -> None:
        if is_bad.any():
            row = int(is_bad.argmax())
            raise DataGate(
                f"{name}: expected {expected}; found {self._arrays()[name][row]} in row {row}"
                f" ({int(is_bad.sum()):,} such rows)",
                hint=hint,
            )

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def weights(self) -> Floats:
        """Importance weights, float64 (n,): how much more often the policy would decide so."""
        return self.pi_e / self.propensity

    def where(self, mask: Bools) -> LoggedDecisions:
        """The rows a mask of shape (n,) selects, such as those of one position."""
        return LoggedDecisions(
            reward=self.reward[mask],
            propensity=self.propensity[mask],
            action=self.action[mask],
            pi_e=self.pi_e[mask],
            customers=self.customers[mask],
            position=None if self.position is None else self.position[mask],
            q_logged=None if self.q_logged is None else self.q_logged[mask],
            q_policy=None if self.q_policy is None else self.q_policy[mask],
        )
