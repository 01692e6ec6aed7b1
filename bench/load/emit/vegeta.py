"""For vegeta: an attack for each phase, with its requests as targets."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from typing import Final

from bench.load.emit.files import write_lines, write_run
from bench.load.emit.load import HEADERS, Load
from bench.load.target import Target

# Names that vegeta is told go into a header, whose bytes are ASCII: phases go by their numbers.
# Where vegeta can't keep the rate it ends a phase all the same, and has sent fewer. One is due at
# the very end and may be left out, and 1 % more, as many as a driver of ours may send late.
_ATTACK: Final = """\
attack() { # number, name, rate, length
  echo "$2"
  results="results-vegeta-$1.bin"
  vegeta attack "-name=phase-$1" -format=json "-targets=targets-vegeta-$1.jsonl" \\
    "-rate=$3" "-duration=$4" -timeout=%(timeout_ms)dms -max-body=0 \\
    -max-connections=%(connections)d -keepalive=%(stays)s > "$results" || failed=1
  vegeta report "$results" || failed=1
  told=$(vegeta report -type=json "$results")
  echo "$told" | grep -q '"success":1[,}]' || failed=1
  due=${3%%/*}
  sent=$(echo "$told" | sed -n 's/.*"requests":\\([0-9]*\\).*/\\1/p')
  if [ $((${sent:-0} + 1 + due / 100)) -lt "$due" ]; then
    echo "  only ${sent:-none} of $due requests were sent" >&2
    failed=1
  fi
}
"""


def write(load: Load, out_dir: Path) -> Path:
    """Write targets and a script into a folder that exists; see `tools.emit`."""
    lengths_ms = load.lengths_ms()
    calls = []
    for number, phase, bodies in load.by_phase():
        targets = [json.dumps(_target(load.target, body)).encode() for body in bodies]
        write_lines(out_dir / f"targets-vegeta-{number}.jsonl", targets)
        # So many requests in the phase's own length: no rounding to whole requests per second.
        length = f"{lengths_ms[number]}ms"
        words = ["attack", str(number), phase.name, f"{len(bodies)}/{length}", length]
        calls.append(shlex.join(words))
    settings = {
        "timeout_ms": load.timeout_ms,
        "connections": load.connections,
        "stays": json.dumps(load.stays),
    }
    return write_run(
        out_dir / "run-vegeta.sh",
        "sh run-vegeta.sh: reports each phase, and keeps its answers in results-vegeta-N.bin.",
        _ATTACK % settings,
        calls,
    )


def _target(target: Target, body: bytes) -> dict[str, object]:
    return {
        "method": "POST",
        "url": target.url,
        "header": {name: [value] for name, value in HEADERS.items()},
        "body": base64.b64encode(body).decode(),
    }
