"""What a customer's own orders say about offers: one row per customer.

A row's value is the utility of the model's conditional logit over `features`, with what its trees
add (`ranker`), minus the prior and minus what the utility of a popular offer that the row does not
name is above it: so that it is an additive log-lift, with 0 for offers the row does not name.

`score_partition(partition, vocabulary, cut, model, globals_dir, memory_bytes)` gives the rows of a
partition's customers by rising key. Guests have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import connect
from builder.signals.candidates import Candidates
from builder.signals.histories import Floats, Histories, Ints, load_histories
from builder.signals.lessons import best_of_cases
from builder.signals.orders import DAY_US, Partition, Vocabulary, load_orders
from builder.signals.personal_model import PersonalModel, PersonalSettings
from builder.signals.ranker import half_of, ranked_lift
from builder.signals.scorer import Batch, Scorer, open_scorer
from builder.split import Cut
from index.arrays import Counts, Rows, Scores
from index.layout import THIN_BELOW_ORDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """What the customers table says of one customer.

    Attributes:
        key: 16 bytes.
        n_orders: orders before the cut.
        last_day: days since 1970-01-01 (UTC) of the last of them.
        rows: uint32, offers, rising.
        values: float32, their log-lift over the prior, finite.
        counts: uint32, in how many orders the customer took each; 0 for new ones.
        history: uint32, the offers the customer took, those of the most recent orders, rising.
    """

    key: bytes
    n_orders: int
    last_day: int
    rows: Rows
    values: Scores
    counts: Counts
    history: Rows


def score_partition(  # noqa: PLR0917  # what a task holds, in its order
    partition: Partition,
    vocabulary: Vocabulary,
    cut: Cut,
    model: PersonalModel,
    globals_dir: Path,
    memory_bytes: int,
    *,
    asked_path: Path | None = None,
) -> Iterator[CustomerRow]:
    """Rows of a partition's customers by rising key.

    Args:
        partition: whose events.
        vocabulary: rows of items and offers.
        cut: what may be seen.
        model: what features count.
        globals_dir: result of `learn.GatherGlobals` for the same cut.
        memory_bytes: for this process.
        asked_path: from `asked.write_asked`, whose rows are wanted; None for everybody's.
    """
    settings = model.settings
    with TemporaryDirectory() as temp_dir, connect(memory_bytes, Path(temp_dir)) as connection:
        load_orders(connection, partition, vocabulary, cut, target_kind=settings.target_kind)
        histories = load_histories(connection, cut.until_us, _asked(connection, asked_path))
        scorer = open_scorer(connection, globals_dir, settings, vocabulary, cut)
    if not len(scorer.popular):
        return
    weights = np.array([model.weights, model.thin_weights])
    for first in range(0, len(histories), settings.batch_customers):
        part = histories.part(first, min(first + settings.batch_customers, len(histories)))
        batch = scorer.batch(part)
        is_thin = (part.n_orders < THIN_BELOW_ORDERS).astype(np.int64)
        utility = np.einsum("ij,ij->i", batch.features, weights[is_thin[batch.candidates.customer]])
        if model.ranker is not None:
            utility += _of_trees(model, batch, utility, is_thin == 0)
        yield from _rows(part, batch.candidates, utility, scorer, settings)


def _asked(connection: duckdb.DuckDBPyConnection, path: Path | None) -> str | None:
    """Name of a table with the customers of a file."""
    if path is None:
        return None
    halves = np.load(path, allow_pickle=False)
    connection.register("asked", {"customer_hi": halves[:, 0], "customer_lo": halves[:, 1]})
    return "asked"


def _of_trees(
    model: PersonalModel, batch: Batch, utility: Floats, is_ranked: NDArray[np.bool_]
) -> Floats:
    """What trees add to each candidate: 0 but for contenders of the customers they rank."""
    assert model.ranker is not None
    candidates, added = batch.candidates, np.zeros(len(utility))
    may_be_offered = (candidates.entry < 0) | (model.repeat == "allow")
    scores = np.where(may_be_offered, utility, -np.inf)
    best = best_of_cases(candidates.starts[:-1], scores, model.settings.contenders)
    best &= is_ranked[candidates.customer] & may_be_offered
    if best.any():
        customer = candidates.customer[best]
        added[best] = ranked_lift(
            model.ranker,
            batch.features[best],
            utility[best],
            np.flatnonzero(np.diff(customer, prepend=-1)),
            half_of(batch.histories.key_lo)[customer] if model.crosses else None,
        )
    return added


def _rows(
    batch: Histories,
    candidates: Candidates,
    utility: Floats,
    scorer: Scorer,
    settings: PersonalSettings,
) -> Iterator[CustomerRow]:
    kept = _kept(candidates, utility, settings)
    lifts = _lifts(candidates, utility, kept, scorer)
    starts = np.searchsorted(kept, candidates.starts)
    offers = candidates.offer[kept].astype(np.uint32)
    values = lifts[kept].astype(np.float32)
    uses = np.append(np.diff(batch.use_starts), 0).astype(np.uint32)
    counts = uses[candidates.entry[kept]]
    n_orders = batch.n_orders
    for customer in range(len(batch)):
        part = slice(int(starts[customer]), int(starts[customer + 1]))
        yield CustomerRow(
            key=batch.key(customer),
            n_orders=int(n_orders[customer]),
            last_day=int(batch.last_us[customer]) // DAY_US,
            rows=offers[part],
            values=values[part],
            counts=counts[part],
            history=history_of(batch, customer, settings.history_offers),
        )


def history_of(batch: Histories, customer: int, limit: int) -> Rows:
    """Offers a customer took, those of the most recent orders when there are too many, rising."""
    entries = slice(int(batch.entry_starts[customer]), int(batch.entry_starts[customer + 1]))
    history = batch.entry_offer[entries]
    if len(history) > limit:
        newest_use = batch.use_order[batch.use_starts[entries]]
        latest = np.lexsort((history, newest_use))[:limit]
        history = np.sort(history[latest])
    return history.astype(np.uint32)


def _lifts(candidates: Candidates, utility: Floats, kept: Ints, scorer: Scorer) -> Floats:
    """Utility over the prior, less what it is on average for popular offers that are not kept.

    Offers that a row does not name count as if their lift was 0, so this is what 0 must stand for.
    Popular offers that are not kept are the less likely ones; were 0 the mean of all, they would
    overtake what is known to be likelier.
    """
    is_unnamed = np.zeros(scorer.n_offers, dtype=np.bool_)
    is_unnamed[scorer.popular] = True
    unnamed = is_unnamed[candidates.offer]
    unnamed[kept] = False
    lift = utility - scorer.facts.prior[candidates.offer]
    weight = scorer.facts.share[candidates.offer] * unnamed
    total = np.add.reduceat(weight, candidates.starts[:-1])
    mean = np.add.reduceat(weight * lift, candidates.starts[:-1]) / np.maximum(total, 1e-12)
    # With all of them named, nothing that is not would be worth a place.
    least = np.minimum.reduceat(lift, candidates.starts[:-1])
    return lift - np.where(total > 0.0, mean, least)[candidates.customer]


def _kept(candidates: Candidates, scores: Floats, settings: PersonalSettings) -> Ints:
    """Places of the best own and the best new candidates of each customer, rising."""
    customer, is_new = candidates.customer, candidates.entry < 0
    order = np.lexsort((candidates.offer, -scores, is_new, customer))
    group = 2 * customer[order] + is_new[order]
    rank = np.arange(len(order)) - np.searchsorted(group, group)
    limit = np.where(group % 2 == 1, settings.new_offers, settings.own_offers)
    return np.sort(order[rank < limit])
