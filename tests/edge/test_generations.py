"""The snapshots of one worker, told what to do through a real pipe, in a loop whose hours fly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import get_ident
from typing import TypeVar

import pytest

from edge.cells import blank_rows, row_of
from edge.counters import Counters
from edge.generations import Generations
from edge.messages import Activate, Activated, Closed, FromWorker, Leaked, Prepare, Prepared
from edge.state import State
from edge.worker import facts_of
from index.generation import Generation
from index.manifest import read_manifest
from index.snapshot import open_snapshot
from tests.toys import SECRET, toy_customer_key, toy_model, write_toy

Message = TypeVar("Message", bound=FromWorker)


class FastLoop(asyncio.SelectorEventLoop):
    """A hundred of its seconds are one."""

    def time(self) -> float:
        return 100 * super().time()

    async def until(self, line: Connection, kind: type[Message]) -> Message:
        """The next message of a kind; all before it are dropped."""
        while True:
            while not line.poll():  # noqa: ASYNC110 - a pipe is waited for
                await asyncio.sleep(0.1)
            if isinstance(message := line.recv(), kind):
                return message


@pytest.fixture
def snapshots(tmp_path: Path) -> list[Path]:
    for name in ("old", "new"):
        write_toy(tmp_path / name, model=toy_model(brand=name))
    return [tmp_path / "old", tmp_path / "new"]


@contextmanager
def worker(answers: Generation) -> Iterator[tuple[FastLoop, State, Connection]]:
    """What a worker is made of, but for HTTP; it answers from a snapshot already."""
    loop, state = FastLoop(), State(Counters(row_of(blank_rows(1), 0)))
    state.adopt(answers)
    ours, theirs = Pipe()
    Generations(
        state,
        theirs,
        loop,
        opened=lambda path: open_snapshot(path, SECRET),
        facts_of=facts_of,
    ).begin()
    with ours, theirs:
        yield loop, state, ours
        loop.remove_reader(theirs.fileno())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        state.close()


async def changed_over(loop: FastLoop, line: Connection, path: Path) -> None:
    name = read_manifest(path).snapshot_id
    line.send(Prepare(snapshot_id=name, path=path))
    await loop.until(line, Prepared)
    line.send(Activate(snapshot_id=name, placements=()))
    await loop.until(line, Activated)


def test_case_29_a_snapshot_that_is_read_for_ever_stays_mapped_and_is_told(
    snapshots: list[Path],
) -> None:
    """Unmapping it would kill the worker: whoever is still inside keeps what it reads."""
    old, new = snapshots
    with (
        open_snapshot(old, SECRET) as generation,
        worker(generation) as (loop, state, line),
    ):
        reader = generation.enter()
        loop.run_until_complete(changed_over(loop, line, new))
        told = loop.run_until_complete(loop.until(line, Leaked))

        assert told.snapshot_id == read_manifest(old).snapshot_id
        assert not generation.is_closed
        assert reader.customer(toy_customer_key("ann")) is not None
        assert state.generation is not None
        assert state.generation.manifest.brand == "new"
        generation.leave(reader)


def test_case_29_a_retired_snapshot_is_closed_when_nobody_reads_it_any_more(
    snapshots: list[Path],
) -> None:
    old, new = snapshots
    generation = open_snapshot(old, SECRET)
    with worker(generation) as (loop, _, line):
        loop.run_until_complete(changed_over(loop, line, new))
        told = loop.run_until_complete(loop.until(line, Closed))

    assert told.snapshot_id == read_manifest(old).snapshot_id
    assert generation.is_closed


def test_a_retired_snapshot_is_closed_beside_the_loop_that_answers(
    snapshots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letting go of files can take the kernel half a second, in which nobody would be answered."""
    closed_by: list[int] = []
    close = Generation.close

    def noted(generation: Generation) -> None:
        closed_by.append(get_ident())
        close(generation)

    old, new = snapshots
    with worker(open_snapshot(old, SECRET)) as (loop, _, line):
        monkeypatch.setattr(Generation, "close", noted)
        loop.run_until_complete(changed_over(loop, line, new))
        loop.run_until_complete(loop.until(line, Closed))
        monkeypatch.undo()

    assert closed_by
    assert get_ident() not in closed_by
