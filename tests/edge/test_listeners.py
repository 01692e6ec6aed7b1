"""Accepting: those who call while a worker is busy don't wait for one turn each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import uvloop

from edge.listeners import bound, listener_at, several_times

CALLERS = 40


def on_tcp(_: Path) -> socket.socket:
    with bound("127.0.0.1", 0, flag="--port") as held:
        return listener_at(held)


def on_unix(folder: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "almanac.sock"))
    return listener


def accepted(sockets: list[socket.socket], address: str | tuple[str, int], turns: int) -> int:
    """How many of forty callers a loop has accepted after so many turns."""
    made: list[asyncio.BaseTransport] = []

    class Called(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    async def run() -> int:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Called, sock=one, backlog=64) for one in sockets]
        with ExitStack() as callers:
            for _ in range(CALLERS):
                caller = callers.enter_context(closing(socket.socket(sockets[0].family)))
                caller.connect(address)
            for _ in range(turns):
                await asyncio.sleep(0)
            n = len(made)
        for server in servers:
            server.close()
        for transport in made:
            transport.close()
        return n

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("kind", [on_tcp, on_unix])
def test_many_are_accepted_in_one_turn(
    kind: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """A loop takes one caller for each descriptor and turn; with sixteen, it takes sixteen."""
    (tmp_path / "one").mkdir()
    (tmp_path / "more").mkdir()
    alone, several = kind(tmp_path / "one"), several_times([kind(tmp_path / "more")])
    turns = 4

    assert accepted([alone], alone.getsockname(), turns) <= turns
    assert accepted(several, several[0].getsockname(), turns) == CALLERS
