"""What a node does each second whatever else it is busy with: the overlay, and its heartbeat.

It runs in a thread of the sync process, so that stock-outs reach the workers while a large snapshot
is being fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, Final

import structlog

from edge.cells import shared_cells
from edge.node.failures import PROBLEMS
from edge.node.heartbeat import BEAT_S, GuardWindow, heartbeat_of
from edge.node.line import Line, LineClosed
from edge.node.messages import OverlayOffered
from edge.node.origins import root_document
from edge.node.overlay_watch import OverlayWatch
from edge.node.report import Report
from edge.node.served import Served
from edge.node.standing import NodeState
from edge.settings import Settings
from index.shipping.documents import moment_now
from index.shipping.heartbeat import MAX_SWAPS, Swap
from index.shipping.heartbeat_store import HeartbeatWriter
from index.shipping.key_files import read_private_key
from index.shipping.store import Store, open_store
from index.shipping.trust import TrustStore

EVERY_S: Final = 1.0
_MOST_WORDS: Final = 500

_log = structlog.get_logger()


class Pulse:
    """Offers overlays to the workers and tells the store how the node is, until the pipe closes.

    Args:
        settings: the node's.
        trust: whom it trusts.
        line: the pipe to the supervisor.
        report: how updating stands.
        served: what is served.
        cells: the workers' shared cells; only read.
    """

    def __init__(  # noqa: PLR0917 - all that a node knows of itself
        self,
        settings: Settings,
        trust: TrustStore,
        line: Line,
        report: Report,
        served: Served,
        cells: Any,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._line = line
        self._report = report
        self._served = served
        self._state = NodeState(settings.state_dir, tries=settings.tries)
        self._window = GuardWindow(shared_cells(cells), settings.workers)
        self._began_s = time.monotonic()
        # Made when they are first needed: what hinders one must not take the other along.
        self._watch: OverlayWatch | None = None
        self._writer: HeartbeatWriter | None = None
        self._failures: dict[str, str | None] = {}

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        Thread(target=self._run, daemon=True, name="pulse").start()

    def _run(self) -> None:
        assert self._settings.store is not None
        # Heartbeats go to the store alone: a mirror is only read.
        stores = [open_store(one) for one in (self._settings.store, *self._settings.mirrors)]
        next_beat_s = 0.0
        while True:
            begun_s = time.monotonic()
            try:
                self._tried("overlay", lambda: self._look(stores))
                if begun_s >= next_beat_s:
                    next_beat_s = begun_s + BEAT_S
                    self._tried("heartbeat", lambda: self._beat(stores[0]))
            except LineClosed:
                return
            time.sleep(max(EVERY_S - (time.monotonic() - begun_s), 0.0))

    def _look(self, stores: Sequence[Store]) -> str | None:
        if self._watch is None:
            self._watch = OverlayWatch(
                stores,
                self._trust,
                brand=self._report.state.brand,
                channel=self._report.state.channel,
                fetch_roots=self._walk_roots,
            )
        if (payload := self._watch.poll(moment_now())) is not None:
            self._line.send(OverlayOffered(payload=payload))
        return self._watch.failure

    def _walk_roots(self, store: Store) -> None:
        self._trust.walk_roots(lambda version: root_document(store, version))

    def _beat(self, store: Store) -> str | None:
        if self._writer is None:
            path = self._settings.node_key
            self._writer = HeartbeatWriter(store, [] if path is None else [read_private_key(path)])
        standing = self._state.read()
        heartbeat = heartbeat_of(
            self._settings.node_id,
            self._report.state,
            self._window,
            snapshot_id=self._served.serving,
            swaps=[
                Swap(
                    at=one.at,
                    snapshot_id=one.snapshot_id,
                    what=one.what,
                    reason=one.reason[:_MOST_WORDS],
                )
                for one in standing.history[-MAX_SWAPS:]
            ],
            verdict="watching" if self._served.is_watching else None,
            uptime_s=time.monotonic() - self._began_s,
            now=moment_now(),
            now_s=time.monotonic(),
        )
        self._writer.write(heartbeat)
        if self._writer.n_rivals > 1:
            return f"another node writes as {self._settings.node_id}: give each a name of its own"
        return None

    def _tried(self, what: str, step: Callable[[], str | None]) -> None:
        """Do one thing; say once what hinders it, and go on."""
        try:
            failure = step()
        except (*PROBLEMS, OSError) as problem:
            failure = str(problem)
        if failure != self._failures.get(what):
            self._failures[what] = failure
            if failure is None:
                _log.info(f"{what} goes on")
            else:
                _log.warning(f"{what} can't go on", reason=failure)
