"""What a team builds by itself: lists of offers computed overnight, kept in Redis as ready JSON.

A known customer gets the list under their id, everybody else the popular one. The cart and the
moment change nothing: a list for each of their combinations can't be kept.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SOCKET: Final = "ALMANAC_BENCH_REDIS"
"""Environment variable: the Unix socket of redis-server."""
POPULAR: Final = "offers:popular"


def list_key(customer_id: str) -> str:
    """Where a customer's list is."""
    return f"offers:customer:{customer_id}"


def app() -> Starlette:
    """The app, for a server's `--factory`."""
    redis = Redis(unix_socket_path=os.environ[SOCKET])

    async def offers(request: Request) -> Response:
        customer_id = orjson.loads(await request.body()).get("customer_id")
        ready = await redis.get(list_key(customer_id)) if customer_id else None
        if ready is None:
            ready = await redis.get(POPULAR)
        return Response(ready, media_type="application/json")

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        await redis.aclose()

    return Starlette(routes=[Route("/v1/offers", offers, methods=["POST"])], lifespan=life)
