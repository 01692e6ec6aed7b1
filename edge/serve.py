"""The supervisor: binds the port, keeps workers alive, answers the admin listener, drains.

It maps no table and answers no shop, so that nothing a request does can take it down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

import structlog

from edge.admin import admin_app
from edge.counters import ROW_CELLS
from edge.errors import EdgeError, WorkerRefused, WorkersDied
from edge.fleet import Fleet
from edge.listeners import bound, listener_at, url_of
from edge.logs import configure_logs
from edge.settings import Settings
from edge.worker import Refused, Server, SnapshotFacts, server_config, shared_cells, work
from index.adder import IS_COMPILED

_QUICK_S: Final = 5.0
_QUICK_DEATHS: Final = 5
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_KILL_AFTER_S: Final = 5.0

_log = structlog.get_logger()


def serve(settings: Settings) -> int:
    """Answer requests until told to stop.

    Returns:
        0, after a SIGTERM or an interrupt and when what was in flight is finished.

    Raises:
        AddressTaken: an address can't be had.
        WorkerRefused: the snapshot, or a file of the settings, can't be used.
        WorkersDied: no worker stays alive.
    """
    configure_logs(settings.log_format, process="supervisor")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Before any worker imports FAISS: its threads would fight over the cores that answer.
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        bound(settings.host, settings.port, flag="--port") as address,
        bound(settings.admin_host, settings.admin_port_wanted, flag="--admin-port") as admin,
    ):
        return asyncio.run(Supervisor(settings, address, admin).run())


@dataclass(slots=True)
class _Slot:
    """One place for a worker, and what has become of those that held it."""

    number: int
    process: SpawnProcess | None = None
    report: Connection | None = None
    started_at: float = 0.0
    quick_deaths: int = 0
    refused: Refused | None = None


@dataclass(slots=True)
class _Ending:
    """How the edge ends: in peace, or with an error."""

    error: EdgeError | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    empty: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs workers, each with a listening socket of its own at one address.

    Args:
        settings: what to run.
        address: holds the address where requests are answered.
        admin: holds the address of metrics and console.
    """

    def __init__(self, settings: Settings, address: socket.socket, admin: socket.socket) -> None:
        self._settings = settings
        self._address = address
        self._admin = admin
        self._context = get_context("spawn")
        self._cells = self._context.RawArray("Q", ROW_CELLS * settings.workers + 1)
        self._slots = [_Slot(number) for number in range(settings.workers)]
        self._fleet = Fleet(shared_cells(self._cells), settings.workers)
        self._ending = _Ending()
        self._announced = False

    async def run(self) -> int:
        """Start, stay, drain.

        Raises:
            WorkerRefused, WorkersDied: see `serve`.
        """
        self._fleet.url = url_of(self._address)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        console = Server(server_config(admin_app(self._fleet), self._settings))
        tasks = [
            asyncio.create_task(console.serve(sockets=[self._admin])),
            asyncio.create_task(self._remember()),
        ]
        for slot in self._slots:
            self._start(slot)
        await self._ending.asked.wait()
        await self._drain()
        console.stop()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._ending.error is not None:
            raise self._ending.error
        _log.info("stopped")
        return 0

    async def _remember(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._fleet.remember()

    def _on_signal(self) -> None:
        (self._ending.hurried if self._ending.asked.is_set() else self._ending.asked).set()

    def _start(self, slot: _Slot) -> None:
        if self._ending.asked.is_set():
            return
        report, theirs = self._context.Pipe(duplex=False)
        with listener_at(self._address) as listener, theirs:
            process = self._context.Process(
                target=work,
                args=(self._settings, slot.number, self._cells, listener, theirs),
                name=f"almanac-worker-{slot.number}",
                daemon=True,
            )
            process.start()
        slot.process, slot.report, slot.refused = process, report, None
        slot.started_at = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.add_reader(report.fileno(), self._on_report, slot)
        loop.add_reader(process.sentinel, self._on_death, slot)

    def _on_report(self, slot: _Slot) -> None:
        assert slot.report is not None
        try:
            told = slot.report.recv()
        except (EOFError, OSError):
            self._close_report(slot)
            return
        if isinstance(told, Refused):
            slot.refused = told
        elif isinstance(told, SnapshotFacts):
            self._fleet.facts = told
            if not self._announced and all(worker.ready for worker in self._fleet.workers()):
                self._announce(told)

    def _announce(self, facts: SnapshotFacts) -> None:
        self._announced = True
        _log.info(
            "serving",
            url=self._fleet.url,
            console=url_of(self._admin),
            snapshot_id=facts.snapshot_id,
            brand=facts.brand,
            workers=len(self._slots),
        )
        if not IS_COMPILED:
            _log.warning(
                "sums are not compiled, decisions take about twice as long",
                hint="install a wheel for this machine, or gcc and Python's headers, and reinstall",
            )

    def _on_death(self, slot: _Slot) -> None:
        process = slot.process
        assert process is not None
        asyncio.get_running_loop().remove_reader(process.sentinel)
        if slot.report is not None:
            self._on_report(slot)
        self._close_report(slot)
        process.join()
        slot.process = None
        self._fleet.forget(slot.number)
        if self._ending.asked.is_set():
            if not self._living():
                self._ending.empty.set()
            return
        lived_s = time.monotonic() - slot.started_at
        slot.quick_deaths = slot.quick_deaths + 1 if lived_s < _QUICK_S else 0
        died_of = _cause(process.exitcode)
        if error := self._hopeless(slot, died_of):
            self._ending.error = error
            self._ending.asked.set()
            return
        pause_s = min(_FIRST_PAUSE_S * 2**slot.quick_deaths, _LONGEST_PAUSE_S)
        _log.error(
            "worker died",
            worker=slot.number,
            pid=process.pid,
            cause=slot.refused.what if slot.refused else died_of,
            lived_s=round(lived_s, 1),
            restart_in_s=pause_s,
        )
        self._fleet.restarts[slot.number] += 1
        asyncio.get_running_loop().call_later(pause_s, self._start, slot)

    def _hopeless(self, slot: _Slot, died_of: str) -> EdgeError | None:
        """Why to give up; never while another worker still answers."""
        if any(worker.ready for worker in self._fleet.workers()):
            return None
        if slot.refused is not None:
            told = slot.refused
            return WorkerRefused(told.what, hint=told.hint, exit_code=told.exit_code)
        if slot.quick_deaths >= _QUICK_DEATHS:
            return WorkersDied(
                f"no worker stays alive; the last one died of {died_of}",
                hint="the lines above say why; `almanac verify` checks the snapshot",
            )
        return None

    def _close_report(self, slot: _Slot) -> None:
        if slot.report is not None:
            asyncio.get_running_loop().remove_reader(slot.report.fileno())
            slot.report.close()
            slot.report = None

    async def _drain(self) -> None:
        self._fleet.start_draining()
        if self._ending.error is None:
            _log.info("draining", workers=len(self._living()), delay_s=self._settings.drain_delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.hurried.wait(), self._settings.drain_delay_s)
        for process in self._living():
            process.terminate()
        if not self._living():
            return
        try:
            limit_s = self._settings.drain_limit_s + _KILL_AFTER_S
            await asyncio.wait_for(self._ending.empty.wait(), limit_s)
        except TimeoutError:
            for process in self._living():
                _log.error("worker did not stop and is killed", pid=process.pid)
                process.kill()

    def _living(self) -> list[SpawnProcess]:
        return [slot.process for slot in self._slots if slot.process is not None]


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
