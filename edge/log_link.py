"""The decision log as the supervisor holds it: spools for all workers, and who empties them."""

from __future__ import annotations

import asyncio
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

import structlog

from edge.decision_log import SPOOL_BYTES
from edge.log_writer import write_log
from edge.settings import Settings

_PAUSE_S: Final = 1.0
_LAST_LINES_S: Final = 10.0

_log = structlog.get_logger()


class LogLink:
    """Keeps the writer alive; whatever becomes of it, workers go on.

    Args:
        settings: with a folder for the log.

    Attributes:
        spools: memory that workers and writer share.
        restarts: how often the writer was replaced.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = get_context("spawn")
        self.spools: Any = self._context.RawArray("B", SPOOL_BYTES * settings.workers)
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None
        self._ended = False
        self.restarts = 0

    def start(self) -> None:
        """Start it, unless the edge is ending."""
        settings = self._settings
        assert settings.decision_log is not None
        if self._ended:
            return
        theirs, self._line = self._context.Pipe(duplex=False)
        with theirs:
            self._process = self._context.Process(
                target=write_log,
                args=(
                    settings.decision_log,
                    self.spools,
                    settings.workers,
                    theirs,
                    settings.log_format,
                ),
                name="almanac-decision-log",
                daemon=True,
            )
            self._process.start()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._on_death)

    async def end(self) -> None:
        """Let it write what is left, now that no worker adds to it, and end it."""
        if self._process is None:
            self.start()  # it died a moment ago, and lines are left
        self._ended = True
        process = self._process
        assert process is not None
        assert self._line is not None
        asyncio.get_running_loop().remove_reader(process.sentinel)
        self._line.close()
        await asyncio.to_thread(process.join, _LAST_LINES_S)
        if process.is_alive():
            _log.error("the decision log did not end and is killed", pid=process.pid)
            process.kill()

    def _on_death(self) -> None:
        process = self._process
        assert process is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.sentinel)
        process.join()
        self._process = None
        if self._line is not None:
            self._line.close()
        self.restarts += 1
        _log.error("the decision log's writer died", exit_code=process.exitcode)
        loop.call_later(_PAUSE_S, self.start)
