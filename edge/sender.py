"""What is told through a pipe, without waiting for whoever reads it, or doesn't."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

Message = TypeVar("Message")


class Sender(Generic[Message]):
    """Sends from a thread of its own, one message after the other.

    A pipe holds some 200 kB, and whoever writes more waits until it is read: a loop that did would
    stand still with all that hangs on it, because of one process that does not read.

    Args:
        line: the pipe; read by whom it belongs to, and closed by `close` alone.
    """

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._waiting: SimpleQueue[Message | None] = SimpleQueue()
        # No reason to stay for: what a process that ends has not sent concerns nobody any more.
        Thread(target=self._send, name="sender", daemon=True).start()

    def put(self, message: Message) -> None:
        """Send a message, soon; one that is dying does not hear it."""
        self._waiting.put(message)

    def close(self) -> None:
        """Close the pipe, soon, as there is nobody at its other end; what waits is dropped."""
        self._waiting.put(None)

    def _send(self) -> None:
        while (message := self._waiting.get()) is not None:
            with suppress(OSError):
                self._line.send(message)
        # Here, and not by who says so: another thread's next file would get what this one writes.
        self._line.close()
