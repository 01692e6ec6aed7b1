"""What is asked: bodies of requests, and how much is known of whoever asks.

A customer is *known* with as many orders as make a tier of their own, *thin* with fewer, and *cold*
with none: strangers and guests. Carts, contexts and shares are those of real orders, or of the
synthetic shop that the other benchmarks ask about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.http_requests import request_bodies
from bench.load.schedule import Ints
from bench.synthetic import Shape
from index.layout import THIN_BELOW_ORDERS
from index.request import Request

if TYPE_CHECKING:
    # At run time this brings all that only learning needs.
    from bench.load.orders import Orders

KINDS: Final = ("known", "thin", "cold")
KNOWN, THIN, COLD = range(3)
_MOST_IN_CART: Final = 500


class WrongShares(Exception):
    """Shares that nothing can be drawn with, or of customers that the events do not hold."""

    exit_code = 2
    hint = "give three numbers: of known, thin and cold customers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Requests to draw from.

    Attributes:
        bodies: JSON.
        kinds: names.
        kind: uint8, shape (bodies,): numbers of kinds.
        cart_sizes: int64, shape (bodies,): items in each cart.
    """

    bodies: Sequence[bytes]
    kinds: tuple[str, ...]
    kind: NDArray[np.uint8]
    cart_sizes: Ints

    def facts(self, which: Ints) -> dict[str, Any]:
        """What is sent in all: requests of each kind, and items in their carts."""
        counts = np.bincount(self.kind[which], minlength=len(self.kinds)).tolist()
        p50, p90, most = np.percentile(
            self.cart_sizes[which], [50, 90, 100], method="inverted_cdf"
        ).tolist()
        return {
            "requests": dict(zip(self.kinds, counts, strict=True)),
            "cart_items": {"p50": p50, "p90": p90, "max": most},
        }

    def draw(self, n: int, seed: int, shares: tuple[float, float, float] | None = None) -> Ints:
        """Which request is sent each time.

        Args:
            n: how often one is sent.
            seed: of the draw.
            shares: of known, thin and cold customers, in any unit; those of the bodies by default.

        Returns:
            int64, shape (n,): numbers of bodies.

        Raises:
            WrongShares: there is no request of a kind that has a share, or no kind has one.
        """
        rng = np.random.default_rng(seed)
        if shares is None:
            return rng.integers(0, len(self.bodies), n)
        if not (min(shares) >= 0 and 0 < sum(shares) < inf):
            told = " ".join(f"{share:g}" for share in shares)
            raise WrongShares(
                f"--shares {told} are no shares: none may be negative, nor all of them 0"
            )
        chosen = rng.choice(len(shares), n, p=np.array(shares) / sum(shares))
        which: Ints = np.empty(n, dtype=np.int64)
        for number, share in enumerate(shares):
            those = np.flatnonzero(self.kind == number)
            if share and not len(those):
                raise WrongShares(f"no request is of a {KINDS[number]} customer")
            places = chosen == number
            if share:
                which[places] = rng.choice(those, np.count_nonzero(places))
        return which


def mix_of_orders(orders: Orders, *, placement: str, k: int) -> Mix:
    """One request for each order: its customer, its cart, and its context.

    Args:
        orders: real ones.
        placement: where offers are asked for.
        k: how many are.
    """
    bodies = [
        _body(placement, k, customer_id, cart[:_MOST_IN_CART], context)
        for customer_id, cart, context in zip(
            orders.customer_ids, orders.carts, orders.contexts, strict=True
        )
    ]
    kind = np.where(orders.earlier >= THIN_BELOW_ORDERS, KNOWN, THIN)
    kind = np.where(orders.earlier == 0, COLD, kind)
    return Mix(
        bodies=bodies,
        kinds=KINDS,
        kind=kind.astype(np.uint8),
        cart_sizes=np.array([min(len(cart), _MOST_IN_CART) for cart in orders.carts]),
    )


def synthetic_mix(shape: Shape, n: int) -> Mix:
    """Requests to a synthetic shop: those of `almanac bench http`."""
    bodies = request_bodies(shape, n)
    decoded = [msgspec.json.decode(body, type=Request) for body in bodies]
    return Mix(
        bodies=bodies,
        kinds=KINDS,
        kind=np.array([KNOWN if one.customer_id else COLD for one in decoded], dtype=np.uint8),
        cart_sizes=np.array([len(one.cart) for one in decoded]),
    )


def _body(
    placement: str, k: int, customer_id: str | None, cart: Sequence[str], context: dict[str, str]
) -> bytes:
    members: dict[str, Any] = {"placement": placement, "k": k}
    if customer_id is not None:
        members["customer_id"] = customer_id
    if context:
        members["context"] = context
    return msgspec.json.encode(members | {"cart": [{"item_id": item_id} for item_id in cart]})
