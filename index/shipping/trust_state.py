"""The file a node remembers its trust in.

One file, replaced whole, so that a killed node wakes up with the state before or after, never
between. It is read anew for each step under a lock: nothing is kept in memory that could differ.

Its first line is the hex SHA-256 of the rest, which is JSON: a damaged epoch must not pass for one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from index.shipping.durable import replace_file
from index.shipping.trust_errors import TrustStateDamaged, TrustStateUnusable


class Floor(Struct, frozen=True, kw_only=True):
    """How far one channel, or one overlay, has come.

    Attributes:
        epoch: the highest accepted; an overlay's sequence.
        sha256: hex digest of that document's payload.
        release_keys: ids of the keys that could sign it then (for an overlay, keys of its own
            role); when one of them is no longer trusted, the floor is not either.
        envelope: the document itself.
    """

    epoch: int
    sha256: str
    release_keys: list[str]
    envelope: bytes


class State(Struct, frozen=True, kw_only=True):
    """What a node remembers.

    Attributes:
        root: envelope of the root in use; None where nobody vouches for anything.
        floors: of channels, by `<brand>/<channel>`.
        overlays: of overlays, likewise.
    """

    root: bytes | None
    floors: dict[str, Floor] = field(default_factory=dict)
    overlays: dict[str, Floor] = field(default_factory=dict)


_STATE: Final = msgspec.json.Decoder(State)


class StateFile:
    """The file; its folder is made when it does not exist, and processes of a host may share it.

    Args:
        path: the file; only the node's own user should write to its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[State]:
        """The state, while no other process can change it.

        Raises:
            TrustStateUnusable: folder or file cannot be read.
            TrustStateDamaged: it is not what was written.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as problem:
            raise TrustStateUnusable(
                f"is no folder for what this node trusts ({problem.strerror})",
                path=folder,
                hint="give a folder that this user can write to",
            ) from problem
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._load()
        finally:
            os.close(descriptor)

    def save(self, state: State) -> None:
        """Replace the state; call it under the lock. When it returns, a power cut changes nothing.

        Raises:
            TrustStateUnusable: disk full or not writable; the old state stands.
        """
        body = msgspec.json.encode(state)
        try:
            replace_file(self.path, _seal(body) + b"\n" + body)
        except OSError as problem:
            raise TrustStateUnusable(
                f"what this node trusts could not be kept ({problem.strerror})",
                path=self.path,
                hint="make room on the disk; nothing was accepted",
            ) from problem

    def _load(self) -> State:
        try:
            seal, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return State(root=None)
        except OSError as problem:
            raise TrustStateUnusable(
                f"cannot be read ({problem.strerror})",
                path=self.path,
                hint="let this user read and write it",
            ) from problem
        if seal != _seal(body):
            raise TrustStateDamaged(
                "the record of root and epochs is not what was written: its own digest differs",
                path=self.path,
                hint="remove it and give the root of installation again; "
                "until then this node cannot tell old channel documents from new ones",
            )
        return _STATE.decode(body)


def _seal(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
