"""One worker: a spawned process that opens the snapshot and answers until it is told to stop.

The supervisor imports this file to name `work`, so what a worker needs is imported inside: the
supervisor itself stays small and maps no table.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from edge.beat import beat
from edge.cells import DRAINING, IN_FLIGHT, PID, READY, STARTED_S, row_of, shared_cells
from edge.counters import Counters
from edge.direct import DirectProtocol
from edge.errors import EdgeError
from edge.listeners import BACKLOG, several_times
from edge.logs import configure_logs
from edge.messages import Refused, SnapshotFacts
from edge.settings import Settings

if TYPE_CHECKING:
    from index.generation import Generation


class Server(uvicorn.Server):
    """A server whose signals are somebody else's business, and that says when it listens."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        warm_up: Callable[[Server], Awaitable[object]] | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._warm_up = warm_up
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._warm_up is not None:
            await self._warm_up(self)
        await super().startup(sockets)
        self._on_ready()

    def stop(self) -> None:
        """Stop accepting, finish what is in flight, return from `serve`."""
        self.should_exit = True


def server_config(app: Any, settings: Settings, **changes: Any) -> uvicorn.Config:
    """How every listener of the edge speaks HTTP."""
    return uvicorn.Config(
        app,
        access_log=False,
        backlog=BACKLOG,
        http=DirectProtocol,
        lifespan="off",
        log_config=None,
        proxy_headers=False,  # nobody reads the caller's address
        server_header=False,
        timeout_graceful_shutdown=settings.drain_limit_s,
        timeout_keep_alive=settings.keep_alive_s,
        ws="none",
        **changes,
    )


def work(  # noqa: PLR0917  # what a process is given, in its order
    settings: Settings,
    slot: int,
    cells: Any,
    listeners: list[socket.socket],
    line: Connection,
    path: Path,
    placements: tuple[str, ...],
    overlay: bytes | None,
    spools: Any | None,
) -> None:
    """Answer requests from `listeners`; the target of a spawned process.

    Args:
        settings: as the supervisor has them.
        slot: which row of cells to fill.
        cells: cells shared with the supervisor.
        listeners: first a socket of this worker's own; the kernel spreads callers over them.
        line: the pipe to the supervisor; see `edge.messages`.
        path: directory of the snapshot to begin with.
        placements: those that have cells of their own so far.
        overlay: what is laid over the snapshot from the beginning; None for nothing.
        spools: where decisions are logged, of all workers; None for nowhere.
    """
    from edge.app import create_app  # noqa: PLC0415 - see the module's first lines
    from edge.decision_log import DecisionLog, spool_of  # noqa: PLC0415
    from edge.generations import Generations  # noqa: PLC0415
    from edge.state import State, apply_overlay, opened  # noqa: PLC0415
    from edge.warm import warm_up_server  # noqa: PLC0415
    from index.errors import SnapshotError  # noqa: PLC0415
    from index.warm import warm_up  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody
    configure_logs(settings.log_format, process=f"worker-{slot}")
    if settings.pin:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[slot % len(cores)]})
    shared = shared_cells(cells)
    row = row_of(shared, slot)
    state = State(Counters(row))
    if spools is not None:
        state.log = DecisionLog(spool_of(spools, slot), state.counters)

    def ready_to_answer(directory: Path) -> Generation:
        generation = opened(settings, directory)
        warm_up(generation)
        return generation

    try:
        if overlay is not None:
            apply_overlay(state, overlay)
        generation = ready_to_answer(path)
        state.adopt(generation, placements)
        app = create_app(state, settings, draining=lambda: bool(shared[DRAINING]))
    except (EdgeError, SnapshotError) as error:
        line.send(Refused(what=str(error), hint=error.hint, exit_code=error.exit_code))
        raise SystemExit(error.exit_code) from error

    def ready() -> None:
        row[PID], row[STARTED_S], row[IN_FLIGHT], row[READY] = os.getpid(), int(time.time()), 0, 1
        line.send(facts_of(generation))

    config = server_config(app, settings, loop="uvloop")
    server = Server(
        config,
        warm_up=lambda one: warm_up_server(config, one.server_state, settings, generation),
        on_ready=ready,
    )
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        loop = runner.get_loop()
        parent = parent_process()
        if parent is not None:
            # An orphan would hold the port for ever.
            loop.add_reader(parent.sentinel, server.stop)
        Generations(state, line, loop, opened=ready_to_answer, facts_of=facts_of).begin()
        beat(loop, row)
        runner.run(server.serve(sockets=several_times(listeners)))
    state.close()


def facts_of(generation: Generation) -> SnapshotFacts:
    """What there is to say about a snapshot."""
    from edge.state import placements_of  # noqa: PLC0415 - see the module's first lines

    manifest, model = generation.manifest, generation.model
    return SnapshotFacts(
        snapshot_id=manifest.snapshot_id,
        model_id=manifest.model_id,
        brand=manifest.brand,
        timezone=model.timezone,
        as_of_us=int(manifest.data["as_of_us"]),
        counts=manifest.counts,
        files=tuple((entry.name, entry.size, entry.entries) for entry in manifest.files),
        features=tuple(feature.name for feature in model.features),
        placements=placements_of(generation),
    )
