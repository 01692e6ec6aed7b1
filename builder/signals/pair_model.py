"""Which offers go with an item, learned: what each of the things told of a pair counts.

A conditional logit over these (`logit`) is fitted on carts of customers of whom no table knows: of
an order's first items, which candidates came after them. As in a decision the loudest item speaks
for an offer, the one of the highest value; which one that is is told anew whenever the weights have
changed (a latent choice, as in Felzenszwalb et al. 2010, *Object detection with discriminatively
trained part-based models*). It begins from the plain value and decides among each cart's best
candidates, as in `builder.weights`. The prior is in it too, and a value is told relative to it, so
that a row adds to the prior as any other does. A row keeps the offers that stand highest with the
prior, of those that it speaks for.

Complete Journey, carts of 1 to 4 items of unseen households, prior and affinity alone, the largest
value of the cart's items; recall@10 and NDCG@10 of plain rows, of rows learned of single items, and
of rows learned of carts: as of 2017-12-01 (1,957 orders) 0.0748, 0.0787, 0.0824 and 0.0888, 0.0925,
0.0967; as of 2017-04-01 (5,669 orders) 0.0660, 0.0744, 0.0773 and 0.0862, 0.0925, 0.0937.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.histories import Floats, Ints
from builder.signals.logit import contenders, fit_logit
from builder.signals.pair_tables import FEATURES, PairTables
from builder.signals.rows import SparseRows, pack_rows

MIN_CARTS: Final = 200
_MAX_CARTS: Final = 6000
_RIDGE: Final = 30.0
_CONTENDERS: Final = 40
_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PairModel:
    """What each feature counts, relative to the prior.

    Attributes:
        weights: by feature, in the order of the module docstring.
    """

    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    """The first items of an order and what came after them.

    Attributes:
        item_rows: int64, different items.
        banned: int64, offers that could not be answers.
        truth: int64, offers that were.
    """

    item_rows: Ints
    banned: Ints
    truth: Ints


def fit_pairs(tables: PairTables, carts: Sequence[Cart]) -> PairModel | None:
    """Learn what the features count.

    Args:
        tables: of a cut before the carts.
        carts: of customers of whom the tables know nothing.

    Returns:
        None for fewer than `MIN_CARTS` that a candidate answers.
    """
    heard = Heard.of(tables, carts[:: max(-(-len(carts) // _MAX_CARTS), 1)])
    begin = np.zeros(len(FEATURES) + 1)
    begin[[FEATURES.index("plain"), -1]] = 1.0
    found = begin
    for _ in range(_ROUNDS):
        loudest = heard.loudest(found[:-1])
        scores = heard.told[loudest] @ found[:-1] + found[-1] * heard.prior[heard.offers]
        rows, cases = contenders(scores, heard.taken, heard.starts, _CONTENDERS)
        if len(cases) < MIN_CARTS:
            return None
        features = heard.features(loudest, rows)
        found, _ = fit_logit(features, heard.taken[rows], cases, start=begin, ridge=_RIDGE)
    # Were popularity worth nothing, values could not be told relative to it.
    return PairModel(weights=tuple((found[:-1] / max(found[-1], 0.1)).tolist()))


def pair_rows(tables: PairTables, model: PairModel, items: Ints, length: int) -> SparseRows:
    """Rows of some items under a model; row i is of items[i].

    Args:
        tables: of any cut.
        model: see `fit_pairs`.
        items: int64, item rows.
        length: of a row, at most.
    """
    place, offers, features, together = tables.features(items)
    values = features.astype(np.float64) @ np.array(model.weights)
    said = np.flatnonzero(values > 0.0)
    # Pairs come by place and offer, which is how ties stay.
    best = said[np.lexsort((-(tables.prior[offers] + values)[said], place[said]))]
    starts = np.searchsorted(place[best], np.arange(len(items)))
    best = best[np.arange(len(best)) - starts[place[best]] < length]
    return pack_rows(len(items), place[best], offers[best], values[best], together[best])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the items of carts say of offers: pairs under each other, by cart and offer.

    Attributes:
        told: float32, shape (n_pairs, n_features): all pairs of all items.
        prior: float64, shape (n_offers,).
        pairs: int64, shape (n,): which pair each voice is, several for an offer of several items.
        first_voices: int64, shape (n_choices,), rising from 0: where each cart's offers begin.
        offers: int64, shape (n_choices,).
        taken: bool, shape (n_choices,): came after the cart.
        starts: int64, shape (n_carts,): where each cart's choices begin.
    """

    told: NDArray[np.float32]
    prior: Floats
    pairs: Ints
    first_voices: Ints
    offers: Ints
    taken: NDArray[np.bool_]
    starts: Ints

    @classmethod
    def of(cls, tables: PairTables, carts: Sequence[Cart]) -> Heard:
        items = np.unique(np.concatenate([np.empty(0, np.int64), *(c.item_rows for c in carts)]))
        place, offers, told, _ = tables.features(items)
        bounds = np.searchsorted(place, np.arange(len(items) + 1))
        pairs, firsts, taken = [np.empty(0, np.int64)], [np.empty(0, np.int64)], []
        starts, n_voices, n_choices = [], 0, 0
        for cart in carts:
            places = np.searchsorted(items, cart.item_rows)
            mine = np.concatenate([np.arange(bounds[i], bounds[i + 1]) for i in places])
            mine = mine[~np.isin(offers[mine], cart.banned)]
            mine = mine[np.argsort(offers[mine], kind="stable")]
            first = np.flatnonzero(np.diff(offers[mine], prepend=-1))
            starts.append(n_choices)
            pairs.append(mine)
            firsts.append(first + n_voices)
            taken.append(np.isin(offers[mine[first]], cart.truth))
            n_voices += len(mine)
            n_choices += len(first)
        voices, first_voices = np.concatenate(pairs), np.concatenate(firsts)
        return cls(
            told=told,
            prior=tables.prior,
            pairs=voices,
            first_voices=first_voices,
            offers=offers[voices[first_voices]],
            taken=np.concatenate([np.empty(0, np.bool_), *taken]),
            starts=np.array(starts, dtype=np.int64),
        )

    def loudest(self, weights: Floats) -> Ints:
        """Of each choice the pair of the highest value, the first of them in a tie."""
        values = (self.told @ weights)[self.pairs]
        if not len(values):
            return self.pairs
        choice = np.repeat(
            np.arange(len(self.first_voices)), np.diff(self.first_voices, append=len(values))
        )
        loud = np.flatnonzero(values == np.maximum.reduceat(values, self.first_voices)[choice])
        first: Ints = self.pairs[loud[np.flatnonzero(np.diff(choice[loud], prepend=-1))]]
        return first

    def features(self, loudest: Ints, choices: Ints) -> NDArray[np.float32]:
        """Of some choices what their loudest pair is told, and the prior."""
        prior = self.prior[self.offers[choices]].astype(np.float32)
        return np.column_stack([self.told[loudest[choices]], prior])
