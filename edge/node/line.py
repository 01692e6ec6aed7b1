"""The sync process's end of the pipe to its supervisor."""

from __future__ import annotations

from multiprocessing.connection import Connection
from threading import Lock

from edge.node.messages import ToSupervisor, ToSync


class LineClosed(Exception):
    """The supervisor has closed the pipe, or is gone: there is nobody left to work for."""


class Line:
    """What is heard and said.

    Args:
        connection: the pipe.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = Lock()

    def heard(self, timeout_s: float) -> ToSync | None:
        """The next message; None when none came in time.

        Raises:
            LineClosed: none will come any more.
        """
        try:
            if not self._connection.poll(timeout_s):
                return None
            message: ToSync = self._connection.recv()
        except (EOFError, OSError) as problem:
            raise LineClosed from problem
        return message

    def send(self, message: ToSupervisor) -> None:
        """Say something; any thread may.

        Raises:
            LineClosed: nobody hears it.
        """
        try:
            with self._sending:
                self._connection.send(message)
        except OSError as problem:
            raise LineClosed from problem
