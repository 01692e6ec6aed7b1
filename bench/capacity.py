"""From microseconds of one core per decision to cores, nodes, and what a fleet does at its peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from math import ceil
from typing import Any, Final

import numpy as np

from bench.load.schedule import MAX_REQUESTS, Phase, scheduled
from bench.percentiles import percentiles_us
from bench.simulate import BALANCERS, Balancer, Fleet, Seconds, ServiceTimes, Trouble, simulate

PEAK: Final = 5.0
"""A peak's rate in that of the mean."""
UTILISATION: Final = 0.6
"""How busy workers may be at the peak: beyond that, queues grow faster than traffic."""
SPARE_NODES: Final = 1
MONTH_S: Final = 30 * 86_400
YEAR_S: Final = 365 * 86_400
_REHEARSED_S: Final = 10.0
_REHEARSED_AT_LEAST: Final = 40_000
PARTS: Final = ("calm", "peak", "a node lost", "noticed", "swap", "after")
_SHARES: Final = (0.2, 0.2, 0.1, 0.2, 0.1, 0.2)
"""How long each part of a rehearsal is; the node that is lost stays lost."""
_LOST: Final = PARTS.index("a node lost")


class ImpossibleRehearsal(Exception):
    """Nobody could simulate it: there are more requests than memory holds."""

    exit_code = 2
    hint = "give a lower --peak, or a shorter --notice-s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """How much is asked.

    Attributes:
        name: as reports have it.
        mean_per_s: requests per second on average.
        peak_per_s: requests per second at the peak.
    """

    name: str
    mean_per_s: float
    peak_per_s: float


def volume_at(peak_per_s: float) -> Volume:
    """A volume by its peak.

    >>> volume_at(5000.0)
    Volume(name='5,000 a second at the peak', mean_per_s=1000.0, peak_per_s=5000.0)
    """
    return Volume(
        name=f"{peak_per_s:,.10g} a second at the peak",
        mean_per_s=peak_per_s / PEAK,
        peak_per_s=peak_per_s,
    )


VOLUMES: Final = (
    Volume(
        name="10 million a month, peak 5 ×",
        mean_per_s=10e6 / MONTH_S,
        peak_per_s=PEAK * 10e6 / MONTH_S,
    ),
    Volume(
        name="1 billion a year, peak 5 ×",
        mean_per_s=1e9 / YEAR_S,
        peak_per_s=PEAK * 1e9 / YEAR_S,
    ),
    volume_at(1e5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a volume needs.

    Attributes:
        cores: kept busy all the time at the peak, where requests wait for each other.
        cores_alone: the same if every request came alone and had to wake a worker; the truth is
            between the two.
        workers: so that none is busier than `UTILISATION` at the peak.
        nodes: of so many workers each, with one more that may be lost.
    """

    cores: float
    cores_alone: float
    workers: int
    nodes: int


def need(volume: Volume, times: ServiceTimes, workers_per_node: int) -> Need:
    """The arithmetic.

    Args:
        volume: how much is asked.
        times: measured.
        workers_per_node: one a core.
    """
    cores = volume.peak_per_s * times.crowded_s
    # Rounded first: 1.2 / 0.6 is a hair more than 2.
    workers = max(ceil(round(cores / UTILISATION, 6)), 1)
    return Need(
        cores=cores,
        cores_alone=volume.peak_per_s * float(times.alone_s.mean()),
        workers=workers,
        nodes=ceil(workers / workers_per_node) + SPARE_NODES,
    )


def part_ends_s(volume: Volume, noticed_s: float) -> list[float]:
    """When each part of a rehearsal ends, in seconds since it began.

    Args:
        volume: how much is asked.
        noticed_s: the part in which a node is lost and the balancer does not know is as long.

    Raises:
        ImpossibleRehearsal: there would be too many requests.
    """
    seconds = max(_REHEARSED_S, _REHEARSED_AT_LEAST / volume.peak_per_s)
    lengths_s = [seconds * share for share in _SHARES]
    lengths_s[_LOST] = max(lengths_s[_LOST], noticed_s)
    ends_s = list(accumulate(lengths_s))
    n = volume.mean_per_s * ends_s[0] + volume.peak_per_s * (ends_s[-1] - ends_s[0])
    if n > MAX_REQUESTS:
        raise ImpossibleRehearsal(
            f"{volume.name}, and {noticed_s:g} s until a lost node is noticed: a rehearsal of that"
            f" has {n:,.0f} requests, at most {MAX_REQUESTS:,} can be simulated"
        )
    return ends_s


def rehearsal(
    volume: Volume,
    times: ServiceTimes,
    *,
    workers_per_node: int,
    noticed_s: float,
    swap_s: float,
    seed: int,
) -> dict[str, Any]:
    """A calm spell, the peak, a node lost in it, and a swap on those that are left.

    Args:
        volume: how much is asked.
        times: measured.
        workers_per_node: one a core.
        noticed_s: how long the balancer goes on sending to the lost node; the part in which it does
            is as long, where it would be shorter.
        swap_s: how long each worker answers nothing while it changes over.
        seed: of all draws.

    Returns:
        `need`, and by balancer and part: requests, lost ones, and percentiles.

    Raises:
        ImpossibleRehearsal: see `part_ends_s`.
    """
    needed = need(volume, times, workers_per_node)
    ends_s = part_ends_s(volume, noticed_s)
    calm, rest = ends_s[0], ends_s[-1] - ends_s[0]
    mean, peak = volume.mean_per_s, volume.peak_per_s
    schedule = scheduled(
        (
            Phase(name="calm", seconds=calm, from_rate=mean, to_rate=mean),
            Phase(name="peak", seconds=rest, from_rate=peak, to_rate=peak),
        ),
        "poisson",
        seed,
    )
    arrivals_s: Seconds = schedule.due_ns / 1e9
    trouble = Trouble(
        lost_at_s=ends_s[1],
        noticed_s=noticed_s,
        swap_at_s=ends_s[3],
        swap_s=swap_s,
    )
    return {
        "volume": asdict(volume),
        "need": asdict(needed),
        "seconds": ends_s[-1],
        "trouble": asdict(trouble),
        "balancers": {
            balancer: _parts(
                Fleet(nodes=needed.nodes, workers=workers_per_node, balancer=balancer),
                arrivals_s,
                times,
                trouble,
                ends_s=ends_s,
                seed=seed,
            )
            for balancer in BALANCERS
        },
    }


def latency_percentiles(latency_s: Seconds) -> dict[str, float | None]:
    """Percentiles of the answered ones, in microseconds; see `samples.percentiles_us`."""
    answered = latency_s[~np.isnan(latency_s)]
    return percentiles_us(np.round(answered * 1e9).astype(np.int64))


def balanced(
    balancer: Balancer, workers: int, arrivals_s: Seconds, times: ServiceTimes, *, seed: int
) -> dict[str, Any]:
    """One node without trouble: percentiles, and processor time of a request."""
    fleet = Fleet(nodes=1, workers=workers, balancer=balancer)
    outcome = simulate(fleet, arrivals_s, times, seed=seed)
    return {
        **latency_percentiles(outcome.latency_s),
        "cpu_us": float(outcome.busy_s.sum()) / len(arrivals_s) * 1e6,
    }


def _parts(
    fleet: Fleet,
    arrivals_s: Seconds,
    times: ServiceTimes,
    trouble: Trouble,
    *,
    ends_s: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    outcome = simulate(fleet, arrivals_s, times, seed=seed, trouble=trouble)
    edges = np.searchsorted(arrivals_s, [0.0, *ends_s])
    found = {}
    for name, begin, end in zip(PARTS, edges, edges[1:], strict=False):
        latency_s = outcome.latency_s[begin:end]
        found[name] = {
            "requests": len(latency_s),
            "lost": int(np.count_nonzero(np.isnan(latency_s))),
            **latency_percentiles(latency_s),
        }
    return found
