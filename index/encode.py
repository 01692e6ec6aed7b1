"""A decision as JSON: what HTTP answers and what a line of a batch file holds."""

from __future__ import annotations

import msgspec
import orjson

from index.compiled import IS_COMPILED
from index.request import ChosenOffer, Decision, Tier

if IS_COMPILED:
    from index._kernel import offers_json


def decision_json(decision: Decision) -> bytes:
    """UTF-8 JSON object of a decision.

    Offers' ready-made fragments are joined in as they are; numbers carry six significant digits.
    """
    more = b""
    if decision.overlay is not None:
        more = b',"overlay":' + msgspec.json.encode(decision.overlay)
    return joined(
        decision.decision_id,
        decision.request_id,
        decision.snapshot_id,
        decision.tier,
        _offers_json(decision.offers),
        more,
    )


def joined(  # noqa: PLR0917 - members in the order in which they stand in the answer
    decision_id: str,
    request_id: str,
    snapshot_id: str,
    tier: Tier,
    offers: bytes,
    more: bytes = b"",
) -> bytes:
    """The JSON object of a decision whose offers are JSON already.

    Args:
        decision_id: see `Decision`, as the next three.
        request_id: any text.
        snapshot_id: plain text.
        tier: plain text.
        offers: JSON objects, joined by commas.
        more: further members, each after a comma.
    """
    return b"".join(
        (
            b'{"decision_id":"',
            decision_id.encode(),
            b'","request_id":',
            quoted(request_id),
            b',"snapshot_id":"',
            snapshot_id.encode(),
            b'","tier":"',
            tier.encode(),
            b'","offers":[',
            offers,
            b"]",
            more,
            b"}",
        )
    )


def _offers_json(offers: list[ChosenOffer]) -> bytes:
    if IS_COMPILED and offers and offers[0].reasons is None:
        return offers_json(offers, quoted)
    return b",".join([_offer_json(offer) for offer in offers])


def offer_fragment(members: dict[str, object]) -> bytes:
    """JSON members (`"title":"…","creative":{…}`) without braces, for an offer record.

    Members that are None are left out.
    """
    return orjson.dumps({name: value for name, value in members.items() if value is not None})[1:-1]


def quoted(text: str) -> bytes:
    """A JSON string; lone surrogates, which JSON cannot carry, become question marks."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(text.encode("utf-8", "replace").decode())


def _offer_json(offer: ChosenOffer) -> bytes:
    return b'{"offer_id":%b,"rank":%d,"score":%.6g,"probability":%.6g,"propensity":%.6g%b%b%b}' % (
        # Ids were read from a table as UTF-8: unlike a caller's text they can always be written.
        orjson.dumps(offer.offer_id),
        offer.rank,
        offer.score,
        offer.probability,
        offer.propensity,
        b"," if offer.fragment else b"",
        offer.fragment,
        b"" if offer.reasons is None else b',"reasons":' + _reasons_json(offer),
    )


def _reasons_json(offer: ChosenOffer) -> bytes:
    return orjson.dumps(
        [
            {
                "signal": reason.signal,
                "source": reason.source,
                "weight": round(reason.weight, 6),
                "value": round(reason.value, 6),
                "contribution": round(reason.contribution, 6),
                "evidence": reason.evidence,
                "sample": reason.sample,
            }
            for reason in offer.reasons or ()
        ]
    )
