"""For wrk2: a run for each phase, and a script in Lua that sends its requests in turn."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Final

from bench.load.emit.files import write_lines, write_run, write_text
from bench.load.emit.load import HEADERS, Load, NotForTool
from bench.load.schedule import Phase

_ROUNDING: Final = 0.03
"""A rate that is rounded by more than this is another load."""

_LUA: Final = """\
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

-- wrk2 itself ends well, whatever it was answered. What it calls timed out is no failure: it counts
-- connections that had nothing to send for so long, too.
done = function(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status
  if failed > 0 or summary.requests == 0 then
    os.exit(1)
  end
end
"""

# In longer runs wrk2 leaves what it is answered in the first ten seconds out of its figures.
_RUN: Final = """\
run() { # number, name, rate, seconds
  echo "$2"
  [ "$4" -gt 10 ] || echo "  $4 s: these times are of the ten seconds that wrk2 warms up for" >&2
  REQUESTS="requests-wrk2-$1.jsonl" wrk2 -t1 -c%(connections)d "-R$3" "-d$4s" --latency \\
    --timeout %(timeout_s)ds -s load-wrk2.lua %(url)s || failed=1
}
"""


def write(load: Load, out_dir: Path) -> Path:
    """Write requests and scripts into a folder that exists; see `tools.emit`."""
    rates = [_whole_rate(phase) for phase in load.schedule.phases]
    calls = []
    for number, phase, bodies in load.by_phase():
        write_lines(out_dir / f"requests-wrk2-{number}.jsonl", bodies)
        words = ["run", number, phase.name, rates[number], max(round(phase.seconds), 1)]
        calls.append(shlex.join(map(str, words)))
    headers = HEADERS | ({} if load.stays else {"Connection": "close"})
    lines = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()]
    write_text(out_dir / "load-wrk2.lua", _LUA % {"headers": "\n".join(lines)})
    settings = {
        "connections": load.connections,
        # In whole seconds, too.
        "timeout_s": -(-load.timeout_ms // 1000),
        "url": shlex.quote(load.target.url),
    }
    return write_run(
        out_dir / "run-wrk2.sh", "sh run-wrk2.sh: reports each phase.", _RUN % settings, calls
    )


def _whole_rate(phase: Phase) -> int:
    """The rate that was asked for, in whole requests per second: wrk2 takes no others."""
    rate = phase.expected / phase.seconds
    whole = round(rate)
    if abs(whole - rate) > _ROUNDING * rate:
        raise NotForTool(
            f"phase {phase.name}: wrk2 takes whole requests per second, and {rate:.3g} would be"
            f" {whole}",
            hint="give a higher --rate, or a replay a higher --speed; vegeta and k6 take any rate",
        )
    return whole
