"""Figures of a run: pure functions of its samples, traces and schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.load.drive import Host
from bench.load.driver import Trace
from bench.load.samples import Samples, encoded, failures
from bench.load.verdict import has_waited, is_late, verdict_on
from bench.percentiles import percentiles_us

_SECOND_NS: Final = 1_000_000_000


def summary_of(samples: Samples, traces: Sequence[Trace], host: Host) -> dict[str, Any]:
    """Everything that is told of a run.

    Returns:
        `verdict`, `phases` and `kinds` by name, `seconds` one by one, `drivers`, and `host`.
    """
    verdict = verdict_on(samples, traces, host)
    return {
        "verdict": asdict(verdict) | {"is_given": verdict.is_given, "sentence": verdict.sentence},
        "all": _figures(samples, np.ones(len(samples.due_ns), dtype=bool)),
        "phases": _phases(samples),
        "kinds": {
            name: _figures(samples, samples.kind == number)
            for number, name in enumerate(samples.kinds)
        },
        "seconds": over_time(samples),
        "drivers": [driver_figures(trace) for trace in traces],
        "host": asdict(host),
    }


def driver_figures(trace: Trace) -> dict[str, Any]:
    """What a driver cost; watching for the next due moment is processor time, but not busy."""
    n = len(trace.statuses)
    unread_ns = (trace.read_ns - trace.done_ns)[trace.statuses > 0]
    if not unread_ns.any():  # over a Unix socket nobody knows
        unread_ns = unread_ns[:0]
    return {
        "requests": n,
        "connects": trace.connects,
        "cpu_share": round(trace.cpu_ns / trace.wall_ns, 3),
        "busy_share": round(trace.busy_ns / trace.wall_ns, 3),
        "busy_us_per_request": round(trace.busy_ns / n / 1000, 2) if n else None,
        "unread": percentiles_us(unread_ns),
    }


def over_time(samples: Samples) -> list[dict[str, Any]]:
    """Figures of each second in which requests were due: a stall shows as the seconds it spoilt."""
    second = samples.due_ns // _SECOND_NS
    edges = np.searchsorted(second, np.arange(int(second[-1]) + 2))
    latency_ns, timed, good = samples.latency_ns, samples.timed, samples.good
    found = []
    for number, (begin, end) in enumerate(pairwise(edges.tolist())):
        if begin == end:
            continue
        inside = slice(begin, end)
        found.append(
            {
                "second": number,
                "due": end - begin,
                "errors": int(np.count_nonzero(~good[inside])),
                **percentiles_us(latency_ns[inside][timed[inside]]),
            }
        )
    return found


def _phases(samples: Samples) -> dict[str, dict[str, Any]]:
    found = {}
    begin_s = 0.0
    for number, phase in enumerate(samples.phases):
        inside = samples.phase == number
        end_s = begin_s + phase.seconds
        came = samples.good & (samples.done_ns >= begin_s * 1e9) & (samples.done_ns < end_s * 1e9)
        found[phase.name] = {
            "seconds": phase.seconds,
            "asked_per_s": round(phase.expected / phase.seconds, 2),
            "due_per_s": round(int(np.count_nonzero(inside)) / phase.seconds, 2),
            "answered_per_s": round(int(np.count_nonzero(came)) / phase.seconds, 2),
            **_figures(samples, inside),
        }
        begin_s = end_s
    return found


def _figures(samples: Samples, inside: NDArray[np.bool_]) -> dict[str, Any]:
    timed = inside & samples.timed
    latency_ns = samples.latency_ns[timed]
    return {
        "requests": int(np.count_nonzero(inside)),
        "errors": failures(samples.statuses[inside]),
        "late": int(np.count_nonzero(is_late(samples) & inside)),
        "waited_for_connection": int(np.count_nonzero(has_waited(samples) & inside)),
        "latency": percentiles_us(latency_ns),
        "service": percentiles_us(samples.service_ns[timed]),
        "latency_hdr_ns": encoded(latency_ns),
    }
