"""Worker processes as the supervisor holds them: started, heard, told, buried."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from signal import Signals
from typing import Any, Final, Protocol

import structlog

from edge.cells import ROW_CELLS
from edge.listeners import UnixSocket, listener_at
from edge.messages import FromWorker, Refused, ToWorker
from edge.sender import Sender
from edge.settings import Settings
from edge.worker import work

_QUICK_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0

_log = structlog.get_logger()


@dataclass(slots=True)
class Slot:
    """One place for a worker, and what has become of those that held it.

    Attributes:
        number: its row of cells.
        process: who holds it; None between two.
        line: the pipe to it.
        sender: sends through it.
        started_at: of a clock that only rises, seconds.
        quick_deaths: how many in a row died soon after they began.
        refused: why the last one could not begin.
    """

    number: int
    process: SpawnProcess | None = None
    line: Connection | None = None
    sender: Sender[ToWorker] | None = None
    started_at: float = 0.0
    quick_deaths: int = 0
    refused: Refused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A worker that ended unasked.

    Attributes:
        cause: a signal's name, or the exit code.
        pid: its process.
        lived_s: how long it lived, seconds.
    """

    cause: str
    pid: int | None
    lived_s: float


class Master(Protocol):
    """Whom workers report to."""

    def heard(self, slot: Slot, message: FromWorker) -> None: ...
    def died(self, slot: Slot, death: Death) -> None: ...


class Workers:
    """All places for workers, each with a listening socket of its own at one address.

    Args:
        settings: what every worker is started with.
        address: holds the address where requests are answered.
        unix: what all of them listen on besides; None for nothing.
        spools: where they log decisions; None for nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        address: socket.socket,
        *,
        unix: UnixSocket | None = None,
        spools: Any | None = None,
    ) -> None:
        self._settings = settings
        self._address = address
        self._unix = unix
        self._spools = spools
        self._context = get_context("spawn")
        self.cells: Any = self._context.RawArray("Q", ROW_CELLS * settings.workers + 1)
        self.slots = [Slot(number) for number in range(settings.workers)]
        self._master: Master | None = None

    def begin(self, master: Master) -> None:
        """Report to this one from now on."""
        self._master = master

    def living(self) -> Iterator[Slot]:
        """Places that somebody holds."""
        return (slot for slot in self.slots if slot.process is not None)

    def start(
        self, slot: Slot, path: Path, placements: tuple[str, ...], overlay: bytes | None
    ) -> None:
        """Let a worker take a free place, to answer from a snapshot under an overlay."""
        if slot.process is not None:
            return
        ours, theirs = self._context.Pipe()
        with listener_at(self._address) as listener, theirs:
            process = self._context.Process(
                target=work,
                args=(
                    self._settings,
                    slot.number,
                    self.cells,
                    [listener] if self._unix is None else [listener, self._unix.socket],
                    theirs,
                    path,
                    placements,
                    overlay,
                    self._spools,
                ),
                name=f"almanac-worker-{slot.number}",
                daemon=True,
            )
            process.start()
        slot.process, slot.line, slot.sender = process, ours, Sender(ours)
        slot.refused = None
        slot.started_at = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._on_message, slot)
        loop.add_reader(process.sentinel, self._on_death, slot)

    def tell(self, slot: Slot, message: ToWorker) -> None:
        """Send a worker a message, without waiting; one that is dying does not hear it."""
        if slot.sender is not None:
            slot.sender.put(message)

    def pause_s(self, slot: Slot) -> float:
        """How long to wait before the next worker takes this place."""
        return float(min(_FIRST_PAUSE_S * 2**slot.quick_deaths, _LONGEST_PAUSE_S))

    def _on_message(self, slot: Slot) -> None:
        assert slot.line is not None
        assert self._master is not None
        try:
            message: FromWorker = slot.line.recv()
        except (EOFError, OSError):
            self._close_line(slot)
            return
        if isinstance(message, Refused):
            slot.refused = message
        self._master.heard(slot, message)

    def _on_death(self, slot: Slot) -> None:
        process = slot.process
        assert process is not None
        assert self._master is not None
        asyncio.get_running_loop().remove_reader(process.sentinel)
        while slot.line is not None and slot.line.poll():
            self._on_message(slot)
        self._close_line(slot)
        process.join()
        slot.process = None
        lived_s = time.monotonic() - slot.started_at
        slot.quick_deaths = slot.quick_deaths + 1 if lived_s < _QUICK_S else 0
        cause = _cause(process.exitcode)
        self._master.died(slot, Death(cause=cause, pid=process.pid, lived_s=lived_s))

    def _close_line(self, slot: Slot) -> None:
        if slot.line is not None and slot.sender is not None:
            asyncio.get_running_loop().remove_reader(slot.line.fileno())
            slot.sender.close()
            slot.line = slot.sender = None


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return Signals(-exit_code).name
    return f"exit code {exit_code}"
