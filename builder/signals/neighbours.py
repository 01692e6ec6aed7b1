"""Customers alike: a bounded reference sample, and what of it each customer's nearest ordered.

The reference holds, for some customers of the sample, their offers with exponentially decayed
counts, as in TIFU-KNN (Hu, He, Gao, Zhang 2020, *Modeling personalized item frequency information
for next-basket recommendation*): nearness is the cosine of ln(1 + decayed count), and what is taken
from a neighbour is the decayed share of their orders that held the offer.

Globals: `reference_starts.npy` int64, `reference_offers.npy` uint32, `reference_profile.npy` and
`reference_share.npy` float32, and `reference_keys.npy` uint64 of shape (n, 2): key halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.signals.histories import Floats, Histories, Ints, range_sums
from builder.signals.interactions import strongest_links
from builder.signals.rows import open_array

REFERENCE_GAPS: Final = 14.0
"""Half-life of the reference's counts, in usual times between two orders of the shop."""

_NAMES: Final = ("starts", "offers", "profile", "share", "keys")
_MIN_OFFERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The arrays of the module docstring; profiles are rows of Euclidean length 1."""

    starts: Ints
    offers: NDArray[np.uint32]
    profile: NDArray[np.float32]
    share: NDArray[np.float32]
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSettings:
    """How large the reference is.

    Attributes:
        customers: how many at most; those with the smallest low key halves.
        entries: how many (customer, offer) they may have together: of customers who know few offers
            more are needed, and cost no more to look through.
    """

    customers: int = 30_000
    entries: int = 1_000_000


def learn_reference(
    histories: Histories, half_life_days: float, settings: ReferenceSettings
) -> Reference:
    """Take the first customers who know at least two offers.

    Args:
        histories: of the sample.
        half_life_days: of the decay.
        settings: how many.
    """
    enough = np.flatnonzero(np.diff(histories.entry_starts) >= _MIN_OFFERS)
    by_key = np.lexsort((histories.key_hi[enough], histories.key_lo[enough]))
    known = np.diff(histories.entry_starts)
    n_chosen = np.searchsorted(np.cumsum(known[enough[by_key]]), settings.entries, side="right")
    chosen = np.sort(enough[by_key[: min(int(n_chosen), settings.customers)]])
    profile, share = profiles(histories, half_life_days)
    sizes = known[chosen]
    starts = np.zeros(len(chosen) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    entries = np.repeat(histories.entry_starts[chosen] - starts[:-1], sizes) + np.arange(starts[-1])
    return Reference(
        starts=starts,
        offers=histories.entry_offer[entries].astype(np.uint32),
        profile=profile[entries].astype(np.float32),
        share=share[entries].astype(np.float32),
        keys=np.stack([histories.key_hi[chosen], histories.key_lo[chosen]], axis=1),
    )


def write_reference(reference: Reference, out_dir: Path) -> None:
    """Write the files of the module docstring."""
    for name in _NAMES:
        np.save(out_dir / f"reference_{name}.npy", getattr(reference, name))


def open_reference(globals_dir: Path) -> Reference:
    """Map what `write_reference` wrote."""
    return Reference(**{name: open_array(globals_dir / f"reference_{name}.npy") for name in _NAMES})


def profiles(histories: Histories, half_life_days: float) -> tuple[Floats, Floats]:
    """Per entry: its part of the customer's unit profile, and its decayed share of their orders."""
    # Told from a customer's newest order: however long ago it all was, that one counts.
    newest = histories.order_age_days[histories.order_starts[:-1]]
    age_days = histories.order_age_days - np.repeat(newest, histories.n_orders)
    weight = np.exp2(-age_days / half_life_days)
    decayed = range_sums(weight[histories.use_order], histories.use_starts)
    profile = np.log1p(decayed)
    sizes = np.diff(histories.entry_starts)
    length = np.sqrt(range_sums(profile**2, histories.entry_starts))
    total = range_sums(weight, histories.order_starts)
    return (
        profile / np.repeat(np.maximum(length, 1e-12), sizes),
        decayed / np.repeat(np.maximum(total, 1e-12), sizes),
    )


class Neighbourhood:
    """Finds neighbours' offers for batches of customers.

    Args:
        reference: opened from the globals.
        n_offers: offers of the shop.
        reach: int64, rising: offers that are told of.
        half_life_days: as the reference was made with.
        n_neighbours: how many of the nearest are mixed, weighted by nearness.
    """

    def __init__(
        self,
        reference: Reference,
        n_offers: int,
        reach: Ints,
        half_life_days: float,
        n_neighbours: int,
    ) -> None:
        shape = (len(reference), n_offers)
        parts = (reference.offers.astype(np.int32), reference.starts)
        self._share = sparse.csr_matrix((reference.share, *parts), shape=shape)[:, reach].tocsr()
        self._by_offer = sparse.csr_matrix((reference.profile, *parts), shape=shape).T.tocsr()
        self._place = {(hi, lo): row for row, (hi, lo) in enumerate(reference.keys.tolist())}
        self._half_life_days = half_life_days
        self._n_neighbours = n_neighbours

    def mixed(self, histories: Histories) -> NDArray[np.float32]:
        """What the neighbours of each customer ordered.

        Returns:
            Float32, shape (n_customers, n offers in reach): the mean decayed share of the
            neighbours' orders, in [0, 1]. A customer is not their own neighbour.
        """
        profile, _ = profiles(histories, self._half_life_days)
        own = sparse.csr_matrix(
            (profile.astype(np.float32), histories.entry_offer, histories.entry_starts),
            shape=(len(histories), self._by_offer.shape[0]),
        )
        near = own @ self._by_offer
        keys = zip(histories.key_hi.tolist(), histories.key_lo.tolist(), strict=True)
        place = np.array([self._place.get(key, -1) for key in keys], dtype=np.int64)
        near.data[near.indices == np.repeat(place, np.diff(near.indptr))] = 0.0
        near = strongest_links(near, near.data, self._n_neighbours)
        total = np.maximum(near.sum(axis=1).ravel(), 1e-12)
        near.data /= np.repeat(np.asarray(total), np.diff(near.indptr))
        mixed: NDArray[np.float32] = (near @ self._share).toarray()
        return mixed
