"""From customers' histories to lifts: candidates, features and their weighted sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from builder.signals.candidates import Candidates, make_candidates
from builder.signals.facts import OfferFacts, open_facts
from builder.signals.features import make_features
from builder.signals.histories import Floats, Histories, Ints
from builder.signals.neighbours import REFERENCE_GAPS, Neighbourhood, open_reference


class Scorer:
    """Turns batches of histories into candidates and lifts; opens the globals once.

    Args:
        globals_dir: result of `learn.LearnSignals`.
        popular_offers: offers of the highest prior that are candidates for everybody.
        near_offers: offers of neighbours that are candidates for a customer.
        neighbours: how many customers of the reference are mixed.
    """

    def __init__(
        self, globals_dir: Path, *, popular_offers: int, near_offers: int, neighbours: int
    ) -> None:
        self.facts: OfferFacts = open_facts(globals_dir)
        half_life_days = REFERENCE_GAPS * self.facts.order_gap_days
        self._neighbourhood = Neighbourhood(
            open_reference(globals_dir), self.n_offers, half_life_days, neighbours
        )
        by_prior = np.lexsort((np.arange(self.n_offers), -self.facts.prior))
        self._near_offers = near_offers
        self.popular: Ints = np.sort(by_prior[:popular_offers])

    @property
    def n_offers(self) -> int:
        """Offers of the shop."""
        return len(self.facts.prior)

    def candidates(self, batch: Histories) -> Candidates:
        """Offers to score for each customer of a batch."""
        return make_candidates(
            batch,
            self._neighbourhood.mixed(batch),
            self.popular,
            n_offers=self.n_offers,
            new_per_customer=self._near_offers,
        )

    def lifts(self, batch: Histories, candidates: Candidates, weights: Floats) -> Floats:
        """Utility over the prior, less that of the popular offers new to the customer."""
        utility = make_features(batch, candidates, self.facts) @ weights
        lift = utility - self.facts.prior[candidates.offer]
        return lift - self._offset(candidates, lift)[candidates.customer]

    def _offset(self, candidates: Candidates, lift: Floats) -> Floats:
        is_popular = np.zeros(self.n_offers, dtype=np.bool_)
        is_popular[self.popular] = True
        share = 1.0 / (1.0 + np.exp(-self.facts.prior[candidates.offer].astype(np.float64)))
        weight = share * (is_popular[candidates.offer] & (candidates.entry < 0))
        total = np.add.reduceat(weight, candidates.starts[:-1])
        return np.add.reduceat(weight * lift, candidates.starts[:-1]) / np.maximum(total, 1e-12)
