"""A short soak of a real node, and figures of made-up ones whose answers are known on paper."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.soak_figures import growth_of, soak_summary, soak_table, windows_of
from bench.soak_load import Callers, Heard
from bench.soak_node import Held
from bench.swap_soak import Soak, SoakPlan, soak
from bench.synthetic import Shape
from tests.bench.counting_server import CountingServer, request

SECOND = 1_000_000_000


def held(private_bytes: int, *, mapped: int = 5, descriptors: int = 9) -> Held:
    return Held(
        private_bytes=private_bytes, resident_bytes=0, mapped=mapped, descriptors=descriptors
    )


@pytest.fixture
def quiet() -> Soak:
    """Three hundred swaps, one in ten seconds, each with ten requests; nothing went wrong.

    Five are due when it is announced, and five when it is over.
    """
    announced_ns = [10 * SECOND * number for number in range(1, 301)]
    due_ns = np.array(
        [at + more + n for at in announced_ns for more in (0, 5 * SECOND) for n in range(5)]
    )
    return Soak(
        plan=SoakPlan(swaps=300),
        heard=Heard(
            due_ns=due_ns,
            nanoseconds=np.full(3000, 1_000_000),
            statuses=np.full(3000, 200),
            snapshots=np.arange(3000) // 10 % 2,
            torn=np.zeros(3000, dtype=np.bool_),
            names=("a", "b"),
            failures=(),
        ),
        announced_ns=announced_ns,
        served_ns=[at + SECOND for at in announced_ns],
        held=[{"worker 0": held(1 << 20), "supervisor": held(1 << 20)} for _ in range(301)],
        leaked=0,
        restarts=0,
        outcomes={"swapped": 301},
    )


@pytest.mark.slow
def test_no_request_is_lost_no_answer_torn_and_no_snapshot_left_over_by_swaps(
    tmp_path: Path,
) -> None:
    """Cases 29, 30 and 37: three snapshots that share an unchanged table take turns under load."""
    plan = SoakPlan(
        swaps=6, seconds_between=0.1, rate=120, shape=Shape(n_customers=200, n_offers=300)
    )

    run = soak(tmp_path, plan)

    summary = soak_summary(run)
    assert (summary["failed"], summary["refused"], summary["torn"]) == (0, 0, 0)
    assert summary["failures"] == ()
    assert summary["outcomes"] == {"swapped": 7}
    assert (summary["leaked"], summary["restarts"]) == (0, 0)
    assert len(summary["answered_by"]) == 3
    assert all(n > 0 for n in summary["answered_by"].values())
    assert sum(summary["answered_by"].values()) == summary["requests"]
    assert {name: (one.mapped, other.mapped) for name, one, other in _first_and_last(run)} == {
        "worker 0": (5, 5),
        "worker 1": (5, 5),
        "supervisor": (0, 0),
        "sync": (0, 0),
    }
    assert summary["broken"] == []


def _first_and_last(run: Soak) -> list[tuple[str, Held, Held]]:
    return [(name, one, run.held[-1][name]) for name, one in run.held[0].items()]


def test_callers_tell_what_was_lost_refused_or_torn_however_much_they_heard() -> None:
    """More is heard than a pipe takes at once."""
    words = [b"from a", b"says b", b"of another", b"refuse", b"vanish"]
    right = {"a": [b'{"snapshot_id":"a"}'] * len(words), "b": [b"{}"] * len(words)}
    wire = [request(word) for word in words]
    with (
        CountingServer() as server,
        Callers(server.port, wire, right, rate=10_000, connections=4) as callers,
    ):
        deadline = time.monotonic() + 60
        while sum(server.asked.values()) < 8000:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    heard = callers.heard
    assert heard is not None
    told = Counter(zip(heard.statuses.tolist(), heard.torn.tolist(), strict=True))
    assert told == {
        (200, False): server.asked[b"from a"],
        (200, True): server.asked[b"says b"] + server.asked[b"of another"],
        (503, False): server.asked[b"refuse"],
        (0, False): server.asked[b"vanish"],
    }
    assert Counter(heard.snapshots.tolist())[0] == server.asked[b"from a"] + server.asked[b"says b"]
    assert len(heard.failures) == 5


def test_promises_that_are_kept_are_not_called_broken(quiet: Soak) -> None:
    summary = soak_summary(quiet)

    assert summary["broken"] == []
    assert summary["answered_by"] == {"a": 1500, "b": 1500}
    assert summary["latency"]["bringing"] == {
        "requests": 1500,
        "p50_us": 1000.0,
        "p90_us": 1000.0,
        "p99_us": 1000.0,
        "p99.9_us": None,
        "max_us": 1000.0,
        "p99_ratio": 1.0,
    }
    assert summary["latency"]["changing over"]["requests"] == 0
    assert summary["latency"]["changing over"]["p99_us"] is None
    assert "300 swaps, 3,000 requests: 0 failed" in soak_table(summary)
    assert soak_table(summary).endswith("All promises kept.")


def test_what_is_broken_is_said(quiet: Soak) -> None:
    heard = quiet.heard
    statuses, torn, slow = heard.statuses.copy(), heard.torn.copy(), heard.nanoseconds.copy()
    statuses[:4] = [0, 500, 503, 422]
    torn[7] = True
    slow[np.arange(3000) % 10 < 5] = 2_100_000
    bad = replace(
        quiet,
        heard=replace(heard, statuses=statuses, torn=torn, nanoseconds=slow),
        held=[
            {"worker 0": held(10_000 * swap, mapped=5 + swap // 150), "supervisor": held(0)}
            for swap in range(301)
        ],
        leaked=2,
        restarts=1,
    )

    assert soak_summary(bad)["broken"] == [
        "3 requests failed",
        "1 requests were refused",
        "1 answers were not what their snapshot gives",
        "2 retired snapshots stayed mapped",
        "1 workers had to be replaced",
        "worker 0 has 7 snapshot files mapped, and had 5",
        "worker 0 grows by 10000 bytes a swap",
        "p99 while bringing is 2.1 times that between swaps",
    ]


def test_a_request_belongs_to_the_window_it_was_due_in() -> None:
    due = np.array([0, 10, 11, 12, 13, 14, 15]) * SECOND

    windows = windows_of(due, [10 * SECOND], [12 * SECOND])

    assert windows.tolist() == [0, 1, 1, 2, 2, 0, 0]


def test_growth_is_a_slope_over_the_second_half() -> None:
    warming = [{"w": held(1000 * swap)} for swap in range(15)]
    after = [{"w": held(50_000 + 7 * swap)} for swap in range(15)]

    growth = growth_of([*warming, *after], "w")

    assert growth["private_bytes_per_swap"] == 7.0
    assert growth["private_first_tenth"] == 1000.0
    assert growth["private_last_tenth"] == 50_000.0 + 7 * 13
