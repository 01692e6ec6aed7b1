"""The same sum taken apart, signal by signal: for explanations and for learning weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays import Counts, Rows, Scores
from index.conditions import Conditions
from index.context import ContextLookup
from index.gather import Gathered, gather
from index.generation import Generation, Reader
from index.model import ANY_PLACEMENT, WITH_CART, Model
from index.records import PAIR, CustomerView, ItemView
from index.request import ChosenOffer, OverlayNote, Reason, Request

POOLED: Final = frozenset({"cart", "viewed"})
"""Signals of several items of which, for each offer, only the one that says most counts."""

SUMMED: Final = frozenset({"cart_sum", "viewed_sum"})
"""The same rows again: what all items say together."""

_REPEAT: Final = "repeat"
"""What the brand's policy takes off. Nothing was learned, so it is no signal that has a weight."""


class SignalRow(NamedTuple):
    """One sparse row that takes part in a sum.

    Attributes:
        signal: name its weight goes by.
        source: which row it is, for people.
        damping: what the weight is multiplied with: the contexts of a cart share their influence,
            and what was viewed earlier has less.
        rows: offers it names, shape (n,).
        values: their log-lifts, shape (n,).
        counts: orders behind each value, shape (n,).
        evidence: orders behind the row as a whole.
    """

    signal: str
    source: str
    damping: float
    rows: Rows
    values: Scores
    counts: Counts
    evidence: int


def signal_rows(
    model: Model, lookup: ContextLookup, reader: Reader, found: Gathered
) -> list[SignalRow]:
    """Every row of a request that was learned but the prior, unweighted.

    Views, valid inside the guard.
    """
    in_cart = found.n_cart**-model.cart_power if found.n_cart else 1.0
    parts = [
        *_context_rows(lookup, reader, dict.fromkeys(found.context_rows, 1), 1.0),
        *(_item_row("cart", item, 1.0) for item in found.cart),
        *(_item_row("cart_sum", item, in_cart) for item in found.cart),
        *_context_rows(lookup, reader, found.cart_context_rows, in_cart),
        *(
            _item_row(signal, item, model.viewed_decay**place)
            for signal in ("viewed", "viewed_sum")
            for place, item in enumerate(found.viewed)
        ),
    ]
    if (one := found.customer) is not None:
        source = "personal"
        parts.append(SignalRow(source, source, 1.0, one.rows, one.values, one.counts, one.n_orders))
    if found.similar is not None:
        pairs = np.frombuffer(found.similar, PAIR)
        rows, values = pairs["row"], pairs["value"]
        nothing = np.zeros(len(rows), np.uint32)
        parts.append(SignalRow("similar", "similar", 1.0, rows, values, nothing, 0))
    return parts


def _context_rows(
    lookup: ContextLookup, reader: Reader, context_rows: Mapping[int, int], damping: float
) -> Iterator[SignalRow]:
    for row, times in context_rows.items():
        if (record := reader.context(row)) is not None:
            values, counts = record.values, record.counts
            yield SignalRow(
                lookup.signals[row],
                lookup.names[row],
                damping * times,
                record.rows,
                values,
                counts,
                record.n_orders,
            )


def _item_row(signal: str, item: ItemView, damping: float) -> SignalRow:
    source = f"item {item.item_row}"
    return SignalRow(signal, source, damping, item.rows, item.values, item.counts, item.n_orders)


def _repeat_row(customer: CustomerView) -> SignalRow:
    rows = customer.history
    ones, nothing = np.ones(len(rows), np.float32), np.zeros(len(rows), np.uint32)
    return SignalRow(_REPEAT, _REPEAT, 1.0, rows, ones, nothing, 0)


class SignalMatrix(NamedTuple):
    """Candidates of one request with the unweighted value of every signal.

    Attributes:
        tier_name: whose weights apply, as in `Model.tiers`; carts apart in any case.
        rows: candidate offers, rising, shape (n,).
        signals: column names; the first is `prior`.
        values: float64, shape (n, len(signals)); the score is `values @ weights`, before the repeat
            policy takes anything off.
    """

    tier_name: str
    rows: NDArray[np.intp]
    signals: tuple[str, ...]
    values: NDArray[np.float64]


def signal_matrix(
    generation: Generation,
    request: Request,
    key: bytes | None,
    signals: tuple[str, ...],
    *,
    withhold_affinity: bool = False,
    viewed_decay: float | None = None,
    shown_only: bool = False,
) -> SignalMatrix:
    """What `decide` would add up, as a matrix to learn weights from.

    Args:
        generation: the open snapshot.
        request: the question.
        key: table key of the customer.
        signals: columns wanted; `prior` is put in front of them.
        withhold_affinity: pretend that no item has an affinity row.
        viewed_decay: instead of the model's own, to learn which is best.
        shown_only: leave out what may not be shown to this request, as `decide` does.
    """
    model, lookup = generation.model, generation.lookup
    if viewed_decay is not None:
        model = replace(model, viewed_decay=viewed_decay)
    with generation.reading() as reader:
        found = gather(generation, reader, request, key, withhold_affinity=withhold_affinity)
        parts = signal_rows(model, lookup, reader, found)
        top = model.prior_top.get(request.placement, model.prior_top[ANY_PLACEMENT])
        rows = np.unique(np.concatenate([top, *(part.rows for part in parts)]).astype(np.intp))
        values = np.zeros((len(rows), 1 + len(signals)))
        values[:, 0] = model.prior[rows]
        for part in parts:
            if part.signal in signals:
                column = 1 + signals.index(part.signal)
                places = np.searchsorted(rows, part.rows)
                if part.signal in POOLED:
                    said = part.values * part.damping
                    values[places, column] = np.fmax(values[places, column], said)
                else:
                    values[places, column] += part.values * part.damping
        keep = ~np.isin(rows, [*found.banned, *_all_in_cart(reader, found)])
        if found.bought is not None:
            keep &= ~np.isin(rows, np.frombuffer(found.bought, np.uint32))
        if shown_only:
            may_show = Conditions(generation, request).may_show
            records = map(reader.offer, rows.tolist())
            keep &= [record is not None and may_show(record) for record in records]
        return SignalMatrix(_learning_name(found), rows[keep], ("prior", *signals), values[keep])


def _all_in_cart(reader: Reader, found: Gathered) -> Iterator[int]:
    """Offers that hold nothing but what is in the cart."""
    for row, times in found.in_cart.items():
        if (offer := reader.offer(row)) is not None and times >= offer.n_items:
            yield row


def _learning_name(found: Gathered) -> str:
    return WITH_CART.get(found.tier, found.tier) if found.has_cart else found.tier


def with_reasons(
    generation: Generation,
    reader: Reader,
    found: Gathered,
    chosen: list[ChosenOffer],
) -> list[ChosenOffer]:
    """The same offers, each with what every signal contributed, largest effect first."""
    model = generation.model
    tier = model.tiers[found.tier_name]
    weights = tier.weights
    parts = signal_rows(model, generation.lookup, reader, found)
    if found.customer is not None and found.repeat_factor is not None:
        parts.append(_repeat_row(found.customer))
        weights = {**weights, _REPEAT: tier.shift_of(found.repeat_factor)}
    return [
        ChosenOffer(
            offer.offer_id,
            offer.offer_row,
            offer.rank,
            offer.score,
            offer.probability,
            offer.propensity,
            offer.fragment,
            _reasons(offer.offer_row, parts, weights, generation, reader),
        )
        for offer in chosen
    ]


def overlay_note(
    reader: Reader, chosen: list[ChosenOffer], passed_over: list[int]
) -> OverlayNote | None:
    """What the overlay did to an answer; None where none is in force.

    Args:
        reader: the caller's way into the snapshot.
        chosen: offers of the answer.
        passed_over: rows that were next but could not be shown, for whatever reason.
    """
    patches = reader.patches
    if not patches.sequence:
        return None
    return OverlayNote(
        patches.sequence,
        [patches.records[row].offer_id for row in passed_over if row in patches.removed],
        [offer.offer_id for offer in chosen if offer.offer_row in patches.repriced],
    )


def _reasons(
    offer_row: int,
    parts: list[SignalRow],
    weights: Mapping[str, float],
    generation: Generation,
    reader: Reader,
) -> list[Reason]:
    record = reader.offer(offer_row)
    prior = float(generation.model.prior[offer_row])
    orders = record.n_orders if record is not None else 0
    n_orders = generation.manifest.counts["orders"]
    reasons = [Reason("prior", "prior", 1.0, prior, prior, orders, n_orders)]
    peaks: dict[str, Reason] = {}
    for part in parts:
        place = np.flatnonzero(part.rows == offer_row)
        if not len(place):
            continue
        weight = weights.get(part.signal, 0.0) * part.damping
        value = float(part.values[place[0]])
        reason = Reason(
            part.signal,
            part.source,
            weight,
            value,
            weight * value,
            int(part.counts[place[0]]),
            part.evidence,
        )
        if part.signal not in POOLED:
            # Where items are not added up, there is nothing to tell of it.
            if weight or part.signal not in SUMMED:
                reasons.append(reason)
        elif weight * value > (peaks[part.signal].contribution if part.signal in peaks else 0.0):
            peaks[part.signal] = reason
    reasons += peaks.values()
    return sorted(reasons, key=lambda reason: -abs(reason.contribution))
