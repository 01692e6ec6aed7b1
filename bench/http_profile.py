"""Where the edge's time goes: a request's parts in process, without a server or sockets."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.types import ASGIApp, Message, Scope

from bench.http_requests import request_bodies
from bench.peers import noop
from bench.synthetic import SECRET, Shape, write_synthetic
from edge.app import create_app
from edge.cells import blank_rows
from edge.counters import Counters
from edge.middleware import Front
from edge.offers import completed, parsed
from edge.settings import settings_from
from edge.state import State
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.snapshot import open_snapshot

PARTS: Final = ("parse", "complete", "decide", "encode")
PAST: Final = "edge past ASGI"
WHOLE: Final = "whole edge"
NO_OP: Final = "whole no-op"
_BODIES: Final = 10_000
_SHIFT: Final = 3000
"""Bodies between two contenders, so that none finds in the caches what another just used."""
_WARM_UP: Final = 500
_TURN: Final = 250


def profile_edge(shape: Shape, n_calls: int) -> dict[str, NDArray[np.int64]]:
    """Nanoseconds of each part, of our whole app and of the no-op app, for the same requests.

    What the whole takes beyond its parts is the framework: router, middleware, headers, messages.
    """
    bodies = request_bodies(shape, _BODIES)
    with tempfile.TemporaryDirectory(prefix="almanac-bench-") as name:
        snapshot = Path(name) / "snapshot"
        write_synthetic(snapshot, shape)
        with open_snapshot(snapshot, SECRET) as generation:
            return asyncio.run(_profiled(generation, bodies, n_calls))


async def _profiled(
    generation: Generation, bodies: Sequence[bytes], n_calls: int
) -> dict[str, NDArray[np.int64]]:
    edge, noops = _app(generation), noop.answering(_answer(generation, bodies[0]))
    ways = {
        PAST: partial(_past_asgi, edge),
        WHOLE: partial(_call, edge),
        NO_OP: partial(_call, noops),
    }
    times = {name: np.zeros(n_calls, dtype=np.int64) for name in (*PARTS, *ways)}
    for body in bodies[:_WARM_UP]:
        _in_parts(generation, body, times, 0)
        for way in ways.values():
            way(body)
            await asyncio.sleep(0)
    gc.collect()
    gc.freeze()
    for start in range(0, n_calls, _TURN):
        turn = range(start, min(start + _TURN, n_calls))
        for i in turn:
            _in_parts(generation, bodies[i % len(bodies)], times, i)
        for place, (name, way) in enumerate(ways.items(), start=1):
            for i in turn:
                body = bodies[(i + place * _SHIFT) % len(bodies)]
                began = perf_counter_ns()
                way(body)
                times[name][i] = perf_counter_ns() - began
                await asyncio.sleep(0)  # a turn of the loop for each, as for a lone caller
    gc.unfreeze()
    return times


def _in_parts(
    generation: Generation, body: bytes, times: dict[str, NDArray[np.int64]], place: int
) -> None:
    began = perf_counter_ns()
    request = parsed(body)
    was_parsed = perf_counter_ns()
    request = completed(request, {})
    was_completed = perf_counter_ns()
    decision = decide(generation, request)
    was_decided = perf_counter_ns()
    decision_json(decision)
    was_encoded = perf_counter_ns()
    moments = (began, was_parsed, was_completed, was_decided, was_encoded)
    for part, earlier, later in zip(PARTS, moments, moments[1:], strict=False):
        times[part][place] = later - earlier


def _answer(generation: Generation, body: bytes) -> bytes:
    return decision_json(decide(generation, parsed(body)))


def _app(generation: Generation) -> Front:
    state = State(Counters(blank_rows()))
    state.adopt(generation)
    # What is measured is whole answers, however slow the machine is.
    flags = {"snapshot": generation.directory, "queue_target_ms": 10_000}
    return create_app(state, settings_from(flags, {}))


def _past_asgi(app: Front, body: bytes) -> None:
    """One request as the server gives it to the app's shortcut, and its answer's bytes."""
    assert app.shortcut is not None
    status, lines, answer = app.shortcut.answer(dict(_scope(body)["headers"]), body)
    b"".join((b"%d" % status, lines, answer))


def _call(app: ASGIApp, body: bytes) -> None:
    """One request, run to its end without leaving it to the loop: nothing in it ever waits."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        pass

    answering: Callable[..., Coroutine[Any, Any, None]] = app  # type: ignore[assignment]
    try:
        answering(_scope(body), receive, send).send(None)
    except StopIteration:
        return
    raise AssertionError("the app waited for something")


def _scope(body: bytes) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/offers",
        "raw_path": b"/v1/offers",
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"accept", b"*/*"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
