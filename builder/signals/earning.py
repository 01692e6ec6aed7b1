"""Which context features earn their place: those that foretell orders they have not seen.

Everything is fitted on one half of the customers and judged on the other, both ways. Starting from
popularity alone, the aspect is added that raises the log-likelihood of the unseen half most, fitted
together with those already there; and so on, until none raises it. What merely repeats another
feature, or tells customers apart rather than moments, raises nothing, and so never gets a row that
every decision would have to add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from builder.signals.lifts import BOTH, Blend, Evidence, Shares, trust_in
from builder.signals.moments import Moments

_ROUNDS: Final = 2
_AS_GOOD: Final = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class EarningSettings:
    """What an aspect must show.

    Attributes:
        features: at most this many features are kept: each is a row more in every decision.
        least_gain: log-likelihood (nats) that an aspect must add, times its noise. Chance alone
            gives less once in e^10 times, so even a hundred idle columns will hardly pass.
        least_strength: k is never below this many expected orders.
    """

    features: int = 12
    least_gain: float = 10.0
    least_strength: float = 2.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Candidate:
    """An aspect that may earn its place, and what it would have earned when last looked at."""

    evidence: Evidence
    strength: float
    least: float
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """An aspect that earned its place, and how strongly its lifts are drawn to 0."""

    evidence: Evidence
    strength: float


def choose(
    looks: Iterable[Evidence], shares: Shares, moments: Moments, settings: EarningSettings
) -> list[Chosen]:
    """The aspects that earn their place, those that add most first.

    Args:
        looks: all aspects of all features, counted for the same offers.
        shares: of the same offers.
        moments: which contexts hold together.
        settings: see there.
    """
    waiting = _promising(looks, shares, settings)
    chosen: list[_Candidate] = []
    halves = {half: Blend(shares, moments, (half,)) for half in BOTH}
    told = sum(halves[half].log_likelihood((), 1 - half) for half in BOTH)
    while waiting:
        waiting.sort(key=lambda one: -one.gain)
        candidate, *others = waiting
        if not _fits(candidate, chosen, settings.features):
            waiting = others
            continue
        tried = {half: _tried(halves[half], [*chosen, candidate]) for half in BOTH}
        evidence = [one.evidence for one in (*chosen, candidate)]
        found = sum(tried[half].log_likelihood(evidence, 1 - half) for half in BOTH)
        candidate.gain = found - told
        if candidate.gain < candidate.least:
            waiting = others
        elif not others or candidate.gain >= _AS_GOOD * others[0].gain:
            # What others would add has not risen since they were looked at, so none adds more.
            # Of two that say the same the coarser one, which came first, is as good.
            waiting, halves, told = others, tried, found
            chosen.append(candidate)
    return [Chosen(evidence=one.evidence, strength=one.strength) for one in chosen]


def _promising(
    looks: Iterable[Evidence], shares: Shares, settings: EarningSettings
) -> list[_Candidate]:
    """Aspects that say something when nothing else is known."""
    found = []
    for evidence in looks:
        trust = trust_in(evidence, shares, settings.least_strength)
        least = settings.least_gain * max(trust.noise, 1.0)
        if trust.gain >= least:
            candidate = _Candidate(
                evidence=evidence, strength=trust.strength, least=least, gain=trust.gain
            )
            found.append(candidate)
    return found


def _fits(candidate: _Candidate, chosen: Sequence[_Candidate], most: int) -> bool:
    features = {one.evidence.aspect.feature for one in chosen}
    return len(features | {candidate.evidence.aspect.feature}) <= most


def _tried(blend: Blend, candidates: Sequence[_Candidate]) -> Blend:
    """The blend with the last candidate in it, and the others fitted anew beside it."""
    tried = blend.copy()
    tried.refit(candidates[-1].evidence, candidates[-1].strength)
    for _ in range(_ROUNDS if len(candidates) > 1 else 0):
        for one in candidates:
            tried.refit(one.evidence, one.strength)
    return tried
