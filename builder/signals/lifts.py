"""Lifts of several aspects at once: what each says of an offer beyond what the others say.

An order made at moment m is expected to hold offer o with the chance

    share(o) × Π over aspects of exp(lift[aspect, its group at m, o])

One aspect's lifts, given all others', are ln((c + k) / (E + k)): c counts the group's orders that
hold the offer, E is how many the others let expect, and k is how strongly the lift is drawn to 0
(the mean of a gamma posterior whose prior has mean 1 and strength k). Refitted in turn, over and
over, the lifts settle where together they explain the counts; so two features that say the same
share it between them, and nothing counts twice.

k is estimated for each aspect from the data (empirical Bayes): customers are split into two halves,
and only what the halves have in common is taken for real. Few customers with many orders each, or
an aspect that says nothing, therefore give a large k, not false lifts. On Complete Journey this
finds the best k for `store`, where to count orders as if they were independent makes matters worse
than plain popularity.

What some offer sells in one half of the customers alone is that half's taste for it and not the
context's doing: with few customers a single one can make an offer popular. Hence what a half is
expected to hold goes by the half's own shares.

Counts are of all orders; which contexts hold together is seen in a sample (`moments`).

Sources: Deming and Stephan (1940), iterative proportional fitting; DuMouchel (1999), gamma-Poisson
shrinkage of observed to expected counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.signals.aspects import Aspect
from builder.signals.moments import Codes, Moments

Floats: TypeAlias = NDArray[np.float64]
Lifts: TypeAlias = NDArray[np.float32]
BOTH: Final = (0, 1)
_LEAST_NOISE: Final = 0.1
_LEAST_VARIANCE: Final = 1e-6
_PSEUDO_ORDERS: Final = 20.0
_STEPS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """Of all orders, those that hold each offer: what is expected when no context is known.

    Attributes:
        all: float64, shape (n_offers,), above 0.
        by_half: float64, shape (2, n_offers), above 0: of the orders of each half of the customers.
    """

    all: Floats
    by_half: Floats

    def of(self, offers: slice) -> Shares:
        """Those of some offers."""
        return Shares(all=self.all[offers], by_half=self.by_half[:, offers])


def shares_of(share: Floats, held: NDArray[Any], n_orders: tuple[int, int]) -> Shares:
    """Shares of the halves, drawn to those of all by a few orders.

    Args:
        share: float64, shape (n_offers,), above 0.
        held: shape (2, n_offers): orders of each half that hold each offer.
        n_orders: all orders of each half.
    """
    n = np.array(n_orders, dtype=np.float64)[:, None]
    return Shares(all=share, by_half=(held + _PSEUDO_ORDERS * share) / (n + _PSEUDO_ORDERS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What was counted of one aspect, for some offers, by half of the customers.

    Attributes:
        aspect: of which.
        codes: int64, shape (n_moments,): the group of each sampled moment; n_groups for none.
        n_orders: float64, shape (2, n_groups).
        held: float64, shape (2, n_groups, n_offers): those that hold each offer.
    """

    aspect: Aspect
    codes: Codes
    n_orders: Floats
    held: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far an aspect can be trusted by itself.

    Attributes:
        strength: k, in expected orders.
        noise: how many times more the counts scatter than those of independent orders would.
        gain: log-likelihood of each half's orders under the other half's lifts, less that without
            lifts.
    """

    strength: float
    noise: float
    gain: float


def trust_in(evidence: Evidence, shares: Shares, least_strength: float) -> Trust:
    """Judge an aspect by what its halves have in common.

    Lifts have variance φ over groups and offers. The two halves' deviations from expectation only
    share what is real, so Σ(c₁-e₁)(c₂-e₂) = φ·Σe₁e₂; what of Σ(c-e)² is left is noise, δ times
    what independent orders would give; and k = δ / φ. Offers weigh 1 / share. Where few lifts are
    large and most are none that is but a first guess: k is then halved, or doubled, for as long as
    the lifts of each half foretell the other one better.

    Args:
        evidence: of the aspect.
        shares: of the same offers.
        least_strength: k is never below this.
    """
    share = shares.all
    expected = evidence.n_orders[:, :, None] * shares.by_half[:, None, :]
    off = evidence.held - expected
    everything = expected.sum(axis=0)
    common_scale = float((expected[0] * expected[1] / share).sum())
    if common_scale <= 0.0:
        return Trust(strength=np.inf, noise=1.0, gain=0.0)
    variance = max(float((off[0] * off[1] / share).sum()) / common_scale, _LEAST_VARIANCE)
    scatter = float((off.sum(axis=0) ** 2 / share).sum())
    real = variance * float((everything**2 / share).sum())
    noise = max((scatter - real) / float((everything / share).sum()), _LEAST_NOISE)
    strength = max(noise / variance, least_strength)
    gain = _gain(evidence.held, expected, strength)
    for step in (0.5, 2.0):
        for _ in range(_STEPS):
            other = max(strength * step, least_strength)
            found = _gain(evidence.held, expected, other)
            if found <= gain:
                break
            strength, gain = other, found
    return Trust(strength=strength, noise=noise, gain=gain)


def _gain(held: Floats, expected: Floats, strength: float) -> float:
    """Log-likelihood that each half's lifts add to what the other half held."""
    gain = 0.0
    for known, asked in (BOTH, BOTH[::-1]):
        factor = (held[known] + strength) / (expected[known] + strength)
        gain += float((held[asked] * np.log(factor)).sum())
        gain -= float((expected[asked] * (factor - 1.0)).sum())
    return gain


class Blend:
    """Aspects whose lifts are fitted together, for some offers.

    Args:
        shares: of the offers.
        moments: which contexts hold together.
        taught_by: the halves whose orders teach. With one, what is expected of either half goes by
            the half's own shares; with both, by those of all, since that is what lifts are put on.

    Attributes:
        lifts: by aspect, float32, shape (n_groups + 1, n_offers); the last group, of moments where
            the feature is not known, has none.
    """

    def __init__(self, shares: Shares, moments: Moments, taught_by: Sequence[int] = BOTH) -> None:
        self.lifts: dict[Aspect, Lifts] = {}
        self._shares = shares
        self._share = shares.all if len(taught_by) > 1 else shares.by_half[taught_by[0]]
        self._moments = moments
        self._taught_by = list(taught_by)
        by_half = np.stack([self._share, self._share]) if len(taught_by) > 1 else shares.by_half
        self._chances: Lifts = by_half.astype(np.float32)[moments.halves]
        self._members: dict[Aspect, tuple[Any, Floats]] = {}

    def refit(self, evidence: Evidence, strength: float) -> float:
        """Fit one aspect to what the others leave; returns the largest change of a lift."""
        aspect = evidence.aspect
        old = self.lifts.get(aspect)
        if old is None:
            old = np.zeros((aspect.n_groups + 1, len(self._share)), dtype=np.float32)
        held = evidence.held[self._taught_by].sum(axis=0)
        new = np.zeros_like(old)
        new[:-1] = np.log((held + strength) / (self._expected(evidence, old) + strength))
        change = new - old
        self._chances *= np.exp(change)[evidence.codes]
        self.lifts[aspect] = new
        return float(np.abs(change).max(initial=0.0))

    def log_likelihood(self, fitted: Iterable[Evidence], half: int) -> float:
        """Of one half's orders, all that were counted, up to what no lift changes."""
        told = sum(float((one.held[half] * self.lifts[one.aspect][:-1]).sum()) for one in fitted)
        times = np.where(self._moments.halves == half, self._moments.times, 0.0)
        return told - float(times @ self._chances.sum(axis=1, dtype=np.float64))

    def copy(self) -> Blend:
        """The same, to try something with."""
        other = Blend(self._shares, self._moments, self._taught_by)
        other.lifts = dict(self.lifts)
        other._chances = self._chances.copy()
        other._members = self._members
        return other

    def _expected(self, evidence: Evidence, lifts: Lifts) -> Floats:
        """Orders of each group that hold each offer, as all other aspects have it."""
        members, sampled = self._members_of(evidence)
        n_orders = evidence.n_orders[self._taught_by].sum(axis=0)
        was_seen = sampled > 0.0
        expected: Floats = (members @ self._chances).astype(np.float64)
        expected *= (n_orders / np.where(was_seen, sampled, 1.0))[:, None]
        expected /= np.exp(lifts[:-1])
        # A group that the sample missed is taken for one like any other.
        return np.where(was_seen[:, None], expected, n_orders[:, None] * self._share)

    def _members_of(self, evidence: Evidence) -> tuple[Any, Floats]:
        """The teaching moments of each group as a sparse matrix, and how many orders they are."""
        found = self._members.get(evidence.aspect)
        if found is None:
            n_groups = evidence.aspect.n_groups
            teaches = np.isin(self._moments.halves, self._taught_by)
            places = np.flatnonzero(teaches & (evidence.codes < n_groups))
            members = sparse.csr_matrix(
                (self._moments.times[places], (evidence.codes[places], places)),
                shape=(n_groups, len(self._moments)),
                dtype=np.float32,
            )
            found = members, np.asarray(members.sum(axis=1), dtype=np.float64).ravel()
            self._members[evidence.aspect] = found
        return found
