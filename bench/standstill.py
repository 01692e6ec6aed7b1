"""How often, and for how long, a machine stands still by itself: no service on it can hide that.

On each core a process does nothing but look at the clock. Where two looks lie far apart, the core
was taken away: by its host, by the kernel, or by other work. It is measured with all cores busy,
since some machines stand still only then.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import orjson

LEAST_NS: Final = 500_000
"""Shorter ones are of no matter beside what a request takes."""
_MOST_CORES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """What was found.

    Attributes:
        cores: how many were watched.
        seconds: for how long.
        per_second: how often one of them stood still for `LEAST_NS` or longer.
        longest_ms: the longest time one did.
    """

    cores: int
    seconds: float
    per_second: float
    longest_ms: float

    @property
    def sentence(self) -> str:
        """As a reader is told."""
        if not self.per_second:
            return "Just before, no core of this machine stood still by itself."
        return (
            f"Just before, with nothing to answer, the cores of this machine stood still"
            f" {self.per_second:.1f} times a second for {LEAST_NS / 1e6:g} ms or longer, at most"
            f" {self.longest_ms:.1f} ms: waits of that kind are its own."
        )


def standstill(cores: Collection[int], seconds: float) -> Standstill:
    """Watch some cores for a while, all at once; the first few of many.

    Raises:
        subprocess.CalledProcessError: a watcher failed.
    """
    watched = sorted(cores)[:_MOST_CORES]
    command = [sys.executable, "-m", "bench.standstill", f"{seconds}"]
    watchers = [
        subprocess.Popen(
            [*command, f"{core}"], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
        )
        for core in watched
    ]
    found: list[int] = []
    for watcher in watchers:
        told, _ = watcher.communicate()
        if watcher.returncode:
            raise subprocess.CalledProcessError(watcher.returncode, watcher.args)
        found += orjson.loads(told)
    return Standstill(
        cores=len(watched),
        seconds=seconds,
        per_second=round(len(found) / seconds, 2),
        longest_ms=round(max(found, default=0) / 1e6, 3),
    )


def gaps_ns(seconds: float, clock: Callable[[], int] = perf_counter_ns) -> list[int]:
    """Times of `LEAST_NS` and longer between two looks at a clock, nanoseconds."""
    found = []
    last = clock()
    end = last + int(seconds * 1e9)
    while last < end:
        now = clock()
        if now - last >= LEAST_NS:
            found.append(now - last)
        last = now
    return found


def main() -> None:
    """Watch one core and print its gaps."""
    gc.disable()
    # Whatever priority the measurement has: who never sleeps loses a real-time one now and then.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, {int(sys.argv[2])})
    sys.stdout.buffer.write(orjson.dumps(gaps_ns(float(sys.argv[1]))))


if __name__ == "__main__":
    main()
