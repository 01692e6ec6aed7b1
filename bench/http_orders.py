"""Orders that a synthetic shop might have had, for a model to learn from: who took what, and when.

They are about customer, cart and hour, so that a model that knows these has something to learn.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson

from bench.http_ground import Csr
from bench.http_requests import checkable_bodies
from bench.synthetic import Shape, item_id

N_ORDERS: Final = 8000
_FAVOURITES: Final = 200
_HABITS: Final = ("again", "with the cart", "at this hour")
_SHARES: Final = (0.5, 0.2, 0.3)


def drawn_orders(
    rng: np.random.Generator, shape: Shape, histories: Csr, affinity: Csr
) -> list[dict[str, Any]]:
    """Questions, each with the offer that was `taken`, from all hours of a week.

    A customer takes what they took before, or what goes with the cart, or what this hour prefers
    among the popular; a stranger knows only the latter two.

    Args:
        rng: of all draws.
        shape: of the shop.
        histories: customers × offers, with `values`: how often.
        affinity: items × offers.
    """
    orders = []
    for body in checkable_bodies(shape, N_ORDERS):
        order = orjson.loads(body)
        at = datetime.fromisoformat(order["at"]) + timedelta(hours=int(rng.integers(0, 168)))
        favourite = (8 * at.hour + int(rng.geometric(0.1)) - 1) % min(_FAVOURITES, shape.n_offers)
        near = _row(affinity, int(order["cart"][0]["item_id"].rpartition("-")[2]))[0]
        own, times = np.empty(0, dtype=np.int32), np.empty(0)
        if "customer_id" in order:
            own, times = _row(histories, int(order["customer_id"].rpartition("-")[2]))
        habit = rng.choice(_HABITS, p=_SHARES)
        if habit == "again" and len(own):
            taken = rng.choice(own, p=times / times.sum())
        elif habit == "with the cart" and len(near):
            taken = rng.choice(near)
        else:
            taken = favourite
        orders.append(order | {"at": at.isoformat(), "taken": item_id(int(taken))})
    return orders


def _row(table: Csr, row: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    start, end = table["indptr"][row : row + 2]
    return table["indices"][start:end], table["values"][start:end].astype(np.float64)
