"""What the edge answers, as data: the router is made from it, and so is `/openapi.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from edge.batch import MAX_REQUESTS
from edge.health import Health
from edge.problems import Problem
from edge.version import software_version
from index.request import MAX_K, OverlayNote, Reason, Request, Tier


class OfferAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One offer of an answer. The brand's own members (`creative`) come with it.

    Attributes:
        offer_id: the shop's id.
        rank: 1 for the first.
        score: sum of the contributions (natural logs).
        probability: calibrated probability that the offer is taken.
        propensity: probability that this offer stood at this rank; log it to learn from outcomes.
        title: what to show.
        category: path, such as `Grocery > Bread`.
        brand: who makes it.
        price: price of one, in the brand's currency.
        url: where it leads.
        image_url: its picture.
        value: what taking it is worth to the brand.
        creative: whatever the offers file said.
        reasons: what each signal added, when the request asked to explain.
    """

    offer_id: str
    rank: int
    score: float
    probability: float
    propensity: float
    title: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    url: str | None = None
    image_url: str | None = None
    value: float | None = None
    creative: Any = None
    reasons: list[Reason] | None = None


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision.

    Attributes:
        decision_id: 32 hex digits; log it with what the customer did.
        request_id: as given, or made.
        snapshot_id: which snapshot answered.
        tier: how much was known.
        offers: at most `k`, best first.
        overlay: what an overlay did to this answer, when the request asked to explain.
    """

    decision_id: str
    request_id: str
    snapshot_id: str
    tier: Tier
    offers: list[OfferAnswer]
    overlay: OverlayNote | None = None


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several requests, each as it would be sent alone.

    Attributes:
        requests: a hundred at most; one that does not fit is refused alone.
    """

    requests: Annotated[list[Request], Meta(min_length=1, max_length=MAX_REQUESTS)]


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """The answers to a batch.

    Attributes:
        decisions: one for each request, in order: a decision, or a problem document.
        answered: how many are decisions.
        refused: how many are problem documents.
    """

    decisions: list[Answer]
    answered: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        answers: the body's type of each good status; None for no body.
        refusals: statuses that come with a problem document.
    """

    path: str
    method: str
    name: str
    summary: str
    body: type | None = None
    parameters: tuple[dict[str, Any], ...] = ()
    answers: Mapping[int, tuple[str, type | None]] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()


def _query(name: str, schema: Mapping[str, Any], text: str, **more: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text, **more}


OPERATIONS: Final = (
    Operation(
        path="/v1/offers",
        method="POST",
        name="decide",
        summary="Offers for a customer, a cart and a moment; private to the caller.",
        body=Request,
        answers={200: ("The decision.", Answer)},
        refusals=(400, 413, 415, 422, 500, 503),
    ),
    Operation(
        path="/v1/offers",
        method="GET",
        name="decideInContext",
        summary="Offers for a moment alone; public, the same for everybody, cacheable.",
        parameters=(
            _query("placement", {"type": "string", "default": "default"}, "Where they appear."),
            _query(
                "k",
                {"type": "integer", "minimum": 1, "maximum": MAX_K, "default": 10},
                "How many are wanted.",
            ),
            _query("at", {"type": "string", "format": "date-time"}, "The moment; now by default."),
            _query(
                "context",
                {"type": "object", "additionalProperties": {"type": "string"}},
                "Any learned context feature by its own name, such as `device=mobile`.",
                style="form",
                explode=True,
            ),
        ),
        answers={200: ("The decision.", Answer), 304: ("Still as in `If-None-Match`.", None)},
        refusals=(400, 422, 500, 503),
    ),
    Operation(
        path="/v1/offers:batch",
        method="POST",
        name="decideBatch",
        summary="Offers for up to a hundred requests, all from one snapshot; private.",
        body=Batch,
        answers={200: ("A decision or a problem for each.", BatchAnswer)},
        refusals=(400, 413, 415, 422, 500, 503),
    ),
    Operation(
        path="/livez",
        method="GET",
        name="isAlive",
        summary="Whether the process is alive.",
        answers={200: ("It is.", Health)},
    ),
    Operation(
        path="/readyz",
        method="GET",
        name="isReady",
        summary="Whether to send requests here.",
        parameters=(
            _query(
                "verbose", {"type": "boolean"}, "List what was looked at.", allowEmptyValue=True
            ),
        ),
        answers={200: ("It is ready.", Health)},
        refusals=(503,),
    ),
    Operation(
        path="/openapi.json",
        method="GET",
        name="describe",
        summary="This document.",
        answers={200: ("An OpenAPI 3.1 document.", dict)},
    ),
)


def document() -> dict[str, Any]:
    """The OpenAPI document, made from the types that requests are really read with."""
    _, components = msgspec.json.schema_components(
        [Request, Answer, Batch, BatchAnswer, Health, Problem],
        ref_template="#/components/schemas/{name}",
    )
    # One type or the other is nothing that msgspec could read, only something to describe.
    decisions = components["BatchAnswer"]["properties"]["decisions"]
    decisions["items"] = {"anyOf": [_schema(Answer), _schema(Problem)]}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Almanac edge",
            "version": software_version(),
            "description": "Offers looked up in tables that were learned overnight.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _described(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (text, kind) in operation.answers.items():
        responses[str(status)] = {"description": text}
        if kind is not None:
            responses[str(status)]["content"] = {"application/json": {"schema": _schema(kind)}}
    for status in operation.refusals:
        responses[str(status)] = {
            "description": "Refused; the document says why.",
            "content": {"application/problem+json": {"schema": _schema(Problem)}},
        }
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": responses,
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body is not None:
        content = {"schema": _schema(operation.body)}
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": content, "text/plain": content},
        }
    return described


def _schema(kind: type) -> dict[str, Any]:
    if kind is dict:
        return {"type": "object"}
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
