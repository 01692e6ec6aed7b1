"""Services at the same rate, in an open loop: how long a request waits at each of them.

A closed loop tells what a request costs, not how long it waits among others that come when they
like. Here all contenders are sent requests at moments that were fixed before (`bench.load`); those
that are made for fewer get a tenth of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bench.load.samples import Samples
from bench.load.schedule import Ints, Schedule, constant
from bench.load.verdict import LATE_SHARE, is_late
from bench.percentiles import as_cell, percentiles_us

NO_ANSWER: Final = -1
"""In place of a wait: it failed."""
_WAITS: Final = ("p50_us", "p99_us", "p99.9_us", "max_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTurn:
    """What one service met while requests came at a rate.

    Attributes:
        row: contender and server.
        rate: requests a second.
        samples: what became of each request.
        cpu_ns: processor time of the service's own processes, and of Redis where it asks it.
        driver_cpu_ns: processor time of the driver.
    """

    row: str
    rate: float
    samples: Samples
    cpu_ns: int
    driver_cpu_ns: int

    @property
    def waits_ns(self) -> Ints:
        """How long each waited since it was due; `NO_ANSWER` where that is not known."""
        return np.where(self.samples.timed, self.samples.latency_ns, NO_ANSWER)


def per_answer_us(cpu_ns: int, n_good: int) -> float | None:
    """Processor time per good answer, in microseconds; None where there was none."""
    return round(cpu_ns / n_good / 1000, 2) if n_good else None


def so_many(rate: float, n: int, *, seed: int) -> Schedule:
    """When just `n` requests are due that come independently of each other.

    Given how many they are, the moments of a Poisson process are as if drawn evenly.
    """
    seconds = np.random.default_rng(seed).uniform(0.0, n / rate, n)
    return Schedule(
        phases=constant(rate, n / rate),
        due_ns=np.sort((seconds * 1e9).astype(np.int64)),
        phase=np.zeros(n, dtype=np.uint8),
    )


def open_samples(turns: Sequence[OpenTurn]) -> dict[str, Ints]:
    """Raw nanoseconds by row: how long requests waited, and how late the driver was."""
    found = {}
    for row, those in _by_row(turns).items():
        found[f"{row} open"] = np.concatenate([turn.waits_ns for turn in those])
        found[f"{row} open lag"] = np.concatenate([turn.samples.lag_ns for turn in those])
    return found


def open_figures(turns: Sequence[OpenTurn]) -> dict[str, dict[str, Any]]:
    """By row: the rate, what a request cost, errors, and percentiles of the waits.

    There are none where the driver was late too often: they would be its own.
    """
    return {row: _figures(those) for row, those in _by_row(turns).items()}


def open_rows(figures: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Figures as a table's rows, whose callers wait least at the median first."""
    head = ["service", "requests per second", "CPU µs per request"]
    rows = [[*head, "wait, p50 / p99 / p99.9 / longest µs", "errors"]]
    for row, one in sorted(figures.items(), key=_by_median):
        waits = " / ".join(as_cell(one[key]) for key in _WAITS)
        told = waits if one["is_trusted"] else "the driver was late"
        cells = [", ".join(row.split(" ")), f"{one['rate']:,.0f}", as_cell(one["cpu_us"])]
        rows.append([*cells, told, f"{one['errors']}"])
    return rows


def _by_row(turns: Sequence[OpenTurn]) -> Mapping[str, list[OpenTurn]]:
    found: dict[str, list[OpenTurn]] = defaultdict(list)
    for turn in turns:
        found[turn.row].append(turn)
    return found


def _figures(turns: Sequence[OpenTurn]) -> dict[str, Any]:
    waits_ns = np.concatenate([turn.waits_ns for turn in turns])
    late_share = float(np.mean(np.concatenate([is_late(turn.samples) for turn in turns])))
    is_trusted = late_share <= LATE_SHARE
    n, n_good = len(waits_ns), sum(int(turn.samples.good.sum()) for turn in turns)
    return {
        "rate": turns[0].rate,
        "requests": n,
        "errors": n - n_good,
        "late_share": round(late_share, 4),
        "is_trusted": is_trusted,
        "cpu_us": per_answer_us(sum(turn.cpu_ns for turn in turns), n_good),
        **percentiles_us(waits_ns[waits_ns != NO_ANSWER] if is_trusted else waits_ns[:0]),
    }


def _by_median(named: tuple[str, Mapping[str, Any]]) -> tuple[bool, float, str]:
    row, one = named
    return one["p50_us"] is None, one["p50_us"] or 0.0, row
