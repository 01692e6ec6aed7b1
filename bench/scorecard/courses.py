"""The course of a run: waiting times second by second, with what happened meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from bench.scorecard.lines import Course
from bench.scorecard.runs import Run

_STEPS_PER_S = 2


def course_of(
    found: Run, limit_ms: float | None, marks: Sequence[tuple[float, str]] | None = None
) -> Course:
    """Median, 99th percentile and longest wait of each half second in which requests were due.

    Each is somebody's wait: none lies between two of them.

    Args:
        found: the run.
        limit_ms: what was promised of waits; None for nothing.
        marks: what happened when; where phases begin by default.
    """
    samples = found.samples
    step = samples.due_ns * _STEPS_PER_S // 1_000_000_000
    edges = np.searchsorted(step, np.arange(int(step[-1]) + 2)) if len(step) else np.zeros(1, int)
    waits_ms = samples.latency_ns / 1e6
    rows: list[tuple[float, float, float | None, float | None, float | None]] = []
    for number, (begin, end) in enumerate(
        zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ):
        timed = samples.timed[begin:end]
        waits = waits_ms[begin:end][timed]
        told: list[float | None] = [None] * 3
        if len(waits):
            told = np.percentile(waits, [50, 99, 100], method="inverted_cdf").tolist()
        rows.append(((number + 0.5) / _STEPS_PER_S, (end - begin) * _STEPS_PER_S, *told))
    return Course(
        title=f"Waiting times over the run “{found.name}”",
        seconds=[row[0] for row in rows],
        lines={
            "median": [row[2] for row in rows],
            "99th percentile": [row[3] for row in rows],
            "longest": [row[4] for row in rows],
        },
        rates=[row[1] for row in rows],
        marks=_begins(found) if marks is None else marks,
        limit_ms=limit_ms,
        note="Milliseconds since each request was due, by half second; the area is requests due.",
    )


def hours_of(found: Run) -> list[tuple[float, str]]:
    """Where the phases of a replayed day begin, by the shop's hour, UTC."""
    return [(at_s, name.rpartition("T")[2]) for at_s, name in _begins(found)]


def _begins(found: Run) -> list[tuple[float, str]]:
    phases = found.samples.phases
    begins = accumulate((phase.seconds for phase in phases[:-1]), initial=0.0)
    return [(at_s, phase.name) for at_s, phase in zip(begins, phases, strict=True)]
