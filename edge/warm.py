"""A fresh worker's first requests, which it makes itself: nobody's is slow for being the first.

They come over a connection like anybody's, through the server, its parser and the app, but to
counters that nobody reads.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import msgspec
import structlog
import uvicorn

from edge.app import create_app
from edge.cells import blank_rows
from edge.counters import Counters
from edge.settings import Settings
from edge.state import State
from index.generation import Generation
from index.request import CartLine, Request

_TIMES: Final = 64
_PATIENCE_S: Final = 5.0
_log = structlog.get_logger()


async def warm_up_server(
    config: uvicorn.Config,
    server_state: uvicorn.server.ServerState,
    settings: Settings,
    generation: Generation,
) -> int:
    """Answer some requests over a connection of our own.

    Args:
        config: the server's, loaded.
        server_state: the server's.
        settings: the edge's.
        generation: the snapshot that will answer; its overlay stays as it is.

    Returns:
        How many were answered.
    """
    state = State(Counters(blank_rows()))
    state.generation = generation
    app = create_app(state, settings)
    ours, theirs = socket.socketpair()

    def protocol() -> asyncio.Protocol:
        made: Any = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=server_state, app_state={}
        )
        made.app = app
        return made  # type: ignore[no-any-return]

    await asyncio.get_running_loop().connect_accepted_socket(protocol, theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    # By turns, so that heads are read, and known again: see `edge.known_head`.
    wires = [_request(generation, host) for host in (b"warm-up", b"another")]
    n_answered = 0
    try:
        async with asyncio.timeout(_PATIENCE_S):
            for place in range(_TIMES):
                writer.write(wires[place % 2])
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                n_answered += 1
    except (TimeoutError, EOFError, ConnectionError, ValueError) as problem:
        # The worker will do without: only its first answers are slower.
        _log.warning("warming up broke off", answered=n_answered, reason=repr(problem))
    finally:
        writer.close()
        await asyncio.sleep(0)
    return n_answered


def _request(generation: Generation, host: bytes) -> bytes:
    cart = [CartLine(item_id=offer.offer_id) for offer in generation.safe_offers[:3]]
    body = msgspec.json.encode(Request(cart=cart, customer_id="nobody"))
    head = b"POST /v1/offers HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n" % host
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
