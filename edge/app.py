"""The public app: routes, what wraps them, and its life. Everything else has a file of its own."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.batch import PostBatch
from edge.cells import blank_rows
from edge.context_offers import GetOffers
from edge.counters import Counters
from edge.errors import SettingsRefused
from edge.health import Readyz, livez, send_json
from edge.middleware import Front, Hot, route, wrapped
from edge.offers import PostOffers
from edge.openapi import OPERATIONS, document
from edge.overload import Admission
from edge.problems import Check
from edge.settings import Settings, settings_from
from edge.state import State, opened
from edge.storefront import storefront_routes
from index.compiled import IS_COMPILED


def create_app(
    state: State, settings: Settings, *, draining: Callable[[], bool] = lambda: False
) -> Front:
    """The app of one process.

    Args:
        state: the snapshot, now or later, and the counters.
        settings: limits, origins, and whether to show the demonstration page.
        draining: whether the process was asked to end.
    """
    described = document()

    async def openapi(scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(scope, send, described)

    admission = Admission(state.counters, target_ms=settings.queue_target_ms)
    max_body_bytes = settings.max_body_bytes
    post_offers = PostOffers(state, max_body_bytes=max_body_bytes)
    post_batch = PostBatch(state, max_body_bytes=max_body_bytes, busy=admission.busy)
    endpoints: dict[tuple[str, str], ASGIApp] = {
        ("/v1/offers", "POST"): post_offers,
        ("/v1/offers", "GET"): GetOffers(state),
        ("/v1/offers:batch", "POST"): post_batch,
        ("/livez", "GET"): livez,
        ("/readyz", "GET"): Readyz(lambda: _checks(state, draining=draining())),
        ("/openapi.json", "GET"): openapi,
    }
    paths: dict[str, dict[str, ASGIApp]] = {}
    for operation in OPERATIONS:
        endpoint = endpoints[operation.path, operation.method]
        paths.setdefault(operation.path, {})[operation.method] = endpoint
    routes: list[BaseRoute] = [route(path, methods) for path, methods in paths.items()]
    if settings.storefront:
        pages = storefront_routes(state, settings.personas)
        routes += [route(path, {"GET": page}) for path, page in pages.items()]
    return wrapped(
        routes,
        origins=settings.allow_origins,
        counters=state.counters,
        admission=admission,
        hot=Hot("/v1/offers", post_offers),
    )


class Alone:
    """The app without a supervisor: its snapshot is opened and closed by the server's lifespan.

    Attributes:
        shortcut: see `Front`.
    """

    def __init__(self, state: State, settings: Settings) -> None:
        self._front = create_app(state, settings)
        self._life = Router(lifespan=partial(_life, state, settings))
        self.shortcut = self._front.shortcut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._life if scope["type"] == "lifespan" else self._front
        await app(scope, receive, send)


def from_environment() -> Alone:
    """The app for a server of one's own: `uvicorn --factory edge.app:from_environment`.

    Under uvicorn with `--http edge.direct:DirectProtocol` a request costs half as much.

    Raises:
        SettingsRefused: the `ALMANAC_EDGE_…` variables can't be used.
    """
    return Alone(State(Counters(blank_rows())), settings_from({}))


def _checks(state: State, *, draining: bool) -> list[Check]:
    snapshot = state.generation
    return [
        Check(
            name="snapshot",
            ok=snapshot is not None,
            detail=f"{snapshot.snapshot_id} is open" if snapshot else "no snapshot is open",
        ),
        Check(name="staying", ok=not draining, detail="draining" if draining else "not draining"),
        Check(name="sums", ok=True, detail="compiled" if IS_COMPILED else "by NumPy, slower"),
    ]


@asynccontextmanager
async def _life(state: State, settings: Settings, _: object) -> AsyncIterator[None]:
    if settings.snapshot is None:
        raise SettingsRefused(
            "ALMANAC_EDGE_STORE needs `almanac serve`: a server of one's own serves one snapshot",
            hint="give ALMANAC_EDGE_SNAPSHOT",
        )
    if settings.decision_log is not None:
        raise SettingsRefused(
            "ALMANAC_EDGE_DECISION_LOG needs `almanac serve`: a process of its own writes the log",
            hint="leave it out, or log the answers behind a server of one's own",
        )
    state.adopt(opened(settings, settings.snapshot))
    # What was loaded lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    yield
    state.close()
