"""Features of (customer, offer): how often, how lately, is it due, what do others say.

All are natural logs of ratios to the prior, or close to it, so that a linear sum of them is a
log-lift. Half-lives are multiples of the shop's usual time between two orders, or counted in
orders, so that nothing here knows whether a shop sells bread or sofas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.signals.candidates import Candidates
from builder.signals.facts import GROUPS, LEVELS, OfferFacts
from builder.signals.groups import affinity_column, group_columns
from builder.signals.histories import Floats, Histories, Ints, range_sums

Features = NDArray[np.float32]

HALF_LIVES_GAPS: Final = (2.0, 7.0, 21.0)
"""Half-lives of the decayed counts, in usual times between two orders."""

ORDER_DECAYS: Final = (0.5, 0.8, 0.95)
"""What an order counts for each more recent one the customer made."""

SOURCES: Final = (
    "neighbours",
    "walk",
    "walk_recent",
    "regression",
    "regression_recent",
    "factors",
)
"""What other customers say of a customer's next offers; see the modules of these names."""

GROUP_FEATURES: Final = ("frequency", "decayed", "recency", "own_share", "due")
"""Told of the offer's categories: see `groups`."""

FEATURES: Final = (
    "prior",
    "is_new",
    "frequency",
    "decayed_2",
    "decayed_7",
    "decayed_21",
    "ordered_50",
    "ordered_80",
    "ordered_95",
    "is_once",
    "is_twice",
    "recency",
    "recency_squared",
    "recency_in_activity",
    "due",
    "due_squared",
    "overdue",
    "not_yet_due",
    "gap",
    "repeat_known",
    "repeat_new",
    "trend",
    "long_run",
    "reach",
    *(f"{source}_{which}" for source in SOURCES for which in ("known", "new")),
    *(f"{level}_{what}" for level in LEVELS for what in GROUP_FEATURES),
    *(f"{group}_affinity" for group in GROUPS),
    "orders_since",
    "rate",
    "n_orders",
    "order_size",
    "quiet",
)

OF_OFFER: Final = frozenset(
    {"prior", "trend", "long_run", "reach", "repeat_known", "repeat_new", "gap"}
)
"""What is the same, or nearly so, for all who are told of an offer, and so gives away which it is.

Weights can't do harm with it. Trees can tell offers apart by it, and learn what sold in the weeks
their lessons come from, which is not what will.
"""


def make_features(
    histories: Histories, candidates: Candidates, facts: OfferFacts, told: Mapping[str, Floats]
) -> Features:
    """The features of all candidates, in the order of `FEATURES`.

    Args:
        histories: of the customers.
        candidates: of the same customers.
        facts: of the shop's offers.
        told: for each of `SOURCES`, what it says of each candidate: shares of orders or of
            customers, roughly; below 0 is taken for 0.

    Returns:
        Float32, shape (n_candidates, n_features).
    """
    columns = np.empty((len(candidates.offer), len(FEATURES)), dtype=np.float32)
    for place, column in enumerate(_columns(histories, candidates, facts, told)):
        columns[:, place] = column
    return columns


def _columns(
    histories: Histories, candidates: Candidates, facts: OfferFacts, told: Mapping[str, Floats]
) -> Iterator[Floats | NDArray[np.float32]]:
    customer, offer, entry = candidates.customer, candidates.offer, candidates.entry
    is_own = entry >= 0
    prior = facts.prior[offer].astype(np.float64)
    share = np.exp(prior)
    is_new = ~is_own

    def of_entry(values: Floats) -> Floats:
        """Values of entries for their candidates, 0 for new offers."""
        return np.append(values, 0.0)[entry]

    def lift(uses: Floats, orders: Floats, pseudo_orders: float) -> Floats:
        """Log of the smoothed share of the customer's orders over the prior's share."""
        seen = range_sums(uses[histories.use_order], histories.use_starts)
        smoothed = of_entry(seen) + pseudo_orders * share
        return np.log(smoothed / (orders[customer] + pseudo_orders)) - np.log(share)

    def decayed(weight: Floats, pseudo_orders: float) -> Floats:
        return lift(weight, range_sums(weight, histories.order_starts), pseudo_orders)

    yield prior
    yield is_new.astype(np.float64)
    yield decayed(np.ones(len(histories.order_age_days)), 2.0)
    for gaps in HALF_LIVES_GAPS:
        half_life_days = gaps * facts.order_gap_days
        yield decayed(np.exp2(-histories.order_age_days / half_life_days), 1.0)
    rank = histories.order_rank
    for decay in ORDER_DECAYS:
        yield decayed(decay ** rank.astype(np.float64), 0.5)
    yield from _timing(histories, candidates, facts)
    repeat = facts.repeat[offer]
    yield repeat * is_own
    yield repeat * is_new
    yield facts.trend[offer]
    yield facts.long_run[offer]
    reach = facts.reach[offer].astype(np.float64)
    yield np.log(reach) - np.log(share)
    for source in SOURCES:
        base, pseudo = (share, 0.1) if source == "neighbours" else (reach, 0.3)
        said = np.log((np.maximum(told[source], 0.0) + pseudo * base) / (1.0 + pseudo))
        said -= np.log(base)
        yield said * is_own
        yield said * is_new
    for numbers in facts.groups[: len(LEVELS)]:
        yield from group_columns(histories, candidates, numbers, facts.order_gap_days)
    for numbers in facts.groups:
        yield affinity_column(histories, candidates, numbers, facts.share)
    yield from _counted_in_orders(histories, candidates, rank)
    yield from _of_customer(histories, customer, facts)


def _counted_in_orders(
    histories: Histories, candidates: Candidates, rank: Ints
) -> Iterator[Floats]:
    """Orders since the offer was last in one, and its share of orders since its first."""
    uses = np.diff(histories.use_starts).astype(np.float64)
    newest = rank[histories.use_order[histories.use_starts[:-1]]].astype(np.float64)
    oldest = rank[histories.use_order[histories.use_starts[1:] - 1]].astype(np.float64)
    for column in (np.log1p(newest), np.log((uses + 0.5) / (oldest + 5.0))):
        yield np.append(column, 0.0)[candidates.entry]


def _of_customer(histories: Histories, customer: Ints, facts: OfferFacts) -> Iterator[Floats]:
    """How many orders, how large, how long ago: alike for all candidates, so for trees alone."""
    n_orders = histories.n_orders.astype(np.float64)
    n_uses = range_sums(np.diff(histories.use_starts).astype(np.float64), histories.entry_starts)
    newest = histories.order_age_days[histories.order_starts[:-1]] / facts.order_gap_days
    for column in (np.log(n_orders), np.log((n_uses + 1.0) / n_orders), np.log1p(newest)):
        yield column[customer]


def _timing(histories: Histories, candidates: Candidates, facts: OfferFacts) -> Iterator[Floats]:
    """When the customer last ordered the offer, and whether it is time again; 0 for new offers."""
    uses = np.diff(histories.use_starts).astype(np.float64)
    ages = histories.order_age_days[histories.use_order] / facts.order_gap_days
    last, first = ages[histories.use_starts[:-1]], ages[histories.use_starts[1:] - 1]
    customer = np.repeat(np.arange(len(histories)), np.diff(histories.entry_starts))
    newest = histories.order_age_days[histories.order_starts[:-1]] / facts.order_gap_days
    usual = facts.cadence[histories.entry_offer] / facts.order_gap_days
    gap = np.maximum((first - last + usual) / uses, 0.1)
    due = np.log(last / gap + 0.05)
    recency = np.log1p(last)
    columns = (
        (uses == 1).astype(np.float64),
        (uses == 2).astype(np.float64),
        recency,
        recency**2,
        np.log1p(last - newest[customer]),
        due,
        due**2,
        np.maximum(due - np.log(2.0), 0.0),
        np.maximum(due + np.log(2.0), 0.0),
        np.log(gap),
    )
    for column in columns:
        yield np.append(column, 0.0)[candidates.entry]
