"""The snapshots of one worker: the one that answers, one that is prepared, and those that retire.

A swap is one attribute that is replaced between two requests (read, copy, update). Opening and warm
up happen in a thread beside the loop, which lets go of the interpreter while pages are read in.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import structlog

from edge.errors import EdgeError
from edge.messages import (
    Activate,
    Activated,
    Closed,
    DamageMet,
    Drop,
    FromWorker,
    LayOver,
    Leaked,
    NotPrepared,
    Prepare,
    Prepared,
    SnapshotFacts,
    ToWorker,
)
from edge.state import State, apply_overlay
from index.errors import Exhausted, SnapshotError
from index.generation import Generation

GRACE_S: Final = 1.0
"""A retired snapshot stays open this long, for whoever took it in hand before the swap."""
LEAK_AFTER_S: Final = 60.0
MOST_DAMAGE: Final = 2
"""So many tables that can't be read are no accident any more."""
_LOOK_S: Final = 0.25

_log = structlog.get_logger()


class Generations:
    """Does what the supervisor asks for, and tells it what became of it.

    Args:
        state: whose generation answers.
        line: the pipe to the supervisor.
        loop: the worker's.
        opened: opens a snapshot and makes it ready to answer.
        facts_of: what there is to say about one.
    """

    def __init__(
        self,
        state: State,
        line: Connection,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: Callable[[Path], Generation],
        facts_of: Callable[[Generation], SnapshotFacts],
    ) -> None:
        self._state = state
        self._line = line
        self._loop = loop
        self._opened = opened
        self._facts_of = facts_of
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._wanted: str | None = None
        self._prepared: Generation | None = None
        self._retired: list[tuple[Generation, float]] = []
        self._leaked: list[Generation] = []
        self._told_damage: str | None = None
        self._laying: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Listen to the supervisor, and look after retired snapshots, while the loop runs."""
        # Its thread begins now: when a snapshot comes there may be no memory for one.
        self._pool.submit(lambda: None).result()
        self._loop.add_reader(self._line.fileno(), self._hear)
        self._loop.call_later(_LOOK_S, self._look)

    def _hear(self) -> None:
        try:
            message: ToWorker = self._line.recv()
        except (EOFError, OSError):
            self._loop.remove_reader(self._line.fileno())
            return
        match message:
            case Prepare(snapshot_id=name, path=path):
                self._drop()
                self._wanted = name
                future = self._loop.run_in_executor(self._pool, self._open, name, path)
                future.add_done_callback(lambda done: self._when_open(name, done))
            case Activate(snapshot_id=name, placements=placements):
                self._activate(name, placements)
            case Drop(snapshot_id=name):
                if self._wanted == name:
                    self._drop()
            case LayOver(payload=payload):
                # An offer that is no item's takes a look at all offers: not between two requests.
                self._laying = self._loop.run_in_executor(
                    self._pool, apply_overlay, self._state, payload
                )

    def _open(self, name: str, path: Path) -> Generation | NotPrepared:
        try:
            generation = self._opened(path)
            self._state.lay_over(generation)
            return generation
        except (Exhausted, MemoryError) as error:
            what = str(error) or "out of memory"
            return NotPrepared(snapshot_id=name, what=what, blame="machine")
        except (EdgeError, SnapshotError) as error:
            return NotPrepared(snapshot_id=name, what=str(error), blame="snapshot")
        except Exception as error:  # noqa: BLE001 - no defect here may take away what answers
            _log.exception("a snapshot could not be prepared", path=str(path))
            what = f"{type(error).__name__}: {error}"
            return NotPrepared(snapshot_id=name, what=what, blame="snapshot")

    def _when_open(self, name: str, done: asyncio.Future[Generation | NotPrepared]) -> None:
        if done.cancelled():
            return
        found = done.result()
        if isinstance(found, NotPrepared):
            self._tell(found)
        elif self._wanted != name or self._prepared is not None:
            self._close(found)  # it is not wanted any more
        else:
            self._prepared = found
            self._tell(Prepared(snapshot_id=name, facts=self._facts_of(found)))

    def _activate(self, name: str, placements: tuple[str, ...]) -> None:
        if self._laying is not None and not self._laying.done():
            self._laying.add_done_callback(lambda _: self._activate(name, placements))
            return
        found = self._prepared
        if found is None or self._wanted != name:
            answers = self._state.generation
            if answers is not None and answers.snapshot_id == name:
                self._tell(Activated(snapshot_id=name))
            else:
                what = "it was never prepared"
                self._tell(NotPrepared(snapshot_id=name, what=what, blame="snapshot"))
            return
        self._prepared = self._wanted = None
        before = self._state.generation
        self._state.adopt(found, placements)
        # What was loaded lives until the next swap: the collector need not look at it.
        gc.freeze()
        self._tell(Activated(snapshot_id=name))
        if before is not None:
            self._retired.append((before, self._loop.time()))

    def _drop(self) -> None:
        if self._prepared is not None:
            self._close(self._prepared)
        self._prepared = self._wanted = None

    def _close(self, generation: Generation) -> None:
        """Close it beside the loop: now and then the kernel takes half a second to let go of files.

        Once it is begun, further calls do nothing.
        """
        self._loop.run_in_executor(self._pool, generation.close)

    def _look(self) -> None:
        """Close what has retired long enough; tell of damage."""
        now, kept = self._loop.time(), []
        for generation, since in self._retired:
            if generation.is_closed:
                self._tell(Closed(snapshot_id=generation.snapshot_id))
            elif now - since < LEAK_AFTER_S:
                kept.append((generation, since))
                if now - since >= GRACE_S and not self._state.is_pinned(generation):
                    self._close(generation)
            else:
                # Unmapping it under a reader would kill the worker.
                self._leaked.append(generation)
                _log.error("a retired snapshot is still read", snapshot_id=generation.snapshot_id)
                self._tell(Leaked(snapshot_id=generation.snapshot_id))
        self._retired = kept
        answers = self._state.generation
        if (
            answers is not None
            and answers.damaged >= MOST_DAMAGE
            and self._told_damage != answers.snapshot_id
        ):
            self._told_damage = answers.snapshot_id
            self._tell(DamageMet(snapshot_id=answers.snapshot_id, times=answers.damaged))
        self._loop.call_later(_LOOK_S, self._look)

    def _tell(self, message: FromWorker) -> None:
        try:
            self._line.send(message)
        except OSError:
            return  # the supervisor is gone, and so will this worker be
