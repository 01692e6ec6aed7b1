"""The tasks that learn from sampled customers what goes with what: walks, regression, factors.

All speak of the offers in *reach*, those that most customers took: `reach_offers.npy`, int64.

Each method is a task of its own, so that they run side by side; `learn` gathers their files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from builder.duck import connect
from builder.signals.factors import FactorSettings, learn_factors
from builder.signals.interactions import Matrix, load_interactions, write_links
from builder.signals.regression import RegressionSettings, learn_regression
from builder.signals.walk import WalkSettings, learn_begins, learn_walk

FACTORS_FILE = "factors.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollaborativeSettings:
    """How the methods learn.

    Attributes:
        reach: how many offers, those that most customers took, are learned of; every one more costs
            each customer's scoring time.
        per_customer: of more offers a customer counts with the most frequent.
        walk: see `walk`.
        regression: see `regression`.
        factors: see `factors`.
    """

    reach: int = 10_000
    per_customer: int = 256
    walk: WalkSettings = field(default_factory=WalkSettings)
    regression: RegressionSettings = field(default_factory=RegressionSettings)
    factors: FactorSettings = field(default_factory=FactorSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnCollaborative:
    """One method's task.

    Attributes:
        label: tells the cuts of one build apart in the task's name.
        method: `walk`, `regression` or `factors`.
        merged_dir: result of `merge.MergeCounts`.
        settings: see there.
    """

    label: str
    method: str
    merged_dir: Path
    settings: CollaborativeSettings = field(default_factory=CollaborativeSettings)

    @property
    def name(self) -> str:
        return f"{self.method}-{self.label}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            offers, interactions = load_interactions(
                connection,
                self.merged_dir,
                reach=self.settings.reach,
                per_customer=self.settings.per_customer,
            )
        np.save(out_dir / "reach_offers.npy", offers)
        self._learn(interactions, out_dir)

    def _learn(self, interactions: Matrix, out_dir: Path) -> None:
        if self.method == "walk":
            settings = self.settings.walk
            write_links(learn_walk(interactions, settings), out_dir, "walk")
            np.save(out_dir / "walk_begins.npy", learn_begins(interactions, settings))
        elif self.method == "regression":
            links = learn_regression(interactions, self.settings.regression)
            write_links(links, out_dir, "regression")
        else:
            factors = learn_factors(interactions, self.settings.factors)
            np.save(out_dir / "factors.npy", factors)
            (out_dir / FACTORS_FILE).write_text(json.dumps(asdict(self.settings.factors)))


METHODS = ("regression", "factors", "walk")
