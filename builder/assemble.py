"""Putting a snapshot together: tables from arrays, the model beside them, and golden decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from builder import tables
from builder.cases import Case
from builder.signals.context import ContextTable
from builder.tables import LearnedArrays
from builder.weights import LearnedWeights
from index.eligibility import normal_value
from index.layout import secret_check
from index.manifest import Manifest
from index.model import ANY_PLACEMENT, Model, TierModel
from index.platform import library_versions
from index.request import RepeatPolicy, Request
from index.writer import SnapshotWriter

GOLDEN: Final = 256
_PRIOR_TOP: Final = 128
_PLACEMENT_TOP: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The brand's choices that travel in the snapshot.

    Attributes:
        brand: whose snapshot.
        timezone: IANA name.
        currency: ISO 4217, may be empty.
        repeat: by placement, `*` for the others.
        reserve: by placement.
        exploration: share of decisions whose last place explores.
    """

    brand: str
    timezone: str
    currency: str
    repeat: Mapping[str, RepeatPolicy]
    reserve: Mapping[str, float]
    exploration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the manifest says of data and build.

    Attributes:
        as_of_us: the moment the tables stand for.
        data: window of the orders learned from.
        n_orders: orders learned from.
        build: seed, settings, digests of inputs.
    """

    as_of_us: int
    data: Mapping[str, Any]
    n_orders: int
    build: Mapping[str, Any]


def untrained(signals: Sequence[str], tiers: Sequence[str]) -> LearnedWeights:
    """All signals with weight one and carts undamped: what weights are learned under."""
    model = TierModel(weights=dict.fromkeys(signals, 1.0))
    return LearnedWeights(
        tiers=dict.fromkeys(tiers, model),
        cart_power=0.0,
        viewed_decay=1.0,
        n_cases=dict.fromkeys(tiers, 0),
        n_redemptions={},
    )


def assemble(
    writer: SnapshotWriter,
    learned: LearnedArrays,
    *,
    runs: Sequence[Path],
    weights: LearnedWeights,
    policy: Policy,
    facts: Facts,
    secret: bytes,
    binding: bytes,
    golden: Sequence[tuple[bytes | None, Request]],
    item_pass: tables.ItemPass | None = None,
) -> Manifest:
    """Write all files of a snapshot into an entered writer; `writer.publish` is left to the caller.

    Args:
        writer: entered, with this binding.
        learned: arrays of the cut.
        runs: customers' runs in partition order.
        weights: how signals add up.
        policy: the brand's choices.
        facts: for the manifest.
        secret: of the brand.
        binding: from `tables.binding_of`.
        golden: customer key and request of each golden decision.
        item_pass: see `tables.write_tables`.
    """
    n_customers, n_shards = tables.write_tables(writer, learned, runs, item_pass)
    placements = tables.placements_of(learned)
    model = Model(
        brand=policy.brand,
        timezone=policy.timezone,
        currency=policy.currency,
        binding=binding,
        secret_check=secret_check(secret),
        n_items=learned.n_items,
        n_offers=learned.n_offers,
        n_contexts=len(learned.contexts.names),
        n_customers=n_customers,
        n_shards=n_shards,
        dim=learned.dim,
        prior=learned.prior,
        prior_top=_prior_tops(learned, placements, facts.as_of_us),
        values=_values(learned),
        features=tables.features_of(learned.contexts),
        price_edges_cents=learned.price_edges_cents,
        tiers=weights.tiers,
        cart_power=weights.cart_power,
        viewed_decay=weights.viewed_decay,
        repeat=dict(policy.repeat),
        reserve=dict(policy.reserve),
        exploration=policy.exploration,
        placements=placements,
    )
    return writer.finish(
        model,
        as_of_us=facts.as_of_us,
        data=dict(facts.data),
        counts={
            "orders": facts.n_orders,
            "customers": n_customers,
            "items": learned.n_items,
            "offers": learned.n_offers,
            "contexts": len(learned.contexts.names),
        },
        invariants={"max_customers": 2 * n_customers + 1000, "min_offers": 1},
        build={"libraries": library_versions(), **facts.build},
        golden_requests=golden,
    )


def golden_requests(
    cases: Sequence[Case], contexts: ContextTable
) -> list[tuple[bytes | None, Request]]:
    """Evenly spread questions of both kinds, of customers and strangers.

    They stand in the manifest for everyone to read, so none names a customer id, and of contexts
    they keep what the tables name too: a value that only few orders had could be anything.
    """
    known = {(feature, normal_value(value)) for feature, value in contexts.names}
    asked = sorted(cases, key=lambda case: case.question)
    n_golden = min(GOLDEN, len(asked))
    chosen = [asked[place * len(asked) // n_golden] for place in range(n_golden)]
    return [(case.key, _without_unknown(case.request, known)) for case in chosen]


def _without_unknown(request: Request, known: Collection[tuple[str, str]]) -> Request:
    context = {
        feature: value
        for feature, value in request.context.items()
        if value is not None and (feature, normal_value(value)) in known
    }
    return msgspec.structs.replace(request, context=context)


def _prior_tops(
    learned: LearnedArrays, placements: Sequence[str], as_of_us: int
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    """Candidates that are always considered: the most likely offers, for each placement apart."""
    order = np.argsort(-learned.prior, kind="stable").astype(np.uint32)
    expires_us = learned.offers["expires_us"]
    gone = [row for row, us in enumerate(expires_us) if us is not None and us <= as_of_us]
    order = order[~np.isin(order, gone)]
    tops = {ANY_PLACEMENT: order[:_PRIOR_TOP]}
    for name in placements:
        fits = [
            row
            for row in order.tolist()
            if not (at := learned.offers["placements"][row]) or name in at
        ]
        tops[name] = np.array(fits[:_PLACEMENT_TOP], dtype=np.uint32)
    return tops


def _values(learned: LearnedArrays) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
    """Worth of every offer; where some have one, an offer without is worth their mean."""
    given = [value for value in learned.offers["value"] if value is not None]
    if not given:
        return None
    mean = float(np.mean(given))
    values = [mean if value is None else value for value in learned.offers["value"]]
    return np.array(values, dtype=np.float32)
