"""Why an edge does not start, or does not go on.

EdgeError
├── SettingsRefused   settings that are wrong or contradict each other → correct them    (exit 2)
├── AddressTaken      somebody else listens there                      → another port    (exit 2)
├── WorkerRefused     a worker could not begin, with the snapshot say  → see the cause   (exit 2-4)
└── WorkersDied       workers die again and again                      → see their logs  (exit 1)

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
