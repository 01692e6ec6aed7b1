"""Questions to the toy shop, and how their answers are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from index.generation import Generation
from index.records import (
    OFFER_AVAILABLE,
    OFFER_HAS_WINDOW,
    OfferRecord,
)
from index.request import CartLine, Decision, Request
from tests.toys import (
    AS_OF_US,
    N_OFFERS,
    item_id,
    toy_model,
    toy_offer,
)

Shop = Callable[..., Generation]
PRIOR = toy_model().prior
NOW = datetime.fromtimestamp(AS_OF_US / 1e6, UTC)
WINDOW = OFFER_AVAILABLE | OFFER_HAS_WINDOW
TUESDAY_0930 = datetime(2026, 11, 24, 9, 30)  # noqa: DTZ001 - a local moment, as shops send it


def lines(*rows: int) -> list[CartLine]:
    return [CartLine(item_id=item_id(row)) for row in rows]


def rows_of(decision: Decision) -> list[int]:
    return [offer.offer_row for offer in decision.offers]


def scores_of(decision: Decision) -> dict[int, float]:
    return {offer.offer_row: offer.score for offer in decision.offers}


def expected(lifts: dict[int, float], k: int = 10, banned: set[int] = frozenset()) -> list[int]:  # type: ignore[assignment]
    """Best rows by prior plus lifts, ties by row, by brute force."""
    total = PRIOR.astype(float).copy()
    for row, lift in lifts.items():
        total[row] += lift
    order = np.lexsort((np.arange(N_OFFERS), -total))
    return [row for row in order.tolist() if row not in banned][:k]


def changed(row: int, **changes: Any) -> dict[int, OfferRecord]:
    return {row: toy_offer(row)._replace(**changes)}


EVERYTHING = Request(
    customer_id="ann",
    at=TUESDAY_0930,
    context={"device": "mobile", "store": True},
    cart=lines(1, 2, 8),
    viewed=[item_id(7)],
    k=40,
    explain=True,
)
