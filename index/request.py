"""What is asked and what is answered: the typed request and the decision.

The same types are read from HTTP bodies, from batch files and from a snapshot's golden decisions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

Tier: TypeAlias = Literal["individual", "thin", "context", "prior", "safe"]
Ceiling: TypeAlias = Literal["context", "prior"]
"""The highest tier an answer may have when there is no time for a better one."""
RepeatPolicy: TypeAlias = Literal["allow", "exclude"] | Annotated[float, Meta(gt=0, lt=1)]
ContextValue: TypeAlias = str | int | float | bool | None

Identifier: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
ItemIds: TypeAlias = Annotated[list[Identifier], Meta(max_length=500)]

MAX_K = 100

REPEAT_REMEDY: Final = 'say "allow", "exclude" or a number between 0 and 1'
"""What to do about a repeat policy that is none; its type alone does not say it."""


class CartLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the cart, most recently added last.

    Attributes:
        item_id: the shop's item id.
        quantity: how many; not used for scoring, kept for rules on the cart.
        unit_price: price of one, in the brand's currency; the catalogue's price when absent.
        category: path such as `Grocery > Bread`, used when the snapshot does not know the item.
    """

    item_id: Identifier
    quantity: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    unit_price: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    category: Annotated[str, Meta(max_length=1024)] | None = None


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question: which offers, for whom, in what moment.

    Attributes:
        placement: where the offers appear (`checkout`, `post_purchase`, …).
        customer_id: the shop's customer id; absent for a visitor nobody knows.
        k: how many offers are wanted, 1 to 100.
        at: the moment; a time without offset is read in the brand's time zone. The edge puts
            in the present; a batch without it gets an answer that does not depend on time.
        context: what else is known of the moment (`device`, `country`, any learned feature).
        cart: what is in the cart or was just bought.
        viewed: items looked at in this session, most recent last.
        exclude: item or offer ids that must not be shown.
        declined: item or offer ids the customer said no to.
        repeat: whether what the customer already bought may be shown: `allow`, `exclude`, or a
            number that its odds are multiplied with; the brand's choice for this placement when
            absent.
        explain: whether to return each signal's contribution.
        request_id: the caller's id for this request; the same id gives the same decision id.
    """

    placement: Annotated[str, Meta(min_length=1, max_length=64)] = "default"
    customer_id: Annotated[str, Meta(max_length=512)] | None = None
    k: Annotated[int, Meta(ge=1, le=MAX_K)] = 10
    at: datetime | None = None
    context: Annotated[dict[str, ContextValue], Meta(max_length=64)] = {}
    cart: Annotated[list[CartLine], Meta(max_length=500)] = []
    viewed: ItemIds = []
    exclude: ItemIds = []
    declined: ItemIds = []
    repeat: RepeatPolicy | None = None
    explain: bool = False
    request_id: Annotated[str, Meta(max_length=128)] | None = None


class Reason(Struct, frozen=True, gc=False):
    """What one signal added to one offer's score.

    Attributes:
        signal: `prior`, `personal`, `cart`, `viewed`, `similar` or `context:NAME`; `repeat` for
            what the repeat policy takes off.
        source: which row said so (`hour_of_week=18`, `item 9527`), or the signal's own name.
        weight: learned weight of the signal in this tier, times the cart's damping if one applies;
            of `repeat`, what the policy's number comes to on the scale of scores.
        value: log-lift (log-share for the prior) found in the table; 1 for `repeat`.
        contribution: weight × value; all contributions sum to the offer's score.
        evidence: orders behind the value (those that held the offer, under this row).
        sample: orders behind the row as a whole.
    """

    signal: str
    source: str
    weight: float
    value: float
    contribution: float
    evidence: int
    sample: int


class ChosenOffer(Struct, frozen=True, gc=False):
    """One offer of a decision.

    Attributes:
        offer_id: the shop's id.
        offer_row: row number inside the snapshot.
        rank: 1 for the first.
        score: sum of the contributions (natural logs).
        probability: calibrated probability that the offer is taken.
        propensity: probability that this offer stood at this rank, given the exploration.
        fragment: ready JSON members (`"title":"…","creative":{…}`), without braces; may be empty.
        reasons: filled when the request asked to explain.
    """

    offer_id: str
    offer_row: int
    rank: int
    score: float
    probability: float
    propensity: float
    fragment: bytes
    reasons: list[Reason] | None = None


class OverlayNote(Struct, frozen=True, gc=False):
    """What an overlay did to one answer; part of the explanation.

    Attributes:
        sequence: which overlay was in force.
        removed: offers that would have come before the last one shown, were it not for it.
        repriced: offers of this answer whose price is the overlay's.
    """

    sequence: int
    removed: list[str]
    repriced: list[str]


class Decision(Struct, frozen=True):
    """One answer: ranked offers and how much was known.

    Attributes:
        decision_id: 32 hex digits; a function of the snapshot and the request id.
        request_id: as given, or empty.
        snapshot_id: which snapshot answered.
        tier: how much was known.
        offers: at most `k`, best first; empty only when the brand's reserve or the exclusions
            leave nothing to show.
        overlay: filled when the request asked to explain and an overlay is in force.
    """

    decision_id: str
    request_id: str
    snapshot_id: str
    tier: Tier
    offers: list[ChosenOffer]
    overlay: OverlayNote | None = None
