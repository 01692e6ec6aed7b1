"""What a customer's own orders say about offers: one row per customer.

A row's value is the utility of a conditional logit over `features`, fitted on the first orders
after a cut, with what trees add to it where they earn their place (`ranker`), minus the prior and
minus what the utility of a popular offer that the row does not name is above it: so that it is an
additive log-lift, with 0 for offers the row does not name.

- `fit_personal(partitions, vocabulary, cut, slice_until_us, globals_dir, *, …)` gives the
  `PersonalModel`, plain numbers; with no order to learn from, documented defaults.
- `score_partition(partition, vocabulary, cut, model, globals_dir, memory_bytes)` gives the rows of
  a partition's customers by rising key. Guests have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from builder.duck import connect
from builder.signals.candidates import Candidates
from builder.signals.features import FEATURES
from builder.signals.histories import Floats, Histories, Ints, load_histories
from builder.signals.lessons import Lessons, best_of_cases, load_lessons
from builder.signals.logit import fit_logit
from builder.signals.orders import (
    DAY_US,
    PURCHASE,
    Partition,
    Vocabulary,
    expired_offers,
    load_orders,
)
from builder.signals.ranker import Ranker, RankerSettings, fit_ranker, half_of, ranked_lift
from builder.signals.scorer import Batch, Scorer
from builder.split import Cut
from index.arrays import Counts, Rows, Scores
from index.layout import THIN_BELOW_ORDERS
from index.request import RepeatPolicy

DEFAULT_WEIGHTS: Final = {
    "prior": 1.0,
    "frequency": 0.5,
    "decayed_7": 0.2,
    "decayed_21": 0.2,
    "ordered_95": 0.1,
    "neighbours_new": 0.1,
}
"""Where fitted weights are drawn to: own frequency, old and recent, with a little of neighbours."""

_LEAST_SCALE: Final = 1e-3
_MORE_CONTENDERS: Final = 3
_LEAST_OWN: Final = 16
_USUAL_REPEATS: Final = 0.5
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
        ridge: how strongly weights are drawn to the defaults.
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
    ridge: float = 3.0
    ranker: RankerSettings = field(default_factory=RankerSettings)
    batch_customers: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalModel:
    """A fitted model; plain numbers, so that its repr is complete.

    Attributes:
        settings: it was fitted with.
        weights: one for each of `FEATURES`.
        thin_weights: the same for customers with very few orders: fitted on the last few orders of
            customers who have more, as if the others were not known.
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
        return "allow" if self.repeated >= _LEAST_REPEATS else "exclude"


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


def fit_personal(
    partitions: Sequence[Partition],
    vocabulary: Vocabulary,
    cut: Cut,
    slice_until_us: int,
    globals_dir: Path,
    *,
    holdout_share: float,
    settings: PersonalSettings,
    memory_bytes: int,
    temp_dir: Path,
) -> PersonalModel:
    """Fit the weights on customers' first orders in [cut, slice_until_us).

    Args:
        partitions: all customer partitions.
        vocabulary: rows of items and offers.
        cut: what features may see.
        slice_until_us: end of the slice, exclusive.
        globals_dir: result of `learn.GatherGlobals` for the same cut.
        holdout_share: customers that nothing may be learned from: no more than the cut's.
        settings: see there.
        memory_bytes: for this process.
        temp_dir: where DuckDB may spill.
    """
    with connect(memory_bytes, temp_dir) as connection:
        scorer = _scorer(connection, globals_dir, settings, vocabulary, cut)
    load = partial(
        load_lessons,
        scorer,
        partitions,
        vocabulary,
        cut,
        slice_until_us,
        holdout_share=holdout_share,
        target_kind=settings.target_kind,
        customers=settings.fit_customers,
        memory_bytes=memory_bytes,
        temp_dir=temp_dir,
    )
    lessons = load(steps=settings.fit_moments)
    if not len(lessons):
        return PersonalModel(settings=settings)
    repeated = float(lessons.is_own[lessons.taken].mean())
    weights, loss = _fit(lessons, settings)
    n_cases = len(lessons)
    ranker = _grown(lessons, weights, settings)
    del lessons
    thin_weights, _ = _fit(load(steps=1, last_orders=THIN_BELOW_ORDERS - 1), settings)
    return PersonalModel(
        settings=_with_row_lengths(settings, repeated),
        weights=tuple(map(float, weights)),
        thin_weights=tuple(map(float, thin_weights)),
        n_cases=n_cases,
        loss=loss,
        repeated=repeated,
        ranker=ranker,
    )


def _grown(lessons: Lessons, weights: Floats, settings: PersonalSettings) -> Ranker | None:
    """Trees on the contenders of the fitted logit."""
    utility = lessons.features @ weights.astype(np.float32)
    contenders = lessons.only(best_of_cases(lessons.starts, utility, settings.contenders))
    return fit_ranker(contenders, contenders.features @ weights, settings.ranker)


def _fit(lessons: Lessons, settings: PersonalSettings) -> tuple[Floats, float]:
    """Weights per feature as they come; the ridge is in units of each feature's spread.

    Fitted on each case's best candidates only, first by the default weights, then by those found:
    what else could be chosen does not matter to a conditional logit, and there are many more of it.
    """
    start = np.array(PersonalModel().weights)
    if not len(lessons):
        return start, 0.0
    scale = np.maximum(lessons.features.std(axis=0, dtype=np.float64), _LEAST_SCALE)
    weights, loss = start, 0.0
    for n in (_MORE_CONTENDERS * settings.contenders, settings.contenders):
        best = best_of_cases(lessons.starts, lessons.features @ weights.astype(np.float32), n)
        # The default weights know little: what was taken stays, however far down they put it.
        contenders = lessons.only(best | lessons.taken if weights is start else best)
        scaled: NDArray[np.float32] = np.divide(contenders.features, scale, dtype=np.float32)
        scaled_weights, loss = fit_logit(
            scaled,
            contenders.taken,
            contenders.starts,
            start=start * scale,
            ridge=settings.ridge,
        )
        weights = scaled_weights / scale
    return weights, loss


def _with_row_lengths(settings: PersonalSettings, repeated: float) -> PersonalSettings:
    """Where next orders hold little that was ordered before, rows have more room for new offers."""
    movable = settings.own_offers - _LEAST_OWN
    moved = round(movable * max(1.0 - repeated / _USUAL_REPEATS, 0.0))
    return replace(
        settings,
        own_offers=settings.own_offers - moved,
        new_offers=settings.new_offers + moved,
    )


def _scorer(
    connection: duckdb.DuckDBPyConnection,
    globals_dir: Path,
    settings: PersonalSettings,
    vocabulary: Vocabulary,
    cut: Cut,
) -> Scorer:
    expired = connection.execute(f"FROM {expired_offers(vocabulary, cut.until_us)}").fetchnumpy()
    return Scorer(
        globals_dir,
        expired=expired["offer_row"].astype(np.int64),
        popular_offers=settings.popular_offers,
        new_per_source=settings.near_offers,
        neighbours=settings.neighbours,
    )


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
        model: from `fit_personal`.
        globals_dir: result of `learn.GatherGlobals` for the same cut.
        memory_bytes: for this process.
        asked_path: from `asked.write_asked`, whose rows are wanted; None for everybody's.
    """
    settings = model.settings
    with TemporaryDirectory() as temp_dir, connect(memory_bytes, Path(temp_dir)) as connection:
        load_orders(connection, partition, vocabulary, cut, target_kind=settings.target_kind)
        histories = load_histories(connection, cut.until_us, _asked(connection, asked_path))
        scorer = _scorer(connection, globals_dir, settings, vocabulary, cut)
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
    best = best_of_cases(candidates.starts[:-1], utility, model.settings.contenders)
    best &= is_ranked[candidates.customer]
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
    newest_use = batch.use_order[batch.use_starts[:-1]]
    n_orders = batch.n_orders
    for customer in range(len(batch)):
        part = slice(int(starts[customer]), int(starts[customer + 1]))
        entries = slice(int(batch.entry_starts[customer]), int(batch.entry_starts[customer + 1]))
        history = batch.entry_offer[entries]
        if len(history) > settings.history_offers:
            latest = np.lexsort((history, newest_use[entries]))[: settings.history_offers]
            history = np.sort(history[latest])
        yield CustomerRow(
            key=batch.key(customer),
            n_orders=int(n_orders[customer]),
            last_day=int(batch.last_us[customer]) // DAY_US,
            rows=offers[part],
            values=values[part],
            counts=counts[part],
            history=history.astype(np.uint32),
        )


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
