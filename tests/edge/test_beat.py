"""A worker that hangs: told from one that starts, and from a machine that stood still; replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import structlog

from edge.beat import MOST_SILENT, Beats
from edge.cells import BEAT, READY, blank_rows, row_of
from edge.serve import Supervisor
from tests.edge.supervised import all_ready, caller_of, supervised, until
from tests.toys import SECRET


def test_who_is_ready_and_beats_no_more_hangs() -> None:
    cells = blank_rows(3)
    rows = [row_of(cells, slot) for slot in range(3)]
    sound, hanging, starting = rows
    sound[READY] = hanging[READY] = 1
    sound[BEAT] = hanging[BEAT] = starting[BEAT] = 7
    beats = Beats(rows)

    found = []
    for _ in range(MOST_SILENT + 2):
        sound[BEAT] += 1
        found.append(beats.look())

    assert found == [[]] * MOST_SILENT + [[1], [1]]


def test_a_beat_or_a_new_worker_is_waited_for_anew() -> None:
    """Case 43: also when nearly all of the time is over, as after a pause of who looks."""
    row = blank_rows()
    beats = Beats([row])

    def nearly_all() -> list[list[int]]:
        return [beats.look() for _ in range(MOST_SILENT - 1)]

    row[READY] = 1
    found = nearly_all()
    row[BEAT] += 1
    found += [beats.look(), *nearly_all()]
    row[READY] = 0
    found += [beats.look()]
    row[READY] = 1
    found += nearly_all()

    assert not any(found)
    assert beats.look() == [0]


async def ask(supervisor: Supervisor) -> int:
    async with caller_of(supervisor) as client:
        return (await client.post("/v1/offers", json={"customer_id": "ann"})).status_code


def test_case_43_a_worker_that_hangs_is_killed_and_replaced(
    toy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it hangs it has its share of callers; afterwards all of them are answered."""
    monkeypatch.setattr("edge.serve.LOOK_S", 0.2)

    async def story() -> None:
        secret_file = tmp_path / "secret"
        secret_file.write_bytes(SECRET)
        async with supervised(toy_dir, secret_file, queue_target_ms=10_000) as supervisor:
            before = [worker.pid for worker in supervisor.fleet.workers()]
            os.kill(before[0], signal.SIGSTOP)
            await until(lambda: supervisor.fleet.restarts != [0, 0])
            await until(lambda: all_ready(supervisor))
            after = [worker.pid for worker in supervisor.fleet.workers()]

            assert supervisor.fleet.restarts == [1, 0]
            assert after[0] not in {0, before[0]}
            assert after[1] == before[1]
            assert [await ask(supervisor) for _ in range(20)] == [200] * 20

    with structlog.testing.capture_logs() as logged:
        asyncio.run(story())

    told = [(line["event"], line["worker"]) for line in logged if line["log_level"] == "error"]
    assert told == [("worker hangs and is killed", 0), ("worker died", 0)]
