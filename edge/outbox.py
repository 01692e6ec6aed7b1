"""Answers of one turn of the loop, written one after the other at its end.

Who waits for an answer sleeps, and to wake somebody costs the kernel more than to send: about 15 µs
on a virtual machine. When answers go out one by one, between decisions, most of them find their
reader asleep again; when they go out together, the first one wakes a reader that is still busy
when the others come. A caller who is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from typing import Final

_MOST: Final = 8
"""Answers that wait for each other; nobody's is held back longer than these take to be decided."""


class Outbox:
    """Holds answers back until the loop has been through what it found to read."""

    __slots__ = ("_held", "_loop")

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.Transport, bytes]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        wire: bytes,
        n_callers: int,
    ) -> None:
        """Write to a transport, soon.

        Args:
            loop: the running one.
            transport: whom to; left alone when it closes before.
            wire: the bytes.
            n_callers: open connections; where each has its answer, there is none to wait for.
        """
        self._held.append((transport, wire))
        if len(self._held) >= min(_MOST, n_callers):
            self.empty()
        elif self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._end_turn)

    def empty(self) -> None:
        """Write all that is held."""
        held, self._held = self._held, []
        for transport, wire in held:
            if not transport.is_closing():
                transport.write(wire)

    def _end_turn(self) -> None:
        self._loop = None
        self.empty()
