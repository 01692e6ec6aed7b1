"""A machine that stands still is told of, also where it is made to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import chain, repeat
from pathlib import Path

import orjson
import pytest

from bench.standstill import LEAST_NS, Standstill, gaps_ns, standstill

ROOT = Path(__file__).parents[2]


def test_gaps_are_what_lies_between_two_looks() -> None:
    steps = [10, LEAST_NS - 1, 10, LEAST_NS, 10, 3 * LEAST_NS]
    looks = [sum(steps[:n]) for n in range(len(steps) + 1)]

    found = gaps_ns(1.0, chain(looks, repeat(2 * 10**9)).__next__)

    assert found == [LEAST_NS, 3 * LEAST_NS, 2 * 10**9 - looks[-1]]


def test_a_core_that_is_taken_away_shows() -> None:
    core = min(os.sched_getaffinity(0))
    watcher = subprocess.Popen(
        [sys.executable, "-m", "bench.standstill", "3", str(core)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    time.sleep(1.5)
    watcher.send_signal(signal.SIGSTOP)
    time.sleep(0.25)
    watcher.send_signal(signal.SIGCONT)
    told, _ = watcher.communicate()

    assert max(orjson.loads(told)) >= 200_000_000


def test_all_cores_are_watched_at_once() -> None:
    found = standstill(os.sched_getaffinity(0), seconds=0.05)

    assert found.cores == min(len(os.sched_getaffinity(0)), 8)
    assert (found.per_second == 0) == (found.longest_ms == 0)


def test_a_watcher_that_fails_is_no_silence() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        standstill([100_000], seconds=0.01)


@pytest.mark.parametrize(
    ("per_second", "words"),
    [(0.0, "no core"), (9.5, "9.5 times a second for 0.5 ms or longer, at most 4.0 ms")],
)
def test_it_is_told_in_a_sentence(per_second: float, words: str) -> None:
    found = Standstill(cores=2, seconds=2.0, per_second=per_second, longest_ms=3.974)

    assert words in found.sentence
