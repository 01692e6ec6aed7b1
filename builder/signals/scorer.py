"""From customers' histories to their candidates, and what is told of each candidate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.signals.candidates import Candidates, joined_candidates, make_candidates
from builder.signals.collaborative import FACTORS_FILE
from builder.signals.factors import Factors, FactorSettings, FoldIn
from builder.signals.facts import OfferFacts, open_facts
from builder.signals.features import Features, make_features
from builder.signals.histories import Floats, Histories, Ints, range_sums
from builder.signals.interactions import Matrix, open_links
from builder.signals.neighbours import REFERENCE_GAPS, Neighbourhood, open_reference
from builder.signals.orders import Vocabulary, expired_offers
from builder.signals.personal_model import PersonalSettings
from builder.signals.rows import open_array
from builder.split import Cut

_RECENT_DECAY: Final = 0.7
_NAMING: Final = ("neighbours", "walk", "regression", "factors")
"""Sources that name candidates; what the others would name differs little, and takes time."""

_CELLS_AT_A_TIME: Final = 1 << 22
"""Customers times offers in reach, float32: more would not stay near the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Customers with their candidates and what is told of each.

    Attributes:
        histories: of the customers.
        candidates: offers that may be theirs.
        features: float32, shape (n_candidates, n_features), see `features`.
    """

    histories: Histories
    candidates: Candidates
    features: Features


def open_scorer(
    connection: duckdb.DuckDBPyConnection,
    globals_dir: Path,
    settings: PersonalSettings,
    vocabulary: Vocabulary,
    cut: Cut,
) -> Scorer:
    """The scorer of a cut, to which an offer that expired by its end is not popular.

    Args:
        connection: reads the vocabulary; not needed afterwards.
        globals_dir: result of `learn.GatherGlobals` for the same cut.
        settings: how many candidates there are.
        vocabulary: rows of items and offers.
        cut: what was learned from.
    """
    expired = connection.execute(f"FROM {expired_offers(vocabulary, cut.until_us)}").fetchnumpy()
    return Scorer(
        globals_dir,
        expired=expired["offer_row"].astype(np.int64),
        popular_offers=settings.popular_offers,
        new_per_source=settings.near_offers,
        neighbours=settings.neighbours,
    )


class Scorer:
    """Turns histories into candidates with features; opens the globals once.

    Args:
        globals_dir: result of `learn.GatherGlobals`.
        popular_offers: offers of the highest prior that are candidates for everybody.
        new_per_source: how many new offers each source makes candidates for a customer.
        neighbours: how many customers of the reference are mixed.
        expired: offers of which nothing was learned, since they can't be shown any more.
    """

    def __init__(
        self,
        globals_dir: Path,
        *,
        popular_offers: int,
        new_per_source: int,
        neighbours: int,
        expired: Ints,
    ) -> None:
        self.facts: OfferFacts = open_facts(globals_dir)
        self._reach: Ints = np.asarray(open_array(globals_dir / "reach_offers.npy"))
        self._column = np.full(self.n_offers, -1, dtype=np.int64)
        self._column[self._reach] = np.arange(len(self._reach))
        half_life_days = REFERENCE_GAPS * self.facts.order_gap_days
        self._neighbourhood = Neighbourhood(
            open_reference(globals_dir), self.n_offers, self._reach, half_life_days, neighbours
        )
        self._walk = open_links(globals_dir, "walk")
        self._walk_begins = np.asarray(open_array(globals_dir / "walk_begins.npy"))
        self._regression = open_links(globals_dir, "regression")
        settings = json.loads((globals_dir / FACTORS_FILE).read_text())
        self._factors: Factors = np.asarray(open_array(globals_dir / "factors.npy"))
        self._fold_in = FoldIn(self._factors, FactorSettings(**settings))
        by_prior = np.lexsort((np.arange(self.n_offers), -self.facts.prior))
        by_prior = by_prior[~np.isin(by_prior, expired)]
        self._new_per_source = new_per_source
        self.popular: Ints = np.sort(by_prior[:popular_offers])

    @property
    def n_offers(self) -> int:
        """Offers of the shop."""
        return len(self.facts.prior)

    def batch(self, histories: Histories) -> Batch:
        """Candidates of customers, with features."""
        step = max(_CELLS_AT_A_TIME // max(len(self._reach), 1), 1)
        firsts = range(0, max(len(histories), 1), step)
        parts = [
            self._part(histories.part(first, min(first + step, len(histories)))) for first in firsts
        ]
        candidates = joined_candidates(
            [candidates for candidates, _ in parts], histories.entry_starts[list(firsts)]
        )
        told = {name: np.concatenate([said[name] for _, said in parts]) for name in parts[0][1]}
        return Batch(
            histories=histories,
            candidates=candidates,
            features=make_features(histories, candidates, self.facts, told),
        )

    def _part(self, histories: Histories) -> tuple[Candidates, dict[str, Floats]]:
        """Candidates of some customers, and what each source says of them."""
        sources = self._sources(histories)
        candidates = make_candidates(
            histories,
            [sources[name] for name in _NAMING],
            self._reach,
            self.popular,
            n_offers=self.n_offers,
            new_per_source=self._new_per_source,
        )
        column = self._column[candidates.offer]
        is_reached = column >= 0
        customer, column = candidates.customer[is_reached], column[is_reached]

        def of_candidates(source: NDArray[np.float32]) -> Floats:
            values = np.zeros(len(is_reached))
            values[is_reached] = source[customer, column]
            return values

        return candidates, {name: of_candidates(source) for name, source in sources.items()}

    def _sources(self, histories: Histories) -> dict[str, NDArray[np.float32]]:
        """What each source says of all offers in reach: float32, shape (n_customers, n_reach)."""
        ever, recent = self._taken(histories)
        numbers = self._fold_in.customers(ever.indptr, ever.indices)
        return {
            "neighbours": self._neighbourhood.mixed(histories),
            "walk": self._walks(ever),
            "walk_recent": self._walks(recent),
            "regression": (ever @ self._regression).toarray(),
            "regression_recent": (recent @ self._regression).toarray(),
            "factors": numbers @ self._factors.T,
        }

    def _walks(self, taken: Matrix) -> NDArray[np.float32]:
        """Chances of where walks from customers' offers end, in offers a customer, as reach is."""
        begins = np.maximum(taken @ self._walk_begins, 1e-12)
        steps = sparse.diags((float(self.facts.reach.sum()) / begins).astype(np.float32))
        ends: NDArray[np.float32] = (steps @ taken @ self._walk).toarray()
        return ends

    def _taken(self, histories: Histories) -> tuple[Matrix, Matrix]:
        """What customers took, all alike and the latest most; both add up to how many offers."""
        newest = histories.order_rank[histories.use_order[histories.use_starts[:-1]]]
        column = self._column[histories.entry_offer]
        kept = column >= 0
        starts = np.append(0, np.cumsum(kept))[histories.entry_starts]
        lately = _RECENT_DECAY ** newest[kept].astype(np.float64)
        n_taken = np.diff(starts)
        lately *= np.repeat(n_taken / np.maximum(range_sums(lately, starts), 1e-30), n_taken)
        shape = (len(histories), len(self._reach))
        ones = np.ones(len(lately), dtype=np.float32)
        return (
            sparse.csr_matrix((ones, column[kept], starts), shape=shape),
            sparse.csr_matrix((lately.astype(np.float32), column[kept], starts), shape=shape),
        )
