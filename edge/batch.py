"""`POST /v1/offers:batch`: up to a hundred requests in one body, for list pages and mails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter_ns
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from edge.answered import Answered, lines_of, send_answered
from edge.bodies import check_type, read_body
from edge.offers import (
    PRIVATE,
    at_most_line,
    completed,
    current_snapshot,
    parsed,
    timed_answer,
)
from edge.overload import AT_MOST
from edge.problems import Refusal, misfit, problem_of
from edge.request_ids import MAX_HEADER_ID, header_value, id_in, new_request_id
from edge.state import State
from index.not_json import NOT_JSON
from index.request import Ceiling

MAX_REQUESTS: Final = 100
BODY_FACTOR: Final = 16
"""How many times a single request's limit a batch may be long."""
_AT_ONCE_NS: Final = 2_000_000
"""Between two looks at what else waits, which come after the decision that went past it: what one
costs depends on its cart and on what it is to explain, so a number of them would say nothing."""


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Several requests, each as it would be sent alone."""

    requests: Annotated[list[Raw], Meta(min_length=1, max_length=MAX_REQUESTS)]


_read = msgspec.json.Decoder(Batch)


class PostBatch:
    """Answers each request of a batch, in order, from one snapshot. A plain ASGI app.

    A request that is none gets a problem document in its place, and the others their decisions.

    Args:
        state: snapshot and counters.
        max_body_bytes: a single request's limit.
        busy: is called when it goes on in another turn of the loop; see `edge.overload`.
        clock: nanoseconds that only rise.
    """

    def __init__(
        self,
        state: State,
        *,
        max_body_bytes: int,
        busy: Callable[[], None],
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._state = state
        self._max_body_bytes = max_body_bytes * BODY_FACTOR
        self._busy = busy
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        check_type(headers)
        body = await read_body(headers, receive, self._max_body_bytes)
        self._busy()
        looked_ns = self._clock()
        batch = _batch(body)
        own_id = id_in(headers) or new_request_id()
        generation = current_snapshot(self._state)
        at_most: Ceiling | None = scope.get(AT_MOST)
        answers, n_bad = [], 0
        with self._state.pinned(generation):
            for place, raw in enumerate(batch.requests):
                if self._clock() - looked_ns > _AT_ONCE_NS:
                    await asyncio.sleep(0)
                    self._busy()
                    looked_ns = self._clock()
                try:
                    request = parsed(bytes(raw))
                    if not request.request_id:
                        request = replace(request, request_id=_numbered(own_id, place))
                    request = completed(request, headers)
                except Refusal as refusal:
                    n_bad += 1
                    answers.append(
                        msgspec.json.encode(problem_of(refusal, _numbered(own_id, place)))
                    )
                    continue
                found, _ = timed_answer(self._state, generation, request, at_most)
                answers.append(found.body)
                if self._state.log is not None:
                    self._state.log.record(request.placement, at_most, found.body)
        body = b'{"decisions":[%b],"answered":%d,"refused":%d}' % (
            b",".join(answers),
            len(answers) - n_bad,
            n_bad,
        )
        lines = PRIVATE + lines_of(
            (
                (b"content-length", b"%d" % len(body)),
                (b"x-snapshot-id", generation.snapshot_id.encode()),
                (b"x-request-id", header_value(own_id)),
            )
        )
        if at_most is not None:
            lines += at_most_line(at_most)
        await send_answered(scope, send, Answered(200, lines, body))


def _batch(body: bytes) -> Batch:
    try:
        return _read.decode(body)
    except msgspec.ValidationError as problem:
        raise misfit(problem, {"$": Batch.__struct_fields__}) from problem
    except NOT_JSON as problem:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {problem}.") from problem


def _numbered(own_id: str, place: int) -> str:
    """The id of a request that came without: the batch's, and its place, from 0."""
    return f"{own_id[: MAX_HEADER_ID - 4]}.{place}"
