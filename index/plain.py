"""Plain requests: nearly all there are, which compiled code decides in one go.

It goes the way of `gather`, `score` and `choose` where nothing special is asked or set: no
explanation, nothing excluded or declined, no lowered odds for what was bought; no worth, reserve or
exploration in the model. A request is handed back where it meets what is rare: an item that only
vectors speak for, a cart whose items are in hundreds of offers, or too few offers that may be
shown. What it decides is what the others would, to the last bit; tests hold both against each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np

from index.arrays import Rows
from index.compiled import IS_COMPILED
from index.conditions import Conditions
from index.encode import quoted
from index.gather import repeat_policy
from index.generation import Generation, Reader
from index.layout import THIN_BELOW_ORDERS
from index.model import TIERS
from index.records import OfferRecord
from index.request import MAX_K, Ceiling, ChosenOffer, RepeatPolicy, Request, Tier

if IS_COMPILED:
    from index._kernel import Plain, Weights

_MAX_CONTEXT: Final = 64
"""What a request from outside may name; compiled code has room for twice as many."""
_LESS: Final[Mapping[Ceiling | None, int]] = {None: 0, "context": 1, "prior": 2}
"""`ALL`, `MOMENT` and `NOTHING` of compiled code."""
_POLICIES: Final = frozenset({"allow", "exclude"})
_Asked: TypeAlias = tuple[Request, bytes | None, int, RepeatPolicy, int]


class PlainDecider:
    """Decides plain requests; for one caller at a time.

    Args:
        generation: the open snapshot: an ordinary one, see `Generation.is_plain`.
        reader: the caller's way into it.
    """

    __slots__ = ("_compiled", "_generation")

    def __init__(self, generation: Generation, reader: Reader) -> None:
        model, lookup = generation.model, generation.lookup
        self._generation = generation
        made = {}
        for name, tier in model.tiers.items():
            # A row without a name has no weight either: not a number, which is told in the sums.
            contexts = np.full(model.n_contexts, np.nan)
            for row, weight in lookup.weights[name].items():
                contexts[row] = weight
            made[name] = Weights(dict(tier.weights), contexts, tier.slope, tier.intercept)
        weights = tuple(
            {tier: made[model.tier_name(tier, has_cart=has_cart)] for tier in TIERS}
            for has_cart in (False, True)
        )

        def conditions(request: Request) -> Callable[[OfferRecord], bool]:
            return Conditions(generation, request).may_show

        self._compiled = Plain(
            reader, lookup, model, weights, THIN_BELOW_ORDERS, ChosenOffer, quoted, conditions
        )

    def look_up(self, context_rows: Rows, offer_rows: Rows) -> None:
        """Remember where these records lie, before somebody asks for them.

        Args:
            context_rows: uint32; rows that there aren't are passed over.
            offer_rows: uint32, each of an offer of the snapshot.

        Raises:
            whatever reading damaged tables raises, see `generation.DAMAGE`.
        """
        self._compiled.look_up(context_rows, offer_rows)

    def decide(
        self, request: Request, key: bytes | None, at_most: Ceiling | None = None
    ) -> tuple[Tier, list[ChosenOffer]] | None:
        """Tier and offers; None when the request is not plain.

        Args:
            request: the question.
            key: table key of the customer, None for nobody.
            at_most: the highest tier wanted, see `index.less`.

        Raises:
            whatever reading damaged tables raises, see `generation.DAMAGE`.
        """
        asked = self._asked(request, key, at_most)
        return None if asked is None else self._compiled.decide(*asked)

    def write(
        self, request: Request, key: bytes | None, at_most: Ceiling | None = None
    ) -> tuple[Tier, bytes, int, float] | None:
        """The same as JSON.

        Returns:
            Tier, offers as JSON objects joined by commas, how many they are, and the score of the
            first, 0 where there is none; None as above.
        """
        asked = self._asked(request, key, at_most)
        return None if asked is None else self._compiled.write(*asked)

    def _asked(self, request: Request, key: bytes | None, at_most: Ceiling | None) -> _Asked | None:
        """What compiled code is asked; None when the request is not plain."""
        if request.explain or request.exclude or request.declined:
            return None
        if len(request.context) > _MAX_CONTEXT:
            return None
        repeat = repeat_policy(request, self._generation.model)
        if repeat not in _POLICIES:
            if at_most is None:
                return None
            repeat = "allow"  # what is lowered elsewhere is not looked at, see `index.less`
        wanted = min(max(request.k, 1), MAX_K)
        return request, key, wanted, repeat, _LESS[at_most]


def plain_decider(generation: Generation, reader: Reader) -> PlainDecider | None:
    """The reader's own, made once; None where there is none."""
    if reader.plain is None and reader.adder.scratch is not None and generation.is_plain:
        reader.plain = PlainDecider(generation, reader)
    found: PlainDecider | None = reader.plain
    return found
