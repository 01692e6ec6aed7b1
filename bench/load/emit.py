"""The same load as files for k6, vegeta and wrk2, for those who have these at hand.

Each gets the same requests in the same order. None of them takes moments one by one: k6 follows
lines between rates, vegeta and wrk2 hold one rate for a phase, and a replay becomes the mean rate
of each of its parts.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from bench.load.schedule import Ints, Phase, Schedule
from bench.load.target import Target

Tool: TypeAlias = Literal["k6", "vegeta", "wrk2"]
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "*/*"}
_REQUESTS: Final = "requests.jsonl"
_CALIBRATION_S: Final = 10
"""For so long wrk2 sends as it is told, and leaves out of its figures what it is answered."""

_K6: Final = """\
// k6 run load.js
import http from "k6/http";
import exec from "k6/execution";
import { SharedArray } from "k6/data";

const target = %(target)s;
const params = %(params)s;
const bodies = new SharedArray("requests", () => open("./%(requests)s").trim().split("\\n"));

export const options = {
  discardResponseBodies: true,
  noConnectionReuse: %(fresh)s,
  scenarios: {
    load: {
      executor: "ramping-arrival-rate",
      // Rates are whole numbers per minute.
      timeUnit: "1m",
      startRate: %(start)d,
      preAllocatedVUs: %(connections)d,
      maxVUs: %(connections)d,
      stages: %(stages)s,
    },
  },
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max"],
};

export default function () {
  http.post(target, bodies[exec.scenario.iterationInTest %% bodies.length], params);
}
"""

_WRK2: Final = """\
-- Sends the lines of the file that REQUESTS names, in turn: one thread keeps them in order.
wrk.method = "POST"
%(headers)s

local bodies = {}
for body in io.lines(os.getenv("REQUESTS")) do
  bodies[#bodies + 1] = body
end
local number = 0

request = function()
  number = number %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[number])
end
"""

_RUN: Final = """\
#!/bin/sh
# One attack after the other, each a phase of the schedule.
set -eu
cd "$(dirname "$0")"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be sent.

    Attributes:
        target: whom to ask.
        schedule: when.
        bodies: JSON without line breaks.
        which: int64, shape (requests,): numbers of bodies, as they are sent.
        connections: as many as the driver would have.
        stays: connections stay; else each request has its own.
    """

    target: Target
    schedule: Schedule
    bodies: Sequence[bytes]
    which: Ints
    connections: int
    stays: bool = True

    def sent(self) -> list[bytes]:
        """Bodies, as they are sent."""
        return [self.bodies[number] for number in self.which.tolist()]

    def by_phase(self) -> Iterator[tuple[int, Phase, list[bytes]]]:
        """Phases in which something is sent, with their numbers and what is sent."""
        sent = self.sent()
        for number, phase in enumerate(self.schedule.phases):
            places = np.flatnonzero(self.schedule.phase == number).tolist()
            if places:
                yield number, phase, [sent[place] for place in places]


def emit(tool: Tool, load: Load, out_dir: Path) -> Path:
    """Write what one of the tools needs.

    Args:
        tool: which.
        load: what is to be sent.
        out_dir: folder to write into; made where it is missing.

    Returns:
        The file to run.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    writers = {"k6": _k6, "vegeta": _vegeta, "wrk2": _wrk2}
    return writers[tool](load, out_dir)


def _k6(load: Load, out_dir: Path) -> Path:
    phases = load.schedule.phases
    stages: list[dict[str, object]] = []
    rate = phases[0].from_rate
    for phase in phases:
        if phase.from_rate != rate:
            stages.append({"target": round(phase.from_rate * 60), "duration": "0s"})
        stages.append({"target": round(phase.to_rate * 60), "duration": f"{phase.seconds:g}s"})
        rate = phase.to_rate
    _write_lines(out_dir / _REQUESTS, load.sent())
    script_path = out_dir / "load.js"
    script_path.write_text(
        _K6
        % {
            "target": json.dumps(load.target.url),
            "params": json.dumps({"headers": _HEADERS}),
            "requests": _REQUESTS,
            "fresh": json.dumps(not load.stays),
            "start": round(phases[0].from_rate * 60),
            "connections": load.connections,
            "stages": json.dumps(stages),
        }
    )
    return script_path


def _vegeta(load: Load, out_dir: Path) -> Path:
    lines = []
    for number, phase, bodies in load.by_phase():
        _write_lines(
            out_dir / f"targets-{number}.jsonl",
            [json.dumps(_vegeta_target(load.target, body)).encode() for body in bodies],
        )
        # So many requests in the phase's own length: no rounding to whole requests per second.
        length = f"{round(phase.seconds * 1000)}ms"
        words = ["vegeta", "attack", f"-name={phase.name}", "-format=json"]
        words += [f"-targets=targets-{number}.jsonl", f"-rate={len(bodies)}/{length}"]
        words += [f"-duration={length}", f"-max-connections={load.connections}"]
        words += [f"-keepalive={json.dumps(load.stays)}"]
        report = f"tee results-{number}.bin | vegeta report -type=hdrplot"
        lines.append(f"{shlex.join(words)} | {report}")
    return _write_run(out_dir, lines)


def _vegeta_target(target: Target, body: bytes) -> dict[str, object]:
    return {
        "method": "POST",
        "url": target.url,
        "header": {name: [value] for name, value in _HEADERS.items()},
        "body": base64.b64encode(body).decode(),
    }


def _wrk2(load: Load, out_dir: Path) -> Path:
    named = _HEADERS | ({} if load.stays else {"Connection": "close"})
    headers = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in named.items()]
    (out_dir / "load.lua").write_text(_WRK2 % {"headers": "\n".join(headers)})
    lines = []
    for number, phase, bodies in load.by_phase():
        _write_lines(out_dir / f"requests-{number}.jsonl", bodies)
        # Both are whole numbers there.
        rate, seconds = max(round(len(bodies) / phase.seconds), 1), max(round(phase.seconds), 1)
        words = ["wrk2", "-t1", f"-c{load.connections}", f"-R{rate}", f"-d{seconds}s"]
        words += ["--latency", "-s", "load.lua", load.target.url]
        lines.append(f"echo {shlex.quote(phase.name)}")
        if seconds <= _CALIBRATION_S:
            lines.append(f"echo '  {seconds} s: wrk2 tells no times, it calibrates for longer' >&2")
        lines.append(f"REQUESTS=requests-{number}.jsonl {shlex.join(words)}")
    return _write_run(out_dir, lines)


def _write_lines(path: Path, lines: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def _write_run(out_dir: Path, lines: Sequence[str]) -> Path:
    path = out_dir / "run.sh"
    path.write_text(_RUN + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path
