"""The supervisor's end of the pipe, held by a test; the sync process at the other end is real."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Self

from edge.cells import ROW_CELLS
from edge.node.messages import (
    Blame,
    NotSwapped,
    Offered,
    OverlayOffered,
    Reverted,
    Serving,
    Swapped,
    SyncState,
)
from edge.node.standing import NodeState
from edge.node.sync import follow
from edge.settings import Settings

PATIENCE_S = 120
# Forked from a process that has imported everything once: many short lives are cheap this way.
forkserver = get_context("forkserver")
forkserver.set_forkserver_preload(["tests.edge.node.supervisor"])


@dataclass
class Supervisor:
    """Starts the sync process, answers its offers, and keeps what it says.

    Attributes:
        settings: the node's.
        target: what the process runs.
        answers: whether offers are answered by themselves, as by workers that all can swap.
        serving: what is served; `begin` of the node's memory at first.
        offers: all that came.
        states: all that were said.
        overlays: payloads of all that came.
    """

    settings: Settings
    target: Callable[..., None] = follow
    arguments: tuple[Any, ...] = ()
    answers: bool = True
    method: str = "forkserver"
    serving: str | None = None
    offers: list[str] = field(default_factory=list)
    states: list[SyncState] = field(default_factory=list)
    overlays: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Self:
        installed = NodeState(self.settings.state_dir, tries=self.settings.tries).begin()
        self.serving = installed.snapshot_id if installed else None
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        context: Any = forkserver if self.method == "forkserver" else get_context(self.method)
        self.cells = context.RawArray("Q", ROW_CELLS * self.settings.workers + 1)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=self.target,
            args=(self.settings, theirs, self.cells, *self.arguments),
            daemon=True,
        )
        self.process.start()
        theirs.close()
        self.pipe.send(Serving(snapshot_id=self.serving))

    def kill(self) -> None:
        """As nobody expects it."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    @property
    def state(self) -> SyncState:
        return self.states[-1]

    def until(self, holds: Callable[[], bool]) -> None:
        """Hear and answer until something holds."""
        give_up = time.monotonic() + PATIENCE_S
        while not (self.states and holds()):
            assert time.monotonic() < give_up, (self.offers, self.states[-3:])
            self.hear(0.02)

    def until_failing(self, word: str) -> None:
        self.until(lambda: self.state.failure == word)

    def rounds(self, n_more: int) -> None:
        """Hear and answer until the channel was read and accepted that many times more."""
        seen = {state.last_success_s for state in self.states}
        self.until(lambda: len({state.last_success_s for state in self.states} - seen) >= n_more)

    def hear(self, timeout_s: float) -> bool:
        """Take in one message; whether the process is still there to send more."""
        try:
            if not self.pipe.poll(timeout_s):
                return bool(self.process.is_alive())
            message = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if isinstance(message, SyncState):
            self.states.append(message)
        elif isinstance(message, OverlayOffered):
            self.overlays.append(message.payload)
        elif isinstance(message, Offered):
            self.offers.append(message.snapshot_id)
            assert message.path.name == message.snapshot_id
            if self.answers:
                self.swap(message.snapshot_id)
        return True

    def swap(self, snapshot_id: str) -> None:
        self.serving = snapshot_id
        self.say(Swapped(snapshot_id=snapshot_id, took_s=0.01))
        self.say(Serving(snapshot_id=snapshot_id))

    def refuse(self, snapshot_id: str, reason: str, *, blame: Blame = "snapshot") -> None:
        self.say(NotSwapped(snapshot_id=snapshot_id, reason=reason, blame=blame))

    def revert(self, snapshot_id: str, to: str | None, reason: str) -> None:
        """What the supervisor does when workers die of a snapshot."""
        NodeState(self.settings.state_dir).quarantine(snapshot_id, reason)
        self.serving = to
        self.say(Reverted(snapshot_id=snapshot_id, to=to, reason=reason))
        self.say(Serving(snapshot_id=to))

    def say(self, message: Any) -> None:
        try:
            self.pipe.send(message)
        except OSError:
            assert not self.process.is_alive()
