"""The personal signal's model: how it is learned, and what was found, as plain numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from builder.signals.features import FEATURES
from builder.signals.orders import PURCHASE
from builder.signals.ranker import Ranker, RankerSettings
from index.request import RepeatPolicy

DEFAULT_WEIGHTS: Final = {
    "prior": 1.0,
    "frequency": 0.5,
    "decayed_7": 0.2,
    "decayed_21": 0.2,
    "ordered_95": 0.1,
    "neighbours_new": 0.1,
    "walk_new": 0.2,
    "regression_new": 0.2,
    "factors_new": 0.2,
}
"""Where fitted weights are drawn to: own frequency, old and recent, with a little of each of those
who tell what is new."""

_LEAST_REPEATS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalSettings:
    """How customers' rows are learned and how long they are.

    Attributes:
        target_kind: the kind of event that makes an order.
        own_offers: a row keeps this many of the customer's own offers.
        new_offers: and this many that are new to them.
        history_offers: a customer's history keeps this many offers, those ordered last.
        popular_offers: offers of the highest prior that are candidates for everybody.
        near_offers: new offers that each source makes candidates for a customer.
        neighbours: how many customers of the reference are mixed.
        fit_customers: at most this many customers teach the model at each moment.
        fit_moments: how many moments of the slice lessons are taken at.
        contenders: a case's best candidates, on which the model is fitted once more: what is far
            down has no say in the order of the first ten.
        ridge: how strongly weights are drawn to the defaults: per squared spread of a feature, on
            the scale of the summed log-likelihood.
        thin_ridge: the same for customers with very few orders, of whom there are fewer lessons,
            and whom the defaults fit less.
        ranker: how trees are grown on top.
        batch_customers: customers scored at a time.
    """

    target_kind: int = PURCHASE
    own_offers: int = 96
    new_offers: int = 32
    history_offers: int = 512
    popular_offers: int = 100
    near_offers: int = 48
    neighbours: int = 300
    fit_customers: int = 4000
    fit_moments: int = 2
    contenders: int = 100
    ridge: float = 30.0
    thin_ridge: float = 3.0
    ranker: RankerSettings = field(default_factory=RankerSettings)
    batch_customers: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalModel:
    """A fitted model; plain numbers, so that its repr is complete.

    Attributes:
        settings: it was fitted with.
        weights: one for each of `FEATURES`.
        thin_weights: the same for customers with very few orders, fitted on such alone.
        n_cases: cases it was fitted on.
        loss: mean negative log-likelihood per taken candidate, nats.
        repeated: share of what was taken next that the customer had taken before, in [0, 1].
        ranker: trees that add to the utility of each customer's contenders, those of very few
            orders apart; None where they do not earn their place.
        crosses: customers are scored by the trees that were not grown from them: for learning how
            much this signal weighs. Otherwise by all.
    """

    settings: PersonalSettings = field(default_factory=PersonalSettings)
    weights: tuple[float, ...] = tuple(DEFAULT_WEIGHTS.get(name, 0.0) for name in FEATURES)
    thin_weights: tuple[float, ...] = tuple(DEFAULT_WEIGHTS.get(name, 0.0) for name in FEATURES)
    n_cases: int = 0
    loss: float = 0.0
    repeated: float = 1.0
    ranker: Ranker | None = None
    crosses: bool = False

    @property
    def repeat(self) -> RepeatPolicy:
        """Whether offers taken before may be offered again: not where nobody ever takes them."""
        return repeat_policy(self.repeated)


def repeat_policy(repeated: float) -> RepeatPolicy:
    """See `PersonalModel.repeat`, which is from the share of what was taken again."""
    return "allow" if repeated >= _LEAST_REPEATS else "exclude"


def write_model(model: PersonalModel, path: Path) -> None:
    """Write a model as JSON."""
    path.write_text(json.dumps(asdict(model), indent=1))


def read_model(path: Path) -> PersonalModel:
    """Read what `write_model` wrote."""
    body = json.loads(path.read_text())
    ranker_settings = RankerSettings(**body["settings"].pop("ranker"))
    body["settings"] = PersonalSettings(**body["settings"], ranker=ranker_settings)
    body["weights"] = tuple(body["weights"])
    body["thin_weights"] = tuple(body["thin_weights"])
    if ranker := body["ranker"]:
        body["ranker"] = Ranker(**ranker | {"halves": tuple(ranker["halves"])})
    return PersonalModel(**body)
