"""For k6: one scenario whose arrivals follow the schedule's rates, whatever is answered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

from bench.load.emit.files import write_lines, write_text
from bench.load.emit.load import HEADERS, Load, NotForTool
from bench.load.schedule import Phase

_ROUNDING: Final = 0.002
"""No rate is further than this from the one that was asked for."""
_LONGEST_UNIT_S: Final = 1_000_000_000
"""K6 counts nanoseconds, in 64 bits."""
_STALL_S: Final = 2.0
"""What is due in a standstill of this length waits, and nothing is dropped."""
_MOST_VUS: Final = 10_000
"""Of 130 KB each, and of a connection each: more would be what is measured."""
_GRACE_MS: Final = 1000
"""Beyond the timeout, so that a wait at the very end is told, and not cut off."""

_SCRIPT: Final = """\
// k6 run load-k6.js
import exec from "k6/execution";
import http from "k6/http";
import { SharedArray } from "k6/data";

const target = %(target)s;
const headers = %(headers)s;
const timeout = "%(timeout_ms)dms";
const phases = %(phases)s;
const bodies = new SharedArray("requests", () => open("./%(requests)s").trim().split("\\n"));

export const options = {
  discardResponseBodies: true,
  noConnectionReuse: %(fresh)s,
  scenarios: {
    load: {
      executor: "ramping-arrival-rate",
      // Rates are whole numbers; in this unit they are those that were asked for.
      timeUnit: "%(unit_s)ds",
      startRate: %(start)d,
      stages: %(stages)s,
      // A VU has one request under way, and a connection of its own. What is due while all of them
      // wait is dropped, and one more is made.
      preAllocatedVUs: %(vus)d,
      maxVUs: %(max_vus)d,
      gracefulStop: "%(grace_ms)dms",
    },
  },
  thresholds: {
    http_req_failed: ["rate==0"],
    dropped_iterations: ["count==0"],
    // Never missed: k6 shows a phase where a threshold names it.
%(shown)s
  },
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max"],
};

export default function () {
  const sinceMs = Date.now() - exec.scenario.startTime;
  const phase = phases.find((one) => sinceMs < one.endMs) || phases[phases.length - 1];
  const body = bodies[exec.scenario.iterationInTest %% bodies.length];
  http.post(target, body, { headers, timeout, tags: { phase: phase.name } });
}
"""


def write(load: Load, out_dir: Path) -> Path:
    """Write requests and a script into a folder that exists; see `tools.emit`."""
    phases, lengths_ms = load.schedule.phases, load.lengths_ms()
    unit_s = _time_unit_s([rate for one in phases for rate in (one.from_rate, one.to_rate)])
    highest = max(max(one.from_rate, one.to_rate) for one in phases)
    ends = zip(phases, accumulate(lengths_ms), strict=True)
    requests = "requests-k6.jsonl"
    write_lines(out_dir / requests, load.sent())
    settings = {
        "target": json.dumps(load.target.url),
        "headers": json.dumps(HEADERS),
        "timeout_ms": load.timeout_ms,
        "phases": _listed([{"name": one.name, "endMs": end_ms} for one, end_ms in ends], 2),
        "requests": requests,
        "fresh": json.dumps(not load.stays),
        "unit_s": unit_s,
        "start": round(phases[0].from_rate * unit_s),
        "stages": _listed(_stages(phases, lengths_ms, unit_s), 8),
        "vus": _vus(load, highest * min(load.timeout_ms / 1000, _STALL_S)),
        "max_vus": _vus(load, highest * load.timeout_ms / 1000),
        "grace_ms": load.timeout_ms + _GRACE_MS,
        "shown": "\n".join(
            f'    {_text(f"http_req_duration{{phase:{one.name}}}")}: ["max>=0"],'
            for one in phases
            if one.expected
        ),
    }
    return write_text(out_dir / "load-k6.js", _SCRIPT % settings)


def _stages(
    phases: Sequence[Phase], lengths_ms: Sequence[int], unit_s: int
) -> list[dict[str, object]]:
    """Lines from rate to rate, and jumps, which take no time, where phases do not meet."""
    stages: list[dict[str, object]] = []
    rate = phases[0].from_rate
    for phase, length_ms in zip(phases, lengths_ms, strict=True):
        if phase.from_rate != rate:
            stages.append({"target": round(phase.from_rate * unit_s), "duration": "0s"})
        rate = phase.to_rate
        stages.append({"target": round(rate * unit_s), "duration": f"{length_ms}ms"})
    return stages


def _time_unit_s(rates: Sequence[float]) -> int:
    """The shortest of 1, 10, 100, … seconds in which all rates are whole numbers, or as good as.

    >>> _time_unit_s([0.0, 200.0]), _time_unit_s([2.5]), _time_unit_s([1 / 3])
    (1, 10, 1000)
    """
    unit_s = 1
    while unit_s <= _LONGEST_UNIT_S:
        if all(abs(round(rate * unit_s) / unit_s - rate) <= _ROUNDING * rate for rate in rates):
            return unit_s
        unit_s *= 10
    slowest = min(rate for rate in rates if rate)
    raise NotForTool(
        f"k6 takes whole numbers of requests in at most {_LONGEST_UNIT_S:,} s, which is too short"
        f" for {slowest:.3g} requests per second",
        hint="give a higher --rate, or a replay a higher --speed",
    )


def _vus(load: Load, under_way: float) -> int:
    """VUs for so many requests at a time: as many as there are connections, at least."""
    return max(load.connections, min(math.ceil(under_way), _MOST_VUS))


def _listed(rows: Sequence[dict[str, object]], indent: int) -> str:
    """Rows as JavaScript, one a line."""
    pad = " " * indent
    return "[\n" + "".join(f"{pad}{_text(row)},\n" for row in rows) + f"{pad[2:]}]"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
