"""What is served: what the supervisor says of it, and how long it has proved good."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from edge.node.guard import Guard
from edge.node.messages import NotSwapped, Reverted, Serving, Swapped, ToSync
from edge.node.standing import NodeState

ANSWER_LIMIT_S: Final = 900.0
_log = structlog.get_logger()


class Served:
    """Keeps the node's memory in step with what the supervisor does.

    Args:
        state: the node's memory.
        guard: looks at the answers of what is watched.
        watch_s: how long a snapshot is watched before it counts as good.
        clock: seconds that only grow.

    Attributes:
        serving: what answers; None for nothing.
        is_known: whether the supervisor has said so yet.
        awaiting: what was offered and not answered.
        suspects: snapshots that the supervisor went back from: their files may be damaged here.
        too_much: what was offered last that this machine had no room for, and a sentence about it;
            whoever heeds it sets it to None.
    """

    def __init__(
        self,
        state: NodeState,
        guard: Guard,
        *,
        watch_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._guard = guard
        self._watch_s = watch_s
        self._clock = clock
        self._watched: str | None = None
        self._watch_until = 0.0
        self._answer_by = 0.0
        self._refused: dict[str, str] = {}
        self._left_off: str | None = None
        self.serving: str | None = None
        self.is_known = False
        self.awaiting: str | None = None
        self.suspects: list[str] = []
        self.too_much: tuple[str, str] | None = None

    @property
    def is_watching(self) -> bool:
        """Whether what is served has yet to prove good."""
        return self._watched is not None

    def offering(self, snapshot_id: str) -> None:
        """Remember that a snapshot is about to be offered.

        Raises:
            FolderUnusable, FolderDamaged: it can't be; then do not offer it.
        """
        self._state.activating(snapshot_id)
        self.awaiting, self._answer_by = snapshot_id, self._clock() + ANSWER_LIMIT_S

    def hear(self, message: ToSync) -> None:
        """Take in what the supervisor says; `settle` makes it last."""
        match message:
            case Serving(snapshot_id=now):
                self.serving, self.is_known = now, True
            case Swapped(snapshot_id=now, took_s=took_s):
                _log.info("swapped", snapshot_id=now, took_s=round(took_s, 3))
                self.serving = now
            case NotSwapped(snapshot_id=offered, reason=reason, blame=blame):
                self._answered(offered)
                told = f"workers could not prepare it: {reason}"
                if blame != "snapshot":
                    self._left_off = offered
                    self.too_much = (offered, told) if blame == "machine" else None
                elif offered != self.serving:  # workers that have it already go on with it
                    self._refused[offered] = told
            case Reverted(snapshot_id=left, to=now, reason=reason):
                self._answered(left)
                self._refused[left] = reason
                self.suspects.append(left)
                self.serving = now
        self._answered(self.serving)

    def settle(self) -> None:
        """Bring the node's memory in step with what was heard; to be repeated until it succeeds.

        Raises:
            FolderUnusable, FolderDamaged: it can't be now.
        """
        while self._refused:
            snapshot_id, reason = next(iter(self._refused.items()))
            _log.error("quarantined", snapshot_id=snapshot_id, reason=reason)
            self._state.quarantine(snapshot_id, reason)
            del self._refused[snapshot_id]
        if self._left_off is not None:
            self._state.not_activated(self._left_off)
            self._left_off = None
        if self.serving is not None:
            self._state.activated(self.serving)
        standing = self._state.read()
        if self.serving != standing.active or standing.is_confirmed:
            self._watched = None
        elif self._watched != self.serving:
            self._watched, self._watch_until = self.serving, self._clock() + self._watch_s
            self._guard.begin()

    def watch(self) -> bool:
        """Look at what is watched: refuse it for failing, or confirm it when its time has come.

        Returns:
            Whether it was confirmed now.

        Raises:
            FolderUnusable, FolderDamaged: it can't be remembered.
        """
        if self.awaiting is not None and self._clock() >= self._answer_by:
            _log.error("no answer to an offer", snapshot_id=self.awaiting)
            self.awaiting = None
        if self._watched is None:
            return False
        if (breach := self._guard.breach()) is not None:
            self._refused[self._watched] = breach
            self.settle()
            return False
        if self._clock() < self._watch_until:
            return False
        self._state.confirmed(self._watched)
        _log.info("confirmed", snapshot_id=self._watched, watched_s=self._watch_s)
        self._watched = None
        return True

    def _answered(self, snapshot_id: str | None) -> None:
        if self.awaiting == snapshot_id:
            self.awaiting = None
