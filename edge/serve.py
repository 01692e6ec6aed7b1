"""The supervisor: binds the port, keeps workers alive, answers the admin listener, drains.

It maps no table and answers no shop, so that nothing a request does can take it down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from edge.admin import admin_app
from edge.beat import LOOK_S, Beats
from edge.cells import row_of, shared_cells
from edge.counters import extended
from edge.errors import EdgeError, WorkerRefused, WorkersDied
from edge.fleet import Fleet
from edge.listeners import UnixSocket, bound, url_of
from edge.log_link import LogLink
from edge.logs import configure_logs
from edge.messages import FromWorker, LayOver, SnapshotFacts
from edge.node.messages import (
    NotSwapped,
    Offered,
    OverlayOffered,
    Reverted,
    Swapped,
    SyncState,
    ToSupervisor,
    ToSync,
)
from edge.open_files import require_files
from edge.settings import Settings
from edge.swap import OnDisk, Swap
from edge.sync_link import SyncLink
from edge.worker import Server, server_config
from edge.workers import Death, Slot, Workers
from index.compiled import IS_COMPILED

if TYPE_CHECKING:
    from edge.fleet_board import FleetBoard

_QUICK_DEATHS: Final = 5
_KILL_AFTER_S: Final = 5.0

_log = structlog.get_logger()


class Memory(Protocol):
    """What a node remembers of its snapshots; see `edge.node.memory`."""

    def begin(self) -> OnDisk | None: ...
    def fallback(self, bad: str, reason: str) -> OnDisk | None: ...


def serve(settings: Settings, memory: Memory | None = None, board: FleetBoard | None = None) -> int:
    """Answer requests until told to stop.

    Args:
        settings: what to run.
        memory: a node's that follows a channel.
        board: the channel's nodes, for its fleet page.

    Returns:
        0, after a SIGTERM or an interrupt and when what was in flight is finished.

    Raises:
        TooFewFiles: the system grants next to none.
        AddressTaken: an address can't be had.
        WorkerRefused: the snapshot, or a file of the settings, can't be used.
        WorkersDied: no worker stays alive.
    """
    configure_logs(settings.log_format, process="supervisor")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Before any worker imports FAISS: its threads would fight over the cores that answer.
    os.environ["OMP_NUM_THREADS"] = "1"
    require_files()
    with (
        bound(settings.host, settings.port, flag="--port") as address,
        bound(settings.admin_host, settings.admin_port_wanted, flag="--admin-port") as admin,
        _unix_socket(settings) as unix,
    ):
        listeners = Listeners(address=address, admin=admin, unix=unix)
        return asyncio.run(Supervisor(settings, listeners, memory, board).run())


def _unix_socket(settings: Settings) -> AbstractContextManager[UnixSocket | None]:
    if settings.unix is None:
        return nullcontext()
    return UnixSocket(settings.unix, int(settings.unix_mode, 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Where the edge is reached.

    Attributes:
        address: holds the address where requests are answered.
        admin: holds the address of metrics and console.
        unix: a file where requests are answered too, or None.
    """

    address: socket.socket
    admin: socket.socket
    unix: UnixSocket | None = None


@dataclass(slots=True)
class _Ending:
    """How the edge ends: in peace, or with an error."""

    error: EdgeError | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    empty: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Keeps workers, and what else is to run beside them, alive; swaps snapshots; drains.

    Args:
        settings: what to run.
        listeners: where it is reached.
        memory: what the node remembers of its snapshots; None where one is served from the disk.
        board: all nodes of the channel; None where none is followed.

    Attributes:
        swap: what workers answer from.
        fleet: what is known of them.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Listeners,
        memory: Memory | None = None,
        board: FleetBoard | None = None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._memory = memory
        self._board = board
        self._decisions = LogLink(settings) if settings.decision_log is not None else None
        self._workers = Workers(
            settings,
            listeners.address,
            unix=listeners.unix,
            spools=None if self._decisions is None else self._decisions.spools,
        )
        cells = shared_cells(self._workers.cells)
        self.fleet = Fleet(cells, settings.workers)
        self._beats = Beats([row_of(cells, slot) for slot in range(settings.workers)])
        begin = OnDisk(snapshot_id=None, path=settings.snapshot) if settings.snapshot else None
        self.swap = Swap(
            self._workers,
            self,
            begin if memory is None else memory.begin(),
            watch_s=settings.watch_s,
        )
        self._sync: SyncLink | None = None
        if settings.store is not None:
            self._sync = SyncLink(
                settings, self._workers.cells, heard=self._on_sync, begun=self._greet
            )
        self._overlay: bytes | None = None
        self._ending = _Ending()
        self._announced = False

    async def run(self) -> int:
        """Start, stay, drain.

        Raises:
            WorkerRefused, WorkersDied: see `serve`.
        """
        self.fleet.url = url_of(self._listeners.address)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        console = Server(
            server_config(admin_app(self.fleet, self._board), self._settings), on_ready=self._follow
        )
        tasks = [
            asyncio.create_task(console.serve(sockets=[self._listeners.admin])),
            asyncio.create_task(self._remember()),
            asyncio.create_task(self._look()),
        ]
        if self._decisions is not None:
            self._decisions.start()
        self._workers.begin(self)
        for slot in self._workers.slots:
            self.start(slot)
        await self._ending.asked.wait()
        if self._sync is not None:
            self._sync.end()
        await self._drain()
        if self._decisions is not None:
            await self._decisions.end()
        console.stop()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._ending.error is not None:
            raise self._ending.error
        _log.info("stopped")
        return 0

    def stop(self) -> None:
        """Drain and end, as after SIGTERM."""
        self._on_signal()

    def start(self, slot: Slot) -> None:
        """Let a worker take a free place, if there is anything to answer from."""
        current = self.swap.current
        if current is not None and not self._ending.asked.is_set():
            self._workers.start(slot, current.path, self.fleet.placements, self._overlay)

    def heard(self, slot: Slot, message: FromWorker) -> None:
        """A worker says something."""
        self.swap.heard(slot, message)

    def died(self, slot: Slot, death: Death) -> None:
        """A worker ended unasked: replace it, or give up when there is no hope."""
        self.fleet.forget(slot.number)
        if self._ending.asked.is_set():
            if not any(self._workers.living()):
                self._ending.empty.set()
            return
        self.swap.died(slot, death)
        if error := self._hopeless(slot, death):
            self._ending.error = error
            self._ending.asked.set()
            return
        pause_s = self._workers.pause_s(slot)
        _log.error(
            "worker died",
            worker=slot.number,
            pid=death.pid,
            cause=slot.refused.what if slot.refused else death.cause,
            lived_s=round(death.lived_s, 1),
            restart_in_s=pause_s,
        )
        self.fleet.restarts[slot.number] += 1
        asyncio.get_running_loop().call_later(pause_s, self.start, slot)

    def facts(self, facts: SnapshotFacts) -> None:
        """Workers answer from this, or are about to."""
        self.fleet.answers_from(facts)
        if not self._announced and all(worker.ready for worker in self.fleet.workers()):
            self._announce(facts)

    def placements(self, facts: SnapshotFacts) -> tuple[str, ...]:
        """Placements with cells of their own, those of a snapshot to come included."""
        return extended(self.fleet.placements, facts.placements)

    def outcome(self, message: ToSync) -> None:
        """Count what became of a swap, and tell the sync process."""
        match message:
            case Swapped(snapshot_id=name, took_s=took_s):
                self.fleet.swaps["swapped"] += 1
                _log.info("swapped", snapshot_id=name, took_s=round(took_s, 3))
            case NotSwapped(snapshot_id=name, reason=reason):
                self.fleet.swaps["not swapped"] += 1
                _log.error("not swapped", snapshot_id=name, reason=reason)
            case Reverted():
                self.fleet.swaps["reverted"] += 1
        if self._sync is not None:
            self._sync.tell(message)

    def fallback(self, bad: str, reason: str) -> OnDisk | None:
        """What to go back to from a snapshot that turned out bad, which is remembered."""
        return None if self._memory is None else self._memory.fallback(bad, reason)

    def leaked(self) -> None:
        """A retired snapshot stays mapped."""
        self.fleet.leaked += 1

    def _follow(self) -> None:
        """Begin to follow the channel, once the console can show how it goes."""
        if self._sync is not None:
            _log.info("following", url=self.fleet.url, console=url_of(self._listeners.admin))
            self._sync.start()

    def _greet(self) -> None:
        assert self._sync is not None
        self._sync.tell(self.swap.serving())

    def _on_sync(self, message: ToSupervisor) -> None:
        match message:
            case SyncState():
                self.fleet.sync = message
            case Offered(snapshot_id=name, path=path):
                self.swap.offered(OnDisk(snapshot_id=name, path=path))
            case OverlayOffered(payload=payload):
                self._overlay = payload
                for slot in self._workers.living():
                    self._workers.tell(slot, LayOver(payload=payload))

    async def _remember(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.fleet.remember()
            self.swap.expire()

    async def _look(self) -> None:
        """Kill workers that hang; the rest is as after any death."""
        while True:
            await asyncio.sleep(LOOK_S)
            for number in self._beats.look():
                process = self._workers.slots[number].process
                assert process is not None
                self.fleet.hangs(number)
                _log.error("worker hangs and is killed", worker=number, pid=process.pid)
                process.kill()

    def _on_signal(self) -> None:
        (self._ending.hurried if self._ending.asked.is_set() else self._ending.asked).set()

    def _announce(self, facts: SnapshotFacts) -> None:
        self._announced = True
        _log.info(
            "serving",
            url=self.fleet.url,
            **self._also_at(),
            console=url_of(self._listeners.admin),
            snapshot_id=facts.snapshot_id,
            brand=facts.brand,
            workers=len(self._workers.slots),
        )
        if not IS_COMPILED:
            _log.warning(
                "decisions are not compiled, and take about eight times as long",
                hint="install a wheel for this machine, or gcc and Python's headers, and reinstall",
            )

    def _also_at(self) -> dict[str, str]:
        unix = self._listeners.unix
        return {} if unix is None else {"unix": str(unix.path)}

    def _hopeless(self, slot: Slot, death: Death) -> EdgeError | None:
        """Why to give up; never while a worker answers, or another snapshot may come."""
        if self._sync is not None or any(worker.ready for worker in self.fleet.workers()):
            return None
        if slot.refused is not None:
            told = slot.refused
            return WorkerRefused(told.what, hint=told.hint, exit_code=told.exit_code)
        if slot.quick_deaths >= _QUICK_DEATHS:
            return WorkersDied(
                f"no worker stays alive; the last one died of {death.cause}",
                hint="the lines above say why; `almanac verify` checks the snapshot",
            )
        return None

    async def _drain(self) -> None:
        self.fleet.start_draining()
        living = list(self._workers.living())
        if self._ending.error is None:
            _log.info("draining", workers=len(living), delay_s=self._settings.drain_delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.hurried.wait(), self._settings.drain_delay_s)
        if self._listeners.unix is not None:
            # Callers find the next edge, or none: nobody accepts from this one's any more.
            self._listeners.unix.close()
        for process in self._processes():
            process.terminate()
        if not self._processes():
            return
        try:
            limit_s = self._settings.drain_limit_s + _KILL_AFTER_S
            await asyncio.wait_for(self._ending.empty.wait(), limit_s)
        except TimeoutError:
            for process in self._processes():
                _log.error("worker did not stop and is killed", pid=process.pid)
                process.kill()

    def _processes(self) -> list[SpawnProcess]:
        return [slot.process for slot in self._workers.living() if slot.process is not None]
