"""The swap of a snapshot on all workers of a host: prepared everywhere first, then activated.

Until every worker could answer from the new snapshot none does, and whatever goes wrong before
leaves the host as it was. Afterwards the new one is on trial: workers that die of it, or tables
that can't be read, bring back what proved good before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import structlog

from edge.messages import (
    Activate,
    Activated,
    Closed,
    DamageMet,
    Drop,
    FromWorker,
    Leaked,
    NotPrepared,
    Prepare,
    Prepared,
    SnapshotFacts,
)
from edge.node.messages import Blame, NotSwapped, Reverted, Serving, Swapped, ToSync
from edge.workers import Death, Slot, Workers

MOST_DEATHS: Final = 3
PREPARE_LIMIT_S: Final = 600.0

_log = structlog.get_logger()

Phase = Literal["steady", "starting", "preparing", "activating"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk:
    """A snapshot that workers can open; its id is None until one has."""

    snapshot_id: str | None
    path: Path


class Home(Protocol):
    """What a swap needs of the host around it."""

    def start(self, slot: Slot) -> None:
        """Let a worker take a free place."""

    def facts(self, facts: SnapshotFacts) -> None:
        """Remember what is answered from."""

    def placements(self, facts: SnapshotFacts) -> tuple[str, ...]:
        """Placements with cells of their own, those of a snapshot to come included."""

    def outcome(self, message: ToSync) -> None:
        """Count what became of a swap, and pass it on."""

    def fallback(self, bad: str, reason: str) -> OnDisk | None:
        """What to go back to from a snapshot that turned out bad, which is remembered."""

    def leaked(self) -> None:
        """Count a snapshot that stays mapped."""


class Swap:
    """What workers answer from, and how they change over.

    Args:
        workers: all of the host's.
        home: see there.
        current: what to begin with; None for nothing yet.
        watch_s: how long a new snapshot is on trial, seconds.
        clock: seconds that only rise.

    Attributes:
        current: what workers start with, and answer from unless they change over now.
        phase: `steady`, or how far a change has come.
    """

    def __init__(
        self,
        workers: Workers,
        home: Home,
        current: OnDisk | None,
        *,
        watch_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._home = home
        self._watch_s = watch_s
        self._clock = clock
        self._coming: OnDisk | None = None
        self._facts: SnapshotFacts | None = None
        self._waiting: set[int] = set()
        self._answers: dict[int, str] = {}
        """What each worker answers from, by its slot's number."""
        self._began_at = 0.0
        self._trial_until = 0.0
        self._deaths = 0
        self._told_bad: str | None = None
        self.current = current
        self.phase: Phase = "steady"

    def offered(self, coming: OnDisk) -> None:
        """Change over to this snapshot; the latest offer replaces one that is not activated yet.

        What is answered from already is opened anew: a damaged file may have been replaced.
        """
        name = coming.snapshot_id
        if self._coming is not None and name == self._coming.snapshot_id:
            return  # it is on its way
        if self.phase == "activating":
            # It is over in a moment; what is offered now is offered again by whoever wants it.
            self._not_swapped(coming, "busy with another", blame="nobody")
            return
        if self.phase != "steady":
            self._abort("another was offered meanwhile", blame="nobody")
        self._coming, self._began_at, self._deaths = coming, self._clock(), 0
        self._facts = None
        if self.current is None:
            self.phase, self.current = "starting", coming
            self._waiting = {slot.number for slot in self._workers.slots}
            for slot in self._workers.slots:
                self._home.start(slot)
            return
        self.phase = "preparing"
        self._waiting = {slot.number for slot in self._workers.slots}
        for slot in self._workers.living():
            self._prepare(slot, coming)

    def heard(self, slot: Slot, message: FromWorker) -> None:
        """What a worker says."""
        match message:
            case SnapshotFacts():
                self._is_ready(slot, message)
            case Prepared(snapshot_id=name, facts=facts):
                self._is_prepared(slot, name, facts)
            case NotPrepared():
                self._is_not_prepared(slot, message)
            case Activated(snapshot_id=name):
                self._is_activated(slot, name)
            case DamageMet(snapshot_id=name, times=times):
                if self.current is not None and name == self.current.snapshot_id:
                    self._go_back(f"its tables could not be read {times} times")
            case Leaked():
                self._home.leaked()
            case Closed(snapshot_id=name):
                _log.debug("retired snapshot closed", worker=slot.number, snapshot_id=name)

    def died(self, slot: Slot, death: Death) -> None:
        """A worker ended unasked; the host replaces it unless nothing is to be served."""
        on_trial = self.phase != "steady" or self._clock() < self._trial_until
        self._answers.pop(slot.number, None)
        if self.phase == "activating":
            self._waiting.discard(slot.number)  # the next one begins with the new snapshot
        if not on_trial:
            return
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            told = slot.refused.what if slot.refused else death.cause
            reason = f"{self._deaths} workers died of it, the last of {told}"
            if self.phase in ("preparing", "starting"):
                self._abort(reason)
            else:
                self._go_back(reason)
        elif self.phase == "activating":
            self._done_if_all()

    def expire(self) -> None:
        """Give up preparing what takes too long; to be called now and then."""
        late = self._clock() - self._began_at > PREPARE_LIMIT_S
        if late and self.phase in ("preparing", "starting"):
            self._abort(f"not all workers were ready after {PREPARE_LIMIT_S:.0f} s")

    def _is_ready(self, slot: Slot, facts: SnapshotFacts) -> None:
        current, self._answers[slot.number] = self.current, facts.snapshot_id
        if current is None:
            return
        if current.snapshot_id is None:
            self.current = current = OnDisk(snapshot_id=facts.snapshot_id, path=current.path)
        if facts.snapshot_id != current.snapshot_id:
            self._prepare(slot, current)  # it began before the others changed over
            return
        self._home.facts(facts)
        if self.phase == "preparing" and self._coming is not None:
            self._prepare(slot, self._coming)
        elif self.phase == "starting":
            self._waiting.discard(slot.number)
            self._done_if_all()

    def _is_prepared(self, slot: Slot, name: str, facts: SnapshotFacts) -> None:
        coming, current = self._coming, self.current
        if self.phase == "preparing" and coming is not None and name == coming.snapshot_id:
            self._facts = facts
            self._waiting.discard(slot.number)
            if not self._waiting:
                self._activate_all(coming, facts)
        elif current is not None and name == current.snapshot_id:
            self._home.facts(facts)
            placements = self._home.placements(facts)
            self._workers.tell(slot, Activate(snapshot_id=name, placements=placements))
        else:
            self._workers.tell(slot, Drop(snapshot_id=name))

    def _is_not_prepared(self, slot: Slot, told: NotPrepared) -> None:
        coming, current, name = self._coming, self.current, told.snapshot_id
        if self.phase == "preparing" and coming is not None and name == coming.snapshot_id:
            self._abort(f"worker {slot.number}: {told.what}", blame=told.blame)
        elif current is not None and name == current.snapshot_id and slot.process is not None:
            # It answers from what no one else does: the next one begins with the right one.
            _log.error("worker can't change over", worker=slot.number, reason=told.what)
            slot.process.kill()

    def _is_activated(self, slot: Slot, name: str) -> None:
        self._answers[slot.number] = name
        if self.phase == "activating" and self.current and name == self.current.snapshot_id:
            self._waiting.discard(slot.number)
            self._done_if_all()

    def _activate_all(self, coming: OnDisk, facts: SnapshotFacts) -> None:
        self.phase, self.current, self._coming = "activating", coming, None
        self._deaths = 0
        self._home.facts(facts)
        living = list(self._workers.living())
        self._waiting = {slot.number for slot in living}
        placements = self._home.placements(facts)
        for slot in living:
            self._workers.tell(slot, Activate(snapshot_id=facts.snapshot_id, placements=placements))
        self._done_if_all()

    def _done_if_all(self) -> None:
        if self._waiting or self.current is None:
            return
        took_s = self._clock() - self._began_at
        self.phase, self._coming = "steady", None
        self._trial_until = self._clock() + self._watch_s
        self._home.outcome(Swapped(snapshot_id=str(self.current.snapshot_id), took_s=took_s))

    def _abort(self, reason: str, *, blame: Blame = "snapshot") -> None:
        """Leave everything as it was; who was to change over before goes on with that."""
        coming, phase, current = self._coming, self.phase, self.current
        assert coming is not None
        self.phase, self._coming, self._waiting = "steady", None, set()
        self._trial_until = 0.0
        if phase == "starting":
            self.current = None
        for slot in self._workers.living():
            if phase == "starting" and slot.process is not None:
                slot.process.terminate()
            elif current is not None and self._is_behind(slot, current):
                self._prepare(slot, current)
            else:
                self._workers.tell(slot, Drop(snapshot_id=str(coming.snapshot_id)))
        self._not_swapped(coming, reason, blame=blame)

    def _is_behind(self, slot: Slot, current: OnDisk) -> bool:
        return self._answers.get(slot.number, current.snapshot_id) != current.snapshot_id

    def _not_swapped(self, coming: OnDisk, reason: str, *, blame: Blame) -> None:
        name = str(coming.snapshot_id)
        self._home.outcome(NotSwapped(snapshot_id=name, reason=reason, blame=blame))

    def _go_back(self, reason: str) -> None:
        """Answer from what proved good before; with nothing such, go on and say so."""
        assert self.current is not None
        bad = str(self.current.snapshot_id)
        good = self._home.fallback(bad, reason)
        if good is None:
            if self._told_bad != bad:
                self._told_bad = bad
                _log.error("bad, and there is nothing to go back to", snapshot_id=bad, why=reason)
            return
        _log.error("going back", snapshot_id=bad, to=good.snapshot_id, reason=reason)
        if self.phase == "preparing" and self._coming is not None:
            self._abort(f"{bad} was left meanwhile", blame="nobody")
        self.phase, self.current, self._coming, self._waiting = "steady", good, None, set()
        self._trial_until = 0.0
        for slot in self._workers.living():
            self._prepare(slot, good)
        self._home.outcome(Reverted(snapshot_id=bad, to=good.snapshot_id, reason=reason))

    def _prepare(self, slot: Slot, wanted: OnDisk) -> None:
        assert wanted.snapshot_id is not None
        self._workers.tell(slot, Prepare(snapshot_id=wanted.snapshot_id, path=wanted.path))

    def serving(self) -> Serving:
        """What is answered from, as the sync process wants to know it."""
        return Serving(snapshot_id=self.current.snapshot_id if self.current else None)
