"""How much a build spends on learning: the settings behind `--effort`.

More effort means larger samples and models, and settings that are searched for instead of the usual
ones; what is learned, and from which orders, is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from builder.signals.collaborative import CollaborativeSettings
from builder.signals.factors import FactorSettings
from builder.signals.personal_model import PersonalSettings
from builder.signals.ranker import RankerSettings
from builder.signals.regression import RegressionSettings

Effort = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one effort stands for.

    Attributes:
        collaborative: how customers alike are learned from.
        personal: how customers' rows are learned.
        search_rounds: how often the search looks at all settings; 0 leaves them as they are.
        ablate: examples of each slice that the report also answers without each signal.
    """

    collaborative: CollaborativeSettings
    personal: PersonalSettings
    search_rounds: int
    ablate: int


SPENDING: Final[Mapping[Effort, Spending]] = MappingProxyType(
    {
        # A year of a grocer's orders within three minutes on two cores.
        "quick": Spending(
            collaborative=CollaborativeSettings(
                reach=6000,
                regression=RegressionSettings(offers=2000),
                factors=FactorSettings(dim=32, rounds=8),
            ),
            # One moment has too few lessons for trees to earn a place; more take the time.
            personal=PersonalSettings(
                neighbours=100, fit_customers=2000, fit_moments=1, ranker=RankerSettings(rounds=0)
            ),
            search_rounds=0,
            ablate=300,
        ),
        "standard": Spending(
            collaborative=CollaborativeSettings(
                reach=50_000,
                regression=RegressionSettings(offers=6000),
                factors=FactorSettings(dim=64, rounds=12),
            ),
            personal=PersonalSettings(neighbours=300, fit_customers=4000, fit_moments=4),
            search_rounds=1,
            ablate=1500,
        ),
        "thorough": Spending(
            collaborative=CollaborativeSettings(
                reach=100_000,
                regression=RegressionSettings(offers=10_000),
                factors=FactorSettings(dim=128, rounds=20),
            ),
            personal=PersonalSettings(neighbours=500, fit_customers=10_000, fit_moments=4),
            search_rounds=2,
            ablate=6000,
        ),
    }
)
