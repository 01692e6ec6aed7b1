"""What the sync process says of itself: to the supervisor always, to the log when it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from edge.node.failures import Failure
from edge.node.line import Line
from edge.node.messages import SyncState

_log = structlog.get_logger()


class Report:
    """The state as the supervisor knows it.

    Args:
        line: the pipe to the supervisor.
        state: how things stand at the start.
    """

    def __init__(self, line: Line, state: SyncState) -> None:
        self._line = line
        self.state = state
        self._failure: Failure | None = None
        line.send(state)

    def tell(self, **changes: Any) -> None:
        """Say what has changed; nothing is said when nothing has.

        Raises:
            LineClosed: nobody hears it.
        """
        state = replace(self.state, **changes)
        if state != self.state:
            self._line.send(state)
            self.state = state

    def enter(self, phase: str) -> None:
        """Say what is being done now, in one word."""
        self.tell(phase=phase)

    def fail(self, failure: Failure | None) -> None:
        """Say why updating does not go on; None when it does. Logged once per change."""
        if failure is None and self._failure is not None:
            _log.info("updating again", after=self._failure.word)
        elif failure is not None and failure != self._failure:
            _log.warning(
                "not updating", failure=failure.word, detail=failure.detail, hint=failure.hint
            )
        self._failure = failure
        word, detail = (failure.word, failure.detail) if failure else (None, None)
        self.tell(failure=word, detail=detail)
