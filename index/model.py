"""The model file: what every decision reads: prior, weights, vocabularies, policies."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, log
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from index.arrays import Rows, Scores
from index.codec import pack, unpack
from index.errors import Corrupt, Incomplete, NotASnapshot, WriteFailed, WrongVersion
from index.layout import FORMAT_NAME, FORMAT_VERSION
from index.request import RepeatPolicy, Tier

FeatureKind: TypeAlias = Literal["request", "hour_of_week", "category", "price_band"]
ANY_PLACEMENT: Final = "*"
SHARD_COUNTS: Final = tuple(1 << power for power in range(9))
TIERS: Final[tuple[Tier, ...]] = ("individual", "thin", "context", "prior")
WITH_CART: Final[Mapping[Tier, str]] = {
    tier: f"{tier}+cart" for tier in ("individual", "thin", "context")
}
"""Where a tier keeps the weights of requests with a cart or viewed items, if these have some."""

_LEAST_FACTOR: Final = sys.float_info.min


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One context feature.

    Attributes:
        name: as the request spells it.
        kind: where its value comes from: the request's `context`, the moment, or the cart.
        rows: context row of each known value; values as `eligibility.normal_value` spells them.
    """

    name: str
    kind: FeatureKind
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierModel:
    """How signals add up in one tier, and how a score becomes a probability.

    Attributes:
        weights: weight by signal name (`personal`, `cart`, `cart_sum`, `viewed`, `viewed_sum`,
            `similar`, `context:NAME`); a signal without a weight does not count. The prior always
            counts once: a common factor changes no order, and `slope` takes it up.
        slope: probability = 1 / (1 + exp(-(slope·score + intercept))).
        intercept: see slope.
    """

    weights: Mapping[str, float]
    slope: float = 1.0
    intercept: float = 0.0

    def shift_of(self, odds_factor: float) -> float:
        """What a score changes by when the odds of its probability are multiplied with a factor.

        A curve that does not rise gives the score no such meaning: the score itself is then taken
        for the log-odds, so that a factor always leads down.

        Args:
            odds_factor: above 0 and below 1; what lies outside counts as the nearer end.

        >>> TierModel(weights={}, slope=0.5).shift_of(0.25) == log(0.25) / 0.5
        True
        """
        shift = log(min(max(_LEAST_FACTOR, odds_factor), 1.0))
        return shift / self.slope if self.slope > 0.0 else shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Everything `decide` needs besides the tables.

    Attributes:
        brand: whose snapshot this is.
        timezone: IANA name; hours of the week are local to it.
        currency: ISO 4217 code of prices and values; may be empty.
        binding: 16 bytes that every table of the build carries too.
        secret_check: fingerprint of the secret the customer keys were made with.
        n_items: items known; rows are below this.
        n_offers: offers known.
        n_contexts: context values known.
        n_customers: customers with a record.
        n_shards: files the customers table is split into, a power of two.
        dim: length of a vector; 0 when there are none.
        prior: natural log of the share of orders that hold the offer, below 0; float32, shape
            (n_offers,).
        prior_top: candidate offers by prior per placement, best first; `*` for any placement.
        values: worth of each offer when taken, float32, shape (n_offers,), or None.
        features: context features.
        price_edges_cents: rising bounds between price bands.
        tiers: weights and calibration by tier, and by `WITH_CART` names where carts have their own.
        cart_power: contexts of a cart's lines, and the sum of what its items say, count with
            weight / (lines) ** cart_power.
        viewed_decay: what an item viewed counts for each that was viewed after it, in [0, 1].
        repeat: repeat policy by placement, `*` for the others: `allow`, `exclude`, or what the odds
            of offers that the customer took before are multiplied with.
        reserve: least probability × value (probability where offers have no value) by placement.
        exploration: share of decisions whose last place explores.
        placements: names by bit of an offer's placement mask.
        n_probe: lists of the vector file that a search visits.
        similar_top: offers taken from a vector search.
    """

    brand: str
    timezone: str
    currency: str
    binding: bytes
    secret_check: str
    n_items: int
    n_offers: int
    n_contexts: int
    n_customers: int
    n_shards: int
    dim: int
    prior: Scores
    prior_top: Mapping[str, Rows]
    values: Scores | None
    features: tuple[Feature, ...]
    price_edges_cents: tuple[int, ...]
    tiers: Mapping[str, TierModel]
    cart_power: float
    viewed_decay: float = 1.0
    repeat: Mapping[str, RepeatPolicy] = field(default_factory=lambda: {ANY_PLACEMENT: "allow"})
    reserve: Mapping[str, float] = field(default_factory=dict)
    exploration: float = 0.0
    placements: tuple[str, ...] = ()
    n_probe: int = 8
    similar_top: int = 64

    def tier_name(self, tier: Tier, *, has_cart: bool) -> str:
        """Name in `tiers` of what weighs a request: its tier's own for carts, or the tier's."""
        name = WITH_CART.get(tier, tier) if has_cart else tier
        return name if name in self.tiers else tier


_PLAIN: Final = (
    "brand",
    "timezone",
    "currency",
    "binding",
    "secret_check",
    "n_items",
    "n_offers",
    "n_contexts",
    "n_customers",
    "n_shards",
    "dim",
    "cart_power",
    "viewed_decay",
    "exploration",
    "n_probe",
    "similar_top",
)


_TIER_NAMES: Final = {*TIERS, *WITH_CART.values()}


def pack_model(model: Model) -> bytes:
    """Bytes of `model.msgpack`; the same model gives the same bytes.

    Raises:
        WriteFailed: a reader would refuse the model, see `model_problem`.
    """
    if problem := model_problem(model):
        raise WriteFailed(f"the model is not one to ship: {problem}")
    body: dict[str, Any] = {"format": FORMAT_NAME, "version": FORMAT_VERSION}
    body |= {name: getattr(model, name) for name in _PLAIN}
    body["prior"] = model.prior.astype("<f4").tobytes()
    body["prior_top"] = {
        name: rows.astype("<u4").tobytes() for name, rows in sorted(model.prior_top.items())
    }
    body["values"] = None if model.values is None else model.values.astype("<f4").tobytes()
    body["features"] = [
        {"name": feature.name, "kind": feature.kind, "rows": dict(sorted(feature.rows.items()))}
        for feature in model.features
    ]
    body["price_edges_cents"] = list(model.price_edges_cents)
    body["tiers"] = {
        tier: {
            "weights": dict(sorted(model.tiers[tier].weights.items())),
            "slope": model.tiers[tier].slope,
            "intercept": model.tiers[tier].intercept,
        }
        for tier in (*TIERS, *WITH_CART.values())
        if tier in model.tiers
    }
    body["repeat"] = dict(sorted(model.repeat.items()))
    body["reserve"] = dict(sorted(model.reserve.items()))
    body["placements"] = list(model.placements)
    return pack(body)


def unpack_model(data: bytes, path: Path) -> Model:
    """Read `model.msgpack`; the arrays are views of `data`, which they keep alive.

    Raises:
        NotASnapshot, WrongVersion, Corrupt: the bytes are not a model this reader knows.
    """
    try:
        body = unpack(data)
    except Corrupt as problem:
        raise Corrupt(problem.what, path=path, hint="copy the snapshot again") from problem
    if not isinstance(body, dict) or body.get("format") != FORMAT_NAME:
        raise NotASnapshot("holds no model of ours", path=path)
    if body.get("version") != FORMAT_VERSION:
        raise WrongVersion(
            f"model format {body.get('version')}, this reader knows {FORMAT_VERSION}",
            path=path,
            hint="upgrade the side with the lower version",
        )
    try:
        model = Model(
            **{name: body[name] for name in _PLAIN},
            prior=np.frombuffer(body["prior"], "<f4"),
            prior_top={
                name: np.frombuffer(rows, "<u4") for name, rows in body["prior_top"].items()
            },
            values=None if body["values"] is None else np.frombuffer(body["values"], "<f4"),
            features=tuple(Feature(**feature) for feature in body["features"]),
            price_edges_cents=tuple(body["price_edges_cents"]),
            tiers={tier: TierModel(**one) for tier, one in body["tiers"].items()},
            repeat=body["repeat"],
            reserve=body["reserve"],
            placements=tuple(body["placements"]),
        )
        found = model_problem(model)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise Corrupt(f"model lacks or garbles a part ({problem})", path=path) from problem
    if found is not None:
        raise Corrupt(f"the model is not one to decide with: {found}", path=path)
    return model


def model_problem(model: Model) -> str | None:
    """What would make decisions fail or mislead, as a sentence; None when nothing would.

    Decisions trust a model without looking again, so it is looked at once, by writer and reader.
    """
    n_offers, n_shards = model.n_offers, model.n_shards
    tops = model.prior_top.values()
    contexts = [row for feature in model.features for row in feature.rows.values()]
    numbers = [
        *(weight for tier in model.tiers.values() for weight in tier.weights.values()),
        *(number for tier in model.tiers.values() for number in (tier.slope, tier.intercept)),
        *model.reserve.values(),
        model.cart_power,
        model.viewed_decay,
    ]
    checks = (
        (set(TIERS) <= set(model.tiers) <= _TIER_NAMES, "tiers are missing or unknown"),
        (len(model.binding) == 16, "the binding has not 16 bytes"),
        (n_shards in SHARD_COUNTS, f"{n_shards} shards are no power of two up to 256"),
        (model.prior.shape == (n_offers,), f"the prior is not one number for {n_offers} offers"),
        (bool(np.isfinite(model.prior).all()), "the prior has numbers that are not finite"),
        (ANY_PLACEMENT in model.prior_top, "no best offers for any placement"),
        (all((rows < n_offers).all() for rows in tops), "a best offer is no offer"),
        (all(0 <= row < model.n_contexts for row in contexts), "a context row is no context's"),
        (_are_worths(model.values, n_offers), "worths are not a finite number for each offer"),
        (all(map(isfinite, numbers)), "a weight, slope or bound is not finite"),
        (0.0 <= model.viewed_decay <= 1.0, f"a decay of {model.viewed_decay} is no share"),
        (0.0 <= model.exploration <= 1.0, f"exploration {model.exploration} is no share"),
        (model.n_probe > 0 and model.similar_top > 0, "a vector search is to find nothing"),
        (all(map(_is_policy, model.repeat.values())), f"not all of {model.repeat} are policies"),
        (len(model.placements) <= 64, "more than 64 placements"),
        (list(model.price_edges_cents) == sorted(model.price_edges_cents), "price bands fall"),
        (_is_timezone(model.timezone), f"{model.timezone!r} is no time zone this machine knows"),
    )
    return next((sentence for holds, sentence in checks if not holds), None)


def _is_policy(policy: RepeatPolicy) -> bool:
    return policy in ("allow", "exclude") or (isinstance(policy, float) and 0.0 < policy < 1.0)


def _are_worths(values: Scores | None, n_offers: int) -> bool:
    return values is None or (values.shape == (n_offers,) and bool(np.isfinite(values).all()))


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def read_model(path: Path) -> Model:
    """Read and unpack a model file.

    Raises:
        Incomplete: it is missing.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as problem:
        raise Incomplete("is missing", path=path) from problem
    except OSError as problem:
        raise Corrupt(f"cannot be read ({problem.strerror})", path=path) from problem
    return unpack_model(data, path)
