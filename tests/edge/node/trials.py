"""Trials of many damaged snapshots: a process that has loaded what is heavy, and forks for each.

    python -m tests.edge.node.trials SECRET_FILE

Reads the path of a snapshot's folder from each line, and writes a `Trial` for it. Each child is as
good as a process of its own, for a tenth of the time: nothing was opened before the fork, and the
file that knows LMDB not even imported.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import faiss  # noqa: F401 - these are loaded once for all
import lmdb.verify  # noqa: F401
import msgspec

import edge.memory  # noqa: F401
import index.adder
import index.context
import index.model
import index.patches
import index.platform
import index.secret
import index.vectors  # noqa: F401
from edge.node.verdict import Verdict
from index.request import CartLine, Request


class Trial(msgspec.Struct, kw_only=True):
    """What became of a snapshot: tried as a node does, then asked as a shop does.

    Attributes:
        verdict: None when the process died before it had one.
        signal: what the process died of; empty when it did not.
        defect: the traceback of an exception that nobody expected.
        answers: a digest of each answer of a snapshot that was proved.
        n_damaged: how many of them met tables that could not be read.
    """

    verdict: Verdict | None = None
    signal: str = ""
    defect: str = ""
    answers: list[str] = []
    n_damaged: int = 0


def questions() -> Iterator[Request]:
    """What is asked besides golden decisions: of customers and strangers, with carts or none."""
    for number in range(8):
        yield Request(
            customer_id=("ann", "bob", "zoe", None)[number % 4],
            k=40,
            at=datetime(2026, 1, 2, 10, tzinfo=UTC),
            request_id="1",
            context={"device": ("mobile", "desktop")[number % 2], "store": "7"},
            cart=[CartLine(item_id=f"item-{5 * number + n:03d}") for n in range(number % 6)],
            viewed=[f"item-{39 - number:03d}"],
            explain=number % 3 == 0,
        )


def _try(path: Path, secret_file: Path, trial: Trial) -> Iterator[Trial]:
    from edge.node.proof import tried  # noqa: PLC0415 - opens tables: not before the fork
    from index.decide import decide  # noqa: PLC0415
    from index.encode import decision_json  # noqa: PLC0415
    from index.snapshot import open_snapshot  # noqa: PLC0415

    trial.verdict = tried(path, secret_file)
    yield trial
    if trial.verdict.outcome == "proved":
        with open_snapshot(path, secret_file.read_bytes()) as generation:
            for question in questions():
                answer = decision_json(decide(generation, question))
                trial.answers.append(hashlib.sha256(answer).hexdigest())
            trial.n_damaged = generation.damaged
        yield trial


def _child(path: Path, secret_file: Path, pipe: int) -> None:
    trial = Trial()
    try:
        for told in _try(path, secret_file, trial):
            os.write(pipe, msgspec.json.encode(told) + b"\n")
    except BaseException:  # noqa: BLE001 - whatever it was is what is looked for
        trial.defect = traceback.format_exc()
        os.write(pipe, msgspec.json.encode(trial) + b"\n")
    finally:
        os._exit(0)


def _tried(path: Path, secret_file: Path) -> Trial:
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(path, secret_file, ours)
    os.close(ours)
    with os.fdopen(theirs, "rb") as pipe:
        lines = pipe.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    trial = msgspec.json.decode(lines[-1], type=Trial) if lines else Trial()
    trial.signal = signal.Signals(-status).name if status < 0 else ""
    return trial


def main() -> None:
    secret_file = Path(sys.argv[1])
    with suppress(BrokenPipeError):
        for line in sys.stdin:
            trial = _tried(Path(line.rstrip("\n")), secret_file)
            sys.stdout.buffer.write(msgspec.json.encode(trial) + b"\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
