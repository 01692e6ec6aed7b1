"""Errors as documents (RFC 9457): every status the edge refuses with says what, where and why."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct
from starlette.types import Scope, Send

from edge.answered import Answered, lines_of, send_answered
from edge.request_ids import header_value, id_in, new_request_id
from index.request import REPEAT_REMEDY, CartLine, Request

PROBLEM_JSON: Final = b"application/problem+json"
_PLACE: Final = " - at `$"
_STRANGER: Final = "Object contains unknown field `"
_FIELDS: Final = {"$": Request.__struct_fields__, "$.cart": CartLine.__struct_fields__}
_LONGEST_NAME: Final = 64
"""Of a field, in characters; whoever sends a longer one is told its beginning, and no near name:
what is like a name costs time with its length, and no field of ours is half as long."""


class FieldError(Struct, frozen=True, kw_only=True):
    """One thing wrong with a request.

    Attributes:
        path: where, as a JSON path (`$.cart[0].item_id`); `$` for the whole.
        message: what was expected there, and what was found.
    """

    path: str
    message: str


class Check(Struct, frozen=True, kw_only=True):
    """One condition of readiness."""

    name: str
    ok: bool
    detail: str


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document.

    Attributes:
        type: a name that programs can tell problems apart by.
        title: the same for people; it does not change from request to request.
        status: the HTTP status.
        detail: what happened this time.
        instance: names this very request, as `X-Request-Id` does.
        errors: what is wrong with the request, place by place.
        checks: which conditions of readiness do not hold.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: Sequence[FieldError] = []
    checks: Sequence[Check] = []


class Refusal(Exception):
    """A request that gets a problem document instead of an answer.

    Args:
        status: the HTTP status.
        detail: what happened, and what to do about it.
        errors: places in the request.
        checks: conditions of readiness.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        checks: Sequence[Check] = (),
        headers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.errors = errors
        self.checks = checks
        self.headers = headers or {}


def misfit(
    problem: msgspec.ValidationError, fields: Mapping[str, Sequence[str]] = _FIELDS
) -> Refusal:
    """The refusal of a request that is JSON, but not a request of ours.

    Args:
        problem: what is wrong with it.
        fields: the right names by where they belong, a JSON path without places in lists.
    """
    said, found, path = str(problem).rpartition(_PLACE)
    said, path = (said, f"${path[:-1]}") if found else (path, "$")
    if said.startswith(_STRANGER) and said.endswith("`"):
        name = said[len(_STRANGER) : -1]
        near: Sequence[str] = ()
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]}…"
        else:
            names = fields.get(re.sub(r"\[\d+\]", "", path), ())
            near = difflib.get_close_matches(name, names, n=1)
        path = f"{path}.{name}"
        said = "is no field" + (f"; did you mean `{near[0]}`?" if near else "")
    elif path == "$.repeat":
        said = f"{said}; {REPEAT_REMEDY}"
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request does not have the form that /openapi.json describes.",
        errors=[FieldError(path=path, message=said)],
    )


def problem_of(refusal: Refusal, request_id: str) -> Problem:
    """A refusal as the document that says so."""
    return Problem(
        type=f"urn:almanac:problem:{refusal.status.name.lower().replace('_', '-')}",
        title=refusal.status.phrase,
        status=refusal.status,
        detail=refusal.detail,
        instance=f"urn:almanac:request:{header_value(request_id).decode()}",
        errors=[*refusal.errors],
        checks=[*refusal.checks],
    )


async def send_refusal(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer with a problem document."""
    refused = refused_with(refusal, dict(scope["headers"]))
    await send_answered(scope, send, refused)


def refused_with(refusal: Refusal, headers: Mapping[bytes, bytes]) -> Answered:
    """A refusal as an answer to a request with these headers."""
    request_id = id_in(headers) or new_request_id()
    body = msgspec.json.encode(problem_of(refusal, request_id))
    told = [
        (b"content-type", PROBLEM_JSON),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-request-id", header_value(request_id)),
        *refusal.headers.items(),
    ]
    return Answered(refusal.status, lines_of(told), body)
