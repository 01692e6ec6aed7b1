"""What was measured, request by request, and the two ways to read it.

*Latency* counts from the moment a request was due: it is what a shopper waits. *Service time*
counts from the moment it was sent, as a closed loop has it: of a server that stalls it shows only
the requests that were under way, and none of those that would have come meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from bench.http_answers import LOST
from bench.load.driver import GARBLED, NEVER, REFUSED, TIMED_OUT, Trace
from bench.load.schedule import Ints, Phase, Schedule

_FAILURES: Final = {
    LOST: "lost",
    TIMED_OUT: "timed out",
    REFUSED: "refused",
    GARBLED: "garbled",
}
_LONGEST_NS: Final = 3_600_000_000_000
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One row per request, in the order they were due; nanoseconds since the begin.

    Attributes:
        phases: of the schedule.
        phase: uint8, numbers of phases.
        kinds: names of the kinds of request.
        kind: uint8, numbers of kinds.
        due_ns: int64, see `driver.Work`.
        taken_ns: int64, see `driver.Trace`, as the next four.
        sent_ns: int64.
        done_ns: int64.
        read_ns: int64.
        statuses: int64.
    """

    phases: tuple[Phase, ...]
    phase: NDArray[np.uint8]
    kinds: tuple[str, ...]
    kind: NDArray[np.uint8]
    due_ns: Ints
    taken_ns: Ints
    sent_ns: Ints
    done_ns: Ints
    read_ns: Ints
    statuses: Ints

    @property
    def good(self) -> NDArray[np.bool_]:
        """Answers with status 200."""
        return np.equal(self.statuses, 200)

    @property
    def timed(self) -> NDArray[np.bool_]:
        """Requests whose wait is known: good answers, and those given up, who waited even longer.

        Other failures come back at once, and would flatter a service that refuses.
        """
        return np.isin(self.statuses, (200, TIMED_OUT))

    @property
    def latency_ns(self) -> Ints:
        """From the moment each was due."""
        return self.done_ns - self.due_ns

    @property
    def service_ns(self) -> Ints:
        """From the moment each was sent; of one that never was, 0."""
        return np.where(self.sent_ns == NEVER, 0, self.done_ns - self.sent_ns)

    @property
    def lag_ns(self) -> Ints:
        """How late the driver got to each."""
        return self.taken_ns - self.due_ns

    def arrays(self) -> Mapping[str, Ints]:
        """The raw samples, to be kept."""
        return {
            "phase": self.phase.astype(np.int64),
            "kind": self.kind.astype(np.int64),
            "due_ns": self.due_ns,
            "taken_ns": self.taken_ns,
            "sent_ns": self.sent_ns,
            "done_ns": self.done_ns,
            "read_ns": self.read_ns,
            "statuses": self.statuses,
        }


def gathered(
    schedule: Schedule,
    kinds: tuple[str, ...],
    kind: NDArray[np.uint8],
    traces: Sequence[Trace],
) -> Samples:
    """Samples from traces: of D drivers, driver d had the requests d, d + D, d + 2·D and so on."""

    def merged(name: str) -> Ints:
        values: Ints = np.empty(len(schedule), dtype=np.int64)
        for first, trace in enumerate(traces):
            values[first :: len(traces)] = getattr(trace, name)
        return values

    return Samples(
        phases=schedule.phases,
        phase=schedule.phase,
        kinds=kinds,
        kind=kind,
        due_ns=schedule.due_ns,
        taken_ns=merged("taken_ns"),
        sent_ns=merged("sent_ns"),
        done_ns=merged("done_ns"),
        read_ns=merged("read_ns"),
        statuses=merged("statuses"),
    )


def histogram(nanoseconds: Ints) -> HdrHistogram:
    """An HdrHistogram of nanoseconds, to three digits, up to an hour."""
    counts = HdrHistogram(1, _LONGEST_NS, _DIGITS)
    values, times = np.unique(np.clip(nanoseconds, 1, _LONGEST_NS), return_counts=True)
    for value, count in zip(values.tolist(), times.tolist(), strict=True):
        counts.record_value(value, count)
    return counts


def encoded(nanoseconds: Ints) -> str:
    """The histogram as text, as every HdrHistogram library reads it (V2, compressed, base 64)."""
    text: bytes = histogram(nanoseconds).encode()
    return text.decode()


def in_words(failed: Mapping[str, int]) -> str:
    """What `failures` found, as people are told.

    >>> in_words({"timed out": 1, "503": 2650})
    '1 × timed out, 2,650 × 503'
    """
    return ", ".join(f"{count:,} × {name}" for name, count in failed.items())


def failures(statuses: Ints) -> dict[str, int]:
    """How many requests had no good answer, by HTTP status or by what happened instead.

    >>> failures(np.array([200, 503, TIMED_OUT, 503]))
    {'timed out': 1, '503': 2}
    """
    values, counts = np.unique(statuses[statuses != 200], return_counts=True)
    return {
        _FAILURES.get(value, str(value)): count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }
