"""Whether an offer may be shown: what it asks of a request, and what the request asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from index.eligibility import is_eligible, normal_value
from index.generation import Generation
from index.records import (
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    OFFER_HAS_WINDOW,
    OfferRecord,
)
from index.request import Request

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Conditions:
    """The side of one request; what it takes is worked out when an offer first asks for it.

    Args:
        generation: the open snapshot.
        request: the question.

    Attributes:
        names: ids of items that the request excludes, or says were declined.
    """

    __slots__ = ("_at_us", "_facts", "_generation", "_request", "names")

    def __init__(self, generation: Generation, request: Request) -> None:
        self._generation = generation
        self._request = request
        self._at_us: int | None = None
        self._facts: Mapping[str, str] | None = None
        self.names = {*request.exclude, *request.declined}

    def may_show(self, offer: OfferRecord) -> bool:
        """Whether an offer is available now, here, for this request, and was not asked away.

        Raises:
            whatever damaged rules raise, see `generation.DAMAGE`.
        """
        flags = offer.flags
        if offer.offer_id in self.names or not flags & OFFER_AVAILABLE:
            return False
        if flags == OFFER_AVAILABLE:
            return True
        if flags & OFFER_HAS_WINDOW and not offer.starts_us <= self._moment() < offer.expires_us:
            return False
        if flags & OFFER_HAS_PLACEMENTS and not self._allows_placement(offer.placements):
            return False
        return not flags & OFFER_HAS_RULES or is_eligible(
            offer.rules, self._request, self._request_facts()
        )

    def _allows_placement(self, mask: int) -> bool:
        placements = self._generation.model.placements
        placement = self._request.placement
        return placement in placements and bool(mask >> placements.index(placement) & 1)

    def _moment(self) -> int:
        """The request's moment, UTC microseconds; the snapshot's own when it says nothing."""
        if self._at_us is None:
            at = self._request.at
            if at is None:
                self._at_us = int(self._generation.manifest.data["as_of_us"])
            else:
                at = at.replace(tzinfo=self._generation.zone) if at.tzinfo is None else at
                self._at_us = (at - _EPOCH) // _MICROSECOND
        return self._at_us

    def _request_facts(self) -> Mapping[str, str]:
        if self._facts is None:
            said = self._request.context.items()
            self._facts = {name: normal_value(value) for name, value in said if value is not None}
            self._facts |= {"placement": normal_value(self._request.placement)}
        return self._facts
