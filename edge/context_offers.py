"""`GET /v1/offers`: answers that know the moment but no person, so anybody may cache them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from hashlib import blake2b
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.types import Receive, Scope, Send

from edge.answered import Answered, lines_of, send_answered
from edge.offers import answer_lines, current_snapshot, timed_answer
from edge.overload import AT_MOST
from edge.problems import FieldError, Refusal, misfit
from edge.state import State
from index.generation import Generation
from index.request import Ceiling, Request

_ASKED: Final = ("placement", "k", "at")
_PERSONAL: Final = frozenset(Request.__struct_fields__) - {*_ASKED, "context"}
_MAX_PARAMETERS: Final = 64
_CACHE: Final = b"public, max-age=60, stale-while-revalidate=600"
_PUBLIC: Final = lines_of(
    ((b"cache-control", _CACHE), (b"cdn-cache-control", _CACHE + b", stale-if-error=86400"))
)
_KEPT_BY_NOBODY: Final = lines_of([(b"cache-control", b"no-store")])


class GetOffers:
    """Answers with a decision for a context alone. A plain ASGI app.

    The moment is taken to the minute, and the answer's id from the hour and the canonical query:
    within an hour the same question has the same bytes unless an offer begins or ends.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        generation = current_snapshot(self._state)
        request = public_request(scope["query_string"], generation)
        at_most: Ceiling | None = scope.get(AT_MOST)
        found, took_ns = timed_answer(self._state, generation, request, at_most)
        etag = b'"%b-%b"' % (
            found.snapshot_id.encode(),
            blake2b(found.body, digest_size=12).hexdigest().encode(),
        )
        # An answer below the usual is for who asked, not for everybody's caches.
        caching = _PUBLIC if at_most != "prior" else _KEPT_BY_NOBODY
        lines = caching + lines_of([(b"etag", etag)]) + answer_lines(found, took_ns, at_most)
        if _is_known(etag, dict(scope["headers"]).get(b"if-none-match", b"")):
            await send_answered(scope, send, Answered(304, lines, b""))
            return
        length = b"%d" % len(found.body)
        lines += lines_of([(b"content-type", b"application/json"), (b"content-length", length)])
        await send_answered(scope, send, Answered(200, lines, found.body))


def public_request(query: bytes, generation: Generation) -> Request:
    """The request in a query. Names the snapshot does not know as context are ignored.

    Raises:
        Refusal: 400 for what would make the answer personal, or is said twice; 422 for a value
            that does not fit.
    """
    given = _parameters(query)
    context = {
        feature.name: given[feature.name]
        for feature in generation.model.features
        if feature.name in given
    }
    asked = {name: given[name] for name in _ASKED if name in given}
    try:
        request = msgspec.convert({**asked, "context": context}, Request, strict=False)
    except msgspec.ValidationError as problem:
        raise misfit(problem) from problem
    minute = request.at or _minute(generation.zone)
    hour = minute.replace(minute=0) if request.at is None else minute
    canonical = urlencode(
        [("placement", request.placement), ("k", request.k), *sorted(context.items())]
    )
    digest = blake2b(f"{hour.isoformat()}?{canonical}".encode(), digest_size=12)
    return msgspec.structs.replace(request, at=minute, request_id=f"public-{digest.hexdigest()}")


def _parameters(query: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as problem:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"The query has more than {_MAX_PARAMETERS} parameters."
        ) from problem
    given = dict(pairs)
    if personal := sorted(_PERSONAL & given.keys()):
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            "GET answers are public and may be cached by anybody: use POST /v1/offers for a "
            "personal answer.",
            errors=[FieldError(path=f"$.{name}", message="use POST") for name in personal],
        )
    if len(given) != len(pairs):
        twice = sorted({name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at])})
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            "A parameter is given more than once.",
            errors=[FieldError(path=f"$.{name}", message="is given twice") for name in twice],
        )
    return given


def _minute(zone: tzinfo) -> datetime:
    # In the brand's zone: some zones are half an hour off, and hours are local to the brand.
    return datetime.now(zone).replace(second=0, microsecond=0)


def _is_known(etag: bytes, known: bytes) -> bool:
    return known.strip() == b"*" or etag in {
        one.strip().removeprefix(b"W/") for one in known.split(b",")
    }
