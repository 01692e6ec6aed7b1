"""When each request is due: pure functions from a shape, a rate and a seed to moments.

Requests come as strangers do, independently of each other and of the answers (`poisson`), or as a
metronome has them (`even`), or exactly as orders came (`replayed`). The moments never depend on
how the server does: that is what makes a loop open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from index.wording import many

Arrivals: TypeAlias = Literal["poisson", "even"]
Ints: TypeAlias = NDArray[np.int64]
PARTS: Final = 10
"""A ramp and a replay have no steps of their own: their figures are cut into this many parts."""
_STEP: Final = 5.0
_SPIKE: Final = 10.0
_SPIKE_SHARE: Final = 0.1
MAX_REQUESTS: Final = 20_000_000
"""More than that, and memory is what is measured."""
_MINUTE_US: Final = 60_000_000
_SHORTEST_S: Final = 1e-9
_LONGEST_S: Final = 9e9


class ImpossibleSchedule(Exception):
    """Nobody could follow it: it holds no request, or more than memory does."""

    exit_code = 2
    hint = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a schedule that figures are cut by.

    Attributes:
        name: as reports have it.
        seconds: how long it is.
        from_rate: requests per second that are asked for where it begins.
        to_rate: the same where it ends; between them the rate is a straight line.
    """

    name: str
    seconds: float
    from_rate: float
    to_rate: float

    @property
    def expected(self) -> float:
        """Requests that it asks for on average."""
        return self.seconds * (self.from_rate + self.to_rate) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Moments, and the phase each belongs to.

    Attributes:
        phases: in their order.
        due_ns: int64, shape (requests,), rising: nanoseconds since the schedule began.
        phase: uint8, shape (requests,): numbers of phases.
    """

    phases: tuple[Phase, ...]
    due_ns: Ints
    phase: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.due_ns)

    @property
    def seconds(self) -> float:
        """From its begin to its end, which is later than the last request."""
        return sum(phase.seconds for phase in self.phases)


def constant(rate: float, seconds: float) -> tuple[Phase, ...]:
    """The same rate all the time.

    >>> [phase.expected for phase in constant(50, 20)]
    [1000.0]
    """
    return (Phase(name="constant", seconds=seconds, from_rate=rate, to_rate=rate),)


def ramp(rate: float, seconds: float) -> tuple[Phase, ...]:
    """From nothing up to a rate, in parts named after the rate each ends with.

    >>> [phase.name for phase in ramp(50, 20)][:3]
    ['to 5/s', 'to 10/s', 'to 15/s']
    """
    rates = [rate * part / PARTS for part in range(PARTS + 1)]
    return tuple(
        Phase(name=f"to {end:g}/s", seconds=seconds / PARTS, from_rate=begin, to_rate=end)
        for begin, end in pairwise(rates)
    )


def step(rate: float, seconds: float) -> tuple[Phase, ...]:
    """A third at the rate, a third at five times the rate, and a third as before.

    >>> [(phase.name, phase.expected) for phase in step(10, 30)]
    [('1×', 100.0), ('5×', 500.0), ('1× again', 100.0)]
    """
    return _levels(rate, (("1×", 1.0), ("5×", _STEP), ("1× again", 1.0)), [seconds / 3] * 3)


def spike(rate: float, seconds: float) -> tuple[Phase, ...]:
    """Ten times the rate for a tenth of the time, in the middle.

    >>> [(phase.name, phase.seconds) for phase in spike(10, 20)]
    [('before', 9.0), ('spike', 2.0), ('after', 9.0)]
    """
    short = seconds * _SPIKE_SHARE
    around = (seconds - short) / 2
    levels = (("before", 1.0), ("spike", _SPIKE), ("after", 1.0))
    return _levels(rate, levels, [around, short, around])


SHAPES: Final = {"constant": constant, "ramp": ramp, "step": step, "spike": spike}


def scheduled(phases: Sequence[Phase], arrivals: Arrivals, seed: int) -> Schedule:
    """Moments for phases: a draw that only the seed decides.

    Args:
        phases: at least one.
        arrivals: `poisson` draws gaps, so numbers of requests differ from what is expected;
            `even` puts request k where the k-th plus a half is expected.
        seed: of the draw.

    Raises:
        ImpossibleSchedule: no request falls into it, or too many do.
    """
    ends = np.cumsum([phase.expected for phase in phases])
    total = float(ends[-1])
    if not 0 < total <= MAX_REQUESTS:
        raise ImpossibleSchedule(
            f"the schedule asks for {total:,.0f} requests, expected 1 to {MAX_REQUESTS:,}"
        )
    if arrivals == "even":
        # A request of a count that is whole but for rounding must not get lost.
        expected = np.arange(0.5, total + 1e-9, 1.0)
    else:
        rng = np.random.default_rng(seed)
        expected = np.sort(rng.uniform(0.0, total, rng.poisson(total)))
    if not len(expected):
        raise ImpossibleSchedule(f"no request falls into {sum(p.seconds for p in phases):g} s")
    number = np.minimum(np.searchsorted(ends, expected, side="right"), len(phases) - 1)
    seconds = _moments(phases, number, expected - np.concatenate([[0.0], ends])[number])
    return Schedule(
        phases=tuple(phases),
        due_ns=np.maximum.accumulate((seconds * 1e9).astype(np.int64)),
        phase=number.astype(np.uint8),
    )


def replayed(ts_us: Ints, speed: float) -> Schedule:
    """Orders as they came, with their gaps, their bursts and their nights.

    Args:
        ts_us: int64, rising: moments of the orders, microseconds since 1970.
        speed: seconds of the shop's time that pass in one of ours; 1 is real time.

    Returns:
        A schedule in ten parts of the same length, each named after the shop's moment it begins.

    Raises:
        ImpossibleSchedule: there are no orders, all have the same moment, or at that speed nobody
            could follow.
    """
    span_us = int(ts_us[-1] - ts_us[0]) if len(ts_us) else 0
    if span_us <= 0:
        told = many(len(ts_us), "order")
        raise ImpossibleSchedule(f"{told} at one moment: no course to replay")
    if not (speed > 0 and _SHORTEST_S <= span_us / 1e6 / speed <= _LONGEST_S):
        raise ImpossibleSchedule(
            f"{span_us / 1e6:g} s of orders can't be replayed at {speed:g} times their speed:"
            f" expected {_SHORTEST_S:g} to {_LONGEST_S:g} s in all; give another --speed or --scale"
        )
    since_us = ts_us - ts_us[0]
    edges_us = np.linspace(0, span_us, PARTS + 1)
    number = np.minimum(np.searchsorted(edges_us, since_us, side="right") - 1, PARTS - 1)
    seconds = span_us / 1e6 / speed / PARTS
    rates = np.bincount(number, minlength=PARTS) / seconds
    begins = [datetime.fromtimestamp((int(ts_us[0]) + e) / 1e6, UTC) for e in edges_us[:-1]]
    # As fine as it takes to tell parts apart: their names are what figures stand under.
    fineness = "minutes" if span_us >= PARTS * _MINUTE_US else "milliseconds"
    names = [at.replace(tzinfo=None).isoformat(timespec=fineness) for at in begins]
    return Schedule(
        phases=tuple(
            Phase(name=name, seconds=seconds, from_rate=rate, to_rate=rate)
            for name, rate in zip(names, rates.tolist(), strict=True)
        ),
        due_ns=np.round(since_us * (1000.0 / speed)).astype(np.int64),
        phase=number.astype(np.uint8),
    )


def speed_for(ts_us: Ints, per_day: float) -> float:
    """The speed at which orders come as `per_day` a day on average.

    >>> day_us = 86_400_000_000
    >>> speed_for(np.arange(101) * (day_us // 100), 1000.0)
    10.0
    """
    span_us = int(ts_us[-1] - ts_us[0]) if len(ts_us) else 0
    if span_us <= 0:
        raise ImpossibleSchedule(f"{many(len(ts_us), 'order')} at one moment: no daily volume")
    return per_day * (span_us / 86_400e6) / (len(ts_us) - 1)


def _levels(
    rate: float, levels: Sequence[tuple[str, float]], seconds: Sequence[float]
) -> tuple[Phase, ...]:
    return tuple(
        Phase(name=name, seconds=length, from_rate=rate * times, to_rate=rate * times)
        for (name, times), length in zip(levels, seconds, strict=True)
    )


def _moments(
    phases: Sequence[Phase], number: NDArray[np.intp], expected: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds at which so many requests of a phase are expected to have come.

    With the rate r₀ + s·t, r₀t + s·t²/2 have come by t; the root is written so that it holds for
    s = 0 as well.
    """
    seconds = np.array([phase.seconds for phase in phases])
    first = np.array([phase.from_rate for phase in phases])
    slope = np.array([phase.to_rate - phase.from_rate for phase in phases]) / seconds
    begins = np.concatenate([[0.0], np.cumsum(seconds)])
    root = np.sqrt(np.maximum(first[number] ** 2 + 2 * slope[number] * expected, 0.0))
    since = 2 * expected / np.maximum(first[number] + root, 1e-300)
    moments: NDArray[np.float64] = begins[number] + np.minimum(since, seconds[number])
    return moments
