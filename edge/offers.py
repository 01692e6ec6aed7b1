"""`POST /v1/offers`: the hot endpoint, from the bytes of a request to the bytes of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from time import perf_counter_ns
from typing import Final

import msgspec
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from edge.answered import Answered, lines_of, send_answered
from edge.bodies import HEADERS, check_type, read_body
from edge.overload import AT_MOST
from edge.problems import Refusal, misfit
from edge.request_ids import header_value, id_in, new_request_id
from edge.state import State
from index.answer import Answer, answer
from index.generation import Generation
from index.not_json import NOT_JSON
from index.request import Ceiling, Request

_read = msgspec.json.Decoder(Request)


class PostOffers:
    """Answers with a decision for whoever the body speaks of. A plain ASGI app.

    Args:
        state: snapshot and counters.
        max_body_bytes: bodies longer than this are refused.
    """

    def __init__(self, state: State, *, max_body_bytes: int) -> None:
        self._state = state
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope[HEADERS]
        check_type(headers)
        body = await read_body(headers, receive, self.max_body_bytes)
        await send_answered(scope, send, self._answered(headers, body, scope.get(AT_MOST)))

    def at_once(
        self, headers: Mapping[bytes, bytes], body: bytes, at_most: Ceiling | None
    ) -> Answered:
        """The answer to a body of no more than `max_body_bytes`.

        Raises:
            Refusal: it gets none.
        """
        check_type(headers)
        return self._answered(headers, body, at_most)

    def _answered(
        self, headers: Mapping[bytes, bytes], body: bytes, at_most: Ceiling | None
    ) -> Answered:
        request = completed(parsed(body), headers)
        generation = current_snapshot(self._state)
        found, took_ns = timed_answer(self._state, generation, request, at_most)
        if self._state.log is not None:
            self._state.log.record(request.placement, at_most, found.body)
        lines = _WHOLE % (len(found.body), answer_lines(found, took_ns, at_most))
        return Answered(200, lines, found.body)


PRIVATE: Final = lines_of(
    ((b"content-type", b"application/json"), (b"cache-control", b"private, no-store"))
)
_WHOLE: Final = PRIVATE + lines_of([(b"content-length", b"%d")]) + b"%b"
_ANSWER: Final = lines_of(
    (
        (b"x-snapshot-id", b"%b"),
        (b"x-request-id", b"%b"),
        (b"server-timing", b"decide;dur=%.3f"),
    )
)


def parsed(body: bytes) -> Request:
    """The request in a body.

    Raises:
        Refusal: 400 for what is not JSON, 422 for JSON that is no request.
    """
    try:
        return _read.decode(body)
    except msgspec.ValidationError as problem:
        raise misfit(problem) from problem
    except NOT_JSON as problem:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {problem}.") from problem


def completed(request: Request, headers: Mapping[bytes, bytes]) -> Request:
    """The request with what the edge puts in when the caller did not: the moment, and an id."""
    request_id, at = request.request_id, request.at
    if request_id and at is not None:
        return request
    if not request_id:
        request_id = id_in(headers)
    return replace(
        request,
        request_id=request_id or new_request_id(),
        at=datetime.now(UTC) if at is None else at,
    )


def current_snapshot(state: State) -> Generation:
    """The snapshot that answers now.

    Raises:
        Refusal: 503, none is open yet.
    """
    if state.generation is None:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "No snapshot is open yet.",
            headers={b"retry-after": b"1"},
        )
    return state.generation


def timed_answer(
    state: State, generation: Generation, request: Request, at_most: Ceiling | None
) -> tuple[Answer, int]:
    """An answer of at most this tier, counted, and the nanoseconds it took."""
    started = perf_counter_ns()
    found = answer(generation, request, at_most=at_most)
    took_ns = perf_counter_ns() - started
    state.counters.decided(request.placement, found.tier, took_ns)
    state.counters.shown(found.n_offers, found.first_score)
    return found, took_ns


def answer_lines(found: Answer, took_ns: int, at_most: Ceiling | None) -> bytes:
    """Headers that every decision carries, and what says that there was no time for a better."""
    request_id = header_value(found.request_id)
    lines = _ANSWER % (found.snapshot_id.encode(), request_id, took_ns / 1e6)
    return lines if at_most is None else lines + at_most_line(at_most)


def at_most_line(at_most: Ceiling) -> bytes:
    """The header that says so."""
    return lines_of(((b"x-at-most", at_most.encode()),))
