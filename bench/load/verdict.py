"""Whether figures may be believed: a driver that was late itself says nothing about a service.

Nor do requests that nobody answered: what they waited for is not how long a service takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load.drive import Host
from bench.load.driver import NEVER, Trace
from bench.load.samples import Samples, failures, in_words
from bench.load.schedule import Phase
from index.wording import many

LATE_NS: Final = 1_000_000
"""A request that the driver got to so long after it was due is late."""
LATE_SHARE: Final = 0.01
"""More late requests than this, and the 99th percentile could be the driver's own."""
FEW: Final = round(1 / LATE_SHARE)
"""Of fewer requests a single late one is more than that."""
BUSY_SHARE: Final = 0.8
"""A driver busier than this has no room for what comes at once."""
FULL_SHARE: Final = 0.95
"""One busier than this throughout a phase could not have asked for more: the phase was its own.
With a little room it makes a service look slower than it is, never faster."""
STOLEN_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the service was measured, or something else.

    Attributes:
        is_trusted: whether driver and machine kept up, so that it was the service.
        reasons: sentences that say why not; none where it was.
        remarks: sentences that a reader of the figures should know anyway.
        n_requests: that were due.
        failed: how many of them had no good answer, by what came instead.
    """

    is_trusted: bool
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]
    n_requests: int
    failed: Mapping[str, int]

    @property
    def n_answered(self) -> int:
        """Requests that had a good answer."""
        return self.n_requests - sum(self.failed.values())

    @property
    def is_given(self) -> bool:
        """Whether there is a verdict at all: the driver kept up, and something was answered."""
        return self.is_trusted and self.n_answered > 0

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        if not self.n_answered:
            asked = many(self.n_requests, "request")
            return f"none of {asked} was answered, no verdict: {self._told}"
        whole = "the driver kept its schedule: latencies are the service's"
        if not self.is_trusted:
            whole = f"the driver was the bottleneck, no verdict: {'; '.join(self.reasons)}"
        if not self.failed:
            return whole
        return f"{whole}; {self.n_answered:,} of {self.n_requests:,} answered ({self._told})"

    @property
    def _told(self) -> str:
        return in_words(self.failed)


def verdict_on(samples: Samples, traces: Sequence[Trace], host: Host) -> Verdict:
    """Judge a run by its driver and its machine, phase by phase."""
    reasons = [*_late_phases(samples), *_busy_drivers(samples, traces)]
    if host.stolen_share > STOLEN_SHARE:
        reasons.append(
            f"the host gave {_above(host.stolen_share, STOLEN_SHARE)} of the processors to other"
            " machines"
            f" (at most {STOLEN_SHARE:.0%})"
        )
    return Verdict(
        is_trusted=not reasons,
        reasons=tuple(reasons),
        remarks=tuple(_remarks(samples)),
        n_requests=len(samples.statuses),
        failed=failures(samples.statuses),
    )


def is_late(samples: Samples) -> NDArray[np.bool_]:
    """Which requests the driver got to late."""
    return np.greater(samples.lag_ns, LATE_NS)


def has_waited(samples: Samples) -> NDArray[np.bool_]:
    """Which requests waited for a connection, or never got one."""
    waited_ns = samples.sent_ns - samples.taken_ns
    waited: NDArray[np.bool_] = (samples.sent_ns == NEVER) | (waited_ns > LATE_NS)
    return waited


def _late_phases(samples: Samples) -> list[str]:
    """Phases whose requests were late.

    Those of a few requests, where one is a large share of them, are looked at together.
    """
    late = is_late(samples)
    counts = np.bincount(samples.phase, minlength=len(samples.phases))
    is_small = counts < FEW
    parts = [
        (f"phase {phase.name}", samples.phase == number)
        for number, phase in enumerate(samples.phases)
        if not is_small[number]
    ]
    parts.append((f"phases of less than {FEW} requests", is_small[samples.phase]))
    found = []
    for name, inside in parts:
        share = float(late[inside].mean()) if inside.any() else 0.0
        if share > LATE_SHARE:
            found.append(
                f"in {name} it got to {_above(share, LATE_SHARE, 1)} of the requests more than"
                f" {LATE_NS / 1e6:g} ms late (at most {LATE_SHARE:.0%})"
            )
    return found


def _busy_drivers(samples: Samples, traces: Sequence[Trace]) -> list[str]:
    """Drivers that were busy for too much of their time, or of a phase.

    One that has no room in a spike has enough in all, and may take each request in time yet send it
    late, since its own answers keep all connections.
    """
    found = []
    for number, trace in enumerate(traces):
        shares = {"its time": (trace.busy_ns / trace.wall_ns, BUSY_SHARE)}
        by_phase = _busy_by_phase(samples.phases, samples.phase[number :: len(traces)], trace)
        shares |= {f"phase {name}": (share, FULL_SHARE) for name, share in by_phase.items()}
        found += [
            f"driver {number + 1} was busy for {_above(share, most)} of {when} (at most {most:.0%})"
            for when, (share, most) in shares.items()
            if share > most
        ]
    return found


def _busy_by_phase(
    phases: Sequence[Phase], phase: NDArray[np.uint8], trace: Trace
) -> dict[str, float]:
    """How busy a driver was from a phase's first request to the next one's, or to the last of all.

    Not of phases of a few requests, which are over too soon to tell.
    """
    edges = np.searchsorted(phase, np.arange(len(phases) + 1)).tolist()
    found = {}
    for one, (begin, end) in zip(phases, pairwise(edges), strict=True):
        if end - begin < FEW:
            continue
        until = min(end, len(phase) - 1)
        span_ns = int(trace.taken_ns[until] - trace.taken_ns[begin])
        idle_ns = int(trace.idle_ns[until] - trace.idle_ns[begin])
        found[one.name] = 1 - idle_ns / span_ns
    return found


def _above(share: float, most: float, digits: int = 0) -> str:
    """A share that is more than it may be, with as many digits as it takes to show that.

    >>> _above(0.0151, 0.01, 1), _above(0.010004, 0.01, 1), _above(0.81, 0.8)
    ('1.5%', '1.0004%', '81%')
    """
    while (told := f"{share:.{digits}%}") == f"{most:.{digits}%}":
        digits += 1
    return told


def _remarks(samples: Samples) -> list[str]:
    n_waited = int(np.count_nonzero(has_waited(samples)))
    if not n_waited:
        return []
    they = "it" if n_waited == 1 else "they"
    remark = (
        f"{many(n_waited, 'request')} waited for one of the connections, as in a client's pool;"
        f" with more connections {they} would have waited inside the service"
    )
    return [remark]
