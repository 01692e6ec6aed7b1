"""Why an edge does not start, or does not go on.

EdgeError
├── SettingsRefused   settings that are wrong or contradict each other → correct them    (exit 2)
├── TooFewFiles       the system grants next to no open files          → raise the limit (exit 2)
├── AddressTaken      somebody else listens there                      → another port    (exit 2)
├── WorkerRefused     a worker could not begin; the exit code is its own → see the cause
├── WorkersDied       workers die again and again                      → see their logs  (exit 1)
└── of a node that follows a channel
    ├── NoNode          no node keeps its folder there                 → another folder  (exit 4)
    ├── FolderUnusable  its folder can't be read or written            → rights, disk    (exit 75)
    ├── FolderDamaged   its record is not what was written             → see the hint    (exit 3)
    ├── FolderBusy      another process looks after the folder         → one per folder  (exit 6)
    ├── Unfit           a snapshot this machine or software can't use  → upgrade, memory (exit 3)
    ├── NotProved       a snapshot that failed in its trial            → publish another (exit 3)
    └── Contradiction   an installed snapshot, told otherwise          → see the hint    (exit 3)

What can be wrong with a request is no error of the edge; see `edge.problems`.
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base of the floor's errors: one sentence, what to do about it, and how the process ends.

    Args:
        what: what was expected and what was found.
        hint: what a person can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


class SettingsRefused(EdgeError):
    """One or more settings can't be used; the sentence names all of them."""

    exit_code = 2


class TooFewFiles(EdgeError):
    """A process may open so few files here that it can't answer."""

    exit_code = 2


class AddressTaken(EdgeError):
    """A listener's address can't be had."""

    exit_code = 2


class WorkerRefused(EdgeError):
    """A worker met an error before it answered; ends the process as meeting it here would have."""

    def __init__(self, what: str, *, hint: str | None, exit_code: int) -> None:
        super().__init__(what, hint=hint)
        self.exit_code = exit_code


class WorkersDied(EdgeError):
    """Workers died so often in a row that starting more of them helps nobody."""


class NoNode(EdgeError):
    """A folder that no node ever kept, or a snapshot it does not know."""

    exit_code = 4


class FolderUnusable(EdgeError):
    """A node's folder can't be read or written: rights, a full disk, no folder at all."""

    exit_code = 75


class FolderDamaged(EdgeError):
    """What a node remembers of itself is not what was written."""

    exit_code = 3


class FolderBusy(EdgeError):
    """Another process looks after the same folder."""

    exit_code = 6


class Unfit(EdgeError):
    """A snapshot that may be good elsewhere: too large here, or without what its trial needs."""

    exit_code = 3


class NotProved(EdgeError):
    """A snapshot that failed when a process of its own opened it and asked its golden decisions."""

    exit_code = 3


class Contradiction(EdgeError):
    """A snapshot that is installed, and that the channel now describes otherwise."""

    exit_code = 3
