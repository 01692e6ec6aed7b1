"""The sync process as the supervisor holds it: started, heard, told, and replaced when it dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

import structlog

from edge.node.messages import ToSupervisor, ToSync
from edge.sender import Sender
from edge.settings import Settings

_LONG_LIFE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0

_log = structlog.get_logger()


class SyncLink:
    """Keeps a sync process alive; whatever becomes of it, workers go on.

    Args:
        settings: the node's.
        cells: the workers' shared cells.
        heard: is given what it says.
        begun: is called when a process has begun, to tell it what is served.
    """

    def __init__(
        self,
        settings: Settings,
        cells: Any,
        *,
        heard: Callable[[ToSupervisor], None],
        begun: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._cells = cells
        self._heard = heard
        self._begun = begun
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None
        self._sender: Sender[ToSync] | None = None
        self._started_at = 0.0
        self._short_lives = 0
        self._ended = False
        self.restarts = 0

    def start(self) -> None:
        """Start it, unless the edge is ending."""
        from edge.node.sync import follow  # noqa: PLC0415 - needs the extra `ship`

        if self._ended:
            return
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        with theirs:
            process = context.Process(
                target=follow,
                args=(self._settings, theirs, self._cells),
                name="almanac-sync",
                # It proves snapshots in processes of its own, which a daemon may not have.
                daemon=False,
            )
            process.start()
        self._process, self._line, self._sender = process, ours, Sender(ours)
        self._started_at = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._on_message)
        loop.add_reader(process.sentinel, self._on_death)
        self._begun()

    def tell(self, message: ToSync) -> None:
        """Tell it something, without waiting; one that is dying asks again when it is replaced."""
        if self._sender is not None:
            self._sender.put(message)

    def end(self) -> None:
        """End it for good; it leaves nothing half done that the next start minds."""
        self._ended = True
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process.sentinel)
            self._process.kill()
            self._process.join()
        self._close_line()

    def _on_message(self) -> None:
        assert self._line is not None
        try:
            message: ToSupervisor = self._line.recv()
        except (EOFError, OSError):
            self._close_line()
            return
        self._heard(message)

    def _on_death(self) -> None:
        process = self._process
        assert process is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.sentinel)
        self._close_line()
        process.join()
        self._process = None
        lived_s = time.monotonic() - self._started_at
        self._short_lives = 0 if lived_s > _LONG_LIFE_S else self._short_lives + 1
        pause_s = min(_FIRST_PAUSE_S * 2**self._short_lives, _LONGEST_PAUSE_S)
        self.restarts += 1
        _log.error(
            "sync process died",
            exit_code=process.exitcode,
            lived_s=round(lived_s, 1),
            restart_in_s=pause_s,
        )
        loop.call_later(pause_s, self.start)

    def _close_line(self) -> None:
        if self._line is not None and self._sender is not None:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._sender.close()
            self._line = self._sender = None
