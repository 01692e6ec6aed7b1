"""What a node serves, what it would go back to, and what it must not serve: one small file.

Supervisor and sync process both change it, each change whole and under a lock, so a node that is
killed wakes up with the state before a change or after it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field

from edge.errors import FolderDamaged, FolderUnusable
from edge.node.folder import NodeFolder
from index.shipping.documents import moment_now
from index.shipping.durable import replace_file

TRIES: Final = 3
_MOST_SWAPS: Final = 50
_MOST_QUARANTINED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A snapshot that can be opened from this disk."""

    snapshot_id: str
    path: Path


class Swap(Struct, frozen=True, kw_only=True):
    """One thing that happened to a snapshot on this node."""

    at: datetime
    snapshot_id: str
    what: Literal["activated", "confirmed", "went back", "quarantined", "forgotten"]
    reason: str = ""


class Standing(Struct, frozen=True, kw_only=True):
    """A node's memory of its snapshots.

    Attributes:
        active: what is served, and what the next start begins with.
        last_good: the one confirmed last on this node; the only one it goes back to by itself.
        previous: what was served before `active`.
        activating: what was about to be served; still there when the node died of it.
        tries: starts with a snapshot that was not confirmed, by id.
        quarantined: what is not served again, by id, and why.
        history: what happened last, the newest at the end.
    """

    active: str | None = None
    last_good: str | None = None
    previous: str | None = None
    activating: str | None = None
    tries: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    history: list[Swap] = field(default_factory=list)

    @property
    def is_confirmed(self) -> bool:
        """Whether what is served has proved good here."""
        return self.active is not None and self.active == self.last_good


class NodeState:
    """The standing of the node that keeps this folder; may be shared by processes of one host.

    Every method may raise `FolderUnusable` and `FolderDamaged`.

    Args:
        state_dir: the node's folder.
        tries: starts that a snapshot gets to be confirmed.
    """

    def __init__(self, state_dir: Path, *, tries: int = TRIES) -> None:
        self._folder = NodeFolder(state_dir)
        self._path = self._folder.state / "standing.json"
        self._tries = tries

    def read(self) -> Standing:
        """What holds now."""
        return self._load()

    def begin(self) -> Installed | None:
        """What a node that starts serves; None when nothing is installed that it may serve.

        One that was not confirmed, or that the node died of while changing to it, counts a try
        first; after its last it is quarantined. Then, and when its files are gone, it is the last
        good one.
        """
        with self._locked():
            before = self._load()
            standing = self._tried(before)
            choices = (standing.active, standing.last_good)
            chosen = next((one for one in choices if one and self._usable(one, standing)), None)
            if chosen != standing.active and chosen is not None:
                standing = _told(standing, chosen, "went back", active=chosen, previous=None)
            after = _altered(standing, active=chosen, activating=None)
            with suppress(FolderUnusable):  # a full disk must not keep a node from serving
                self._save(before, after)
        return None if chosen is None else self._installed(chosen)

    def activating(self, snapshot_id: str) -> None:
        """The workers are about to be given this snapshot."""
        with self._changing() as change:
            change.standing = _altered(change.standing, activating=snapshot_id)

    def activated(self, snapshot_id: str) -> None:
        """All workers answer from it; saying so again changes nothing.

        Nor does it when that is quarantined: then the next start is with another one.
        """
        with self._changing() as change:
            standing = change.standing
            if snapshot_id in standing.quarantined:
                return
            if snapshot_id == standing.activating or snapshot_id != standing.active:
                tries = _without(standing.tries, snapshot_id)
                standing = _altered(standing, activating=None, tries=tries)
            if standing.active != snapshot_id:
                before = standing.active
                standing = _told(
                    standing, snapshot_id, "activated", active=snapshot_id, previous=before
                )
            change.standing = standing

    def not_activated(self, snapshot_id: str) -> None:
        """The workers are not given it now, which is no fault of its own."""
        with self._changing() as change:
            if change.standing.activating == snapshot_id:
                change.standing = _altered(change.standing, activating=None)

    def confirmed(self, snapshot_id: str) -> None:
        """What is active has been watched long enough: go back to it from now on."""
        with self._changing() as change:
            standing = change.standing
            if standing.active == snapshot_id and standing.last_good != snapshot_id:
                change.standing = _told(
                    standing,
                    snapshot_id,
                    "confirmed",
                    last_good=snapshot_id,
                    tries=_without(standing.tries, snapshot_id),
                )

    def quarantine(self, snapshot_id: str, reason: str) -> None:
        """Never serve it again unless it is forgotten; the next start is with the last good one."""
        with self._changing() as change:
            change.standing = self._back_from(_quarantined(change.standing, snapshot_id, reason))

    def forget(self, snapshot_id: str, reason: str) -> bool:
        """Lift a quarantine; False when there was none."""
        with self._changing() as change:
            standing = change.standing
            if snapshot_id not in standing.quarantined:
                return False
            change.standing = _told(
                standing,
                snapshot_id,
                "forgotten",
                reason,
                quarantined=_without(standing.quarantined, snapshot_id),
                tries=_without(standing.tries, snapshot_id),
            )
            return True

    def _tried(self, standing: Standing) -> Standing:
        """Count a start for what was not confirmed."""
        unconfirmed = None if standing.is_confirmed else standing.active
        for suspect in dict.fromkeys((standing.activating, unconfirmed)):
            if suspect is None or suspect in standing.quarantined:
                continue
            n_tries = standing.tries.get(suspect, 0) + 1
            standing = _altered(standing, tries={**standing.tries, suspect: n_tries})
            if n_tries > self._tries:
                reason = f"started {self._tries} times and never confirmed"
                standing = self._back_from(_quarantined(standing, suspect, reason))
        return standing

    def _back_from(self, standing: Standing) -> Standing:
        """Begin with the last good one next time, if what is active may not be served."""
        good = standing.last_good
        if standing.active in standing.quarantined and good and self._usable(good, standing):
            return _told(standing, good, "went back", active=good, previous=None)
        return standing

    def _usable(self, snapshot_id: str, standing: Standing) -> bool:
        return (
            snapshot_id not in standing.quarantined
            and self._folder.receipt_of(snapshot_id) is not None
        )

    def _installed(self, snapshot_id: str) -> Installed:
        return Installed(snapshot_id=snapshot_id, path=self._folder.snapshot(snapshot_id))

    @contextmanager
    def _changing(self) -> Iterator[_Change]:
        with self._locked():
            before = self._load()
            change = _Change(before)
            yield change
            self._save(before, change.standing)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.make()
        descriptor = os.open(self._folder.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _load(self) -> Standing:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Standing)
        except FileNotFoundError:
            return Standing()
        except OSError as problem:
            raise FolderUnusable(
                f"{self._path} cannot be read ({problem.strerror})",
                hint="let this user read and write the node's folder",
            ) from problem
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise FolderDamaged(
                f"{self._path} is not what was written ({problem})",
                hint="remove it: what is installed is served again once the channel was read",
            ) from problem

    def _save(self, before: Standing, after: Standing) -> None:
        if after == before:
            return
        text = msgspec.json.format(msgspec.json.encode(after), indent=1) + b"\n"
        try:
            replace_file(self._path, text)
        except OSError as problem:
            raise FolderUnusable(
                f"{self._path} could not be kept ({problem.strerror})",
                hint="make room on the disk; the state before still holds",
            ) from problem


@dataclass(slots=True)
class _Change:
    standing: Standing


def _quarantined(standing: Standing, snapshot_id: str, reason: str) -> Standing:
    if standing.activating == snapshot_id:
        standing = _altered(standing, activating=None)
    if snapshot_id in standing.quarantined:
        return standing  # the first reason is the one that led to the others
    kept = dict([*standing.quarantined.items(), (snapshot_id, reason)][-_MOST_QUARANTINED:])
    tries = _without(standing.tries, snapshot_id)
    return _told(standing, snapshot_id, "quarantined", reason, quarantined=kept, tries=tries)


def _told(
    standing: Standing,
    snapshot_id: str,
    what: Literal["activated", "confirmed", "went back", "quarantined", "forgotten"],
    reason: str = "",
    **changes: Any,
) -> Standing:
    """The standing after something happened, which becomes part of its history."""
    swap = Swap(at=moment_now(), snapshot_id=snapshot_id, what=what, reason=reason)
    return _altered(standing, history=[*standing.history, swap][-_MOST_SWAPS:], **changes)


def _altered(standing: Standing, **changes: Any) -> Standing:
    return msgspec.structs.replace(standing, **changes)


def _without(entries: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if key != name}
