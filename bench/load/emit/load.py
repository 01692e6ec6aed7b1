"""What is to be sent, whoever sends it, and the one reason why a tool can't be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.load.schedule import Ints, Phase, Schedule
from bench.load.target import Target

HEADERS: Final = {"Content-Type": "application/json", "Accept": "*/*"}


class NotForTool(Exception):
    """A tool takes whole numbers where the load has others, and would send something else."""

    exit_code = 2

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be sent.

    Attributes:
        target: whom to ask.
        schedule: when.
        bodies: JSON without line breaks.
        which: int64, shape (requests,): numbers of bodies, as they are sent.
        connections: as many as the driver would have.
        timeout_ms: a request is given up so long after it was sent.
        stays: connections stay; else each request has its own.
    """

    target: Target
    schedule: Schedule
    bodies: Sequence[bytes]
    which: Ints
    connections: int
    timeout_ms: int
    stays: bool = True

    def sent(self) -> list[bytes]:
        """Bodies, as they are sent."""
        return [self.bodies[number] for number in self.which.tolist()]

    def by_phase(self) -> Iterator[tuple[int, Phase, list[bytes]]]:
        """Phases in which something is sent, with their numbers and what is sent."""
        sent = self.sent()
        for number, phase in enumerate(self.schedule.phases):
            places = np.flatnonzero(self.schedule.phase == number).tolist()
            if places:
                yield number, phase, [sent[place] for place in places]

    def lengths_ms(self) -> list[int]:
        """Length of each phase in whole milliseconds, which all add up to the schedule's.

        Raises:
            NotForTool: a phase is shorter than that.
        """
        ends_s = np.cumsum([phase.seconds for phase in self.schedule.phases])
        lengths_ms: list[int] = np.diff(np.round(ends_s * 1000), prepend=0).astype(int).tolist()
        if not all(lengths_ms):
            raise NotForTool(
                f"a phase of {min(phase.seconds for phase in self.schedule.phases):g} s is shorter"
                " than the millisecond that other tools count in",
                hint="give more --seconds, or a replay a lower --speed",
            )
        return lengths_ms
