"""Swaps between real workers, with the test in the place of what follows a channel."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.messages import DamageMet
from edge.node.messages import NotSwapped, Reverted, ToSync
from edge.serve import Supervisor
from edge.swap import OnDisk
from edge.workers import Slot
from index.manifest import read_manifest
from tests.edge.running import PATIENCE_S
from tests.edge.supervised import all_ready, caller_of, supervised, until
from tests.toys import SECRET, toy_model, write_toy

ASKED = {"customer_id": "ann", "k": 3}


@dataclass
class Held:
    """Remembers nothing on disk: what a node begins with is what it goes back to."""

    good: OnDisk
    bad: list[str]

    def begin(self) -> OnDisk:
        return self.good

    def fallback(self, bad: str, reason: str) -> OnDisk | None:
        self.bad.append(f"{bad}: {reason}")
        return None if bad == self.good.snapshot_id else self.good


@pytest.fixture
def snapshots(tmp_path: Path) -> list[OnDisk]:
    (tmp_path / "secret").write_bytes(SECRET)
    found = []
    for number in range(3):
        path = tmp_path / str(number)
        write_toy(path, model=toy_model(repeat={"*": 0.1 + number / 10}))
        found.append(OnDisk(snapshot_id=read_manifest(path).snapshot_id, path=path))
    return found


def running(held: Held, tmp_path: Path) -> AbstractAsyncContextManager[Supervisor]:
    """A supervisor that remembers so much."""
    return supervised(held.good.path, tmp_path / "secret", held)


async def change_over(supervisor: Supervisor, snapshot: OnDisk) -> None:
    """Let the workers answer from their second snapshot."""
    supervisor.swap.offered(snapshot)
    await until(lambda: supervisor.fleet.swaps["swapped"] == 1)


async def answered(supervisor: Supervisor, n: int = 6) -> set[str]:
    """Ids of the snapshots that answer, over connections of their own."""
    found = set()
    for _ in range(n):
        async with caller_of(supervisor) as client:
            found.add((await client.post("/v1/offers", json=ASKED)).json()["snapshot_id"])
    return found


def mapped(pid: int) -> set[int]:
    """Inodes of the files that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {int(line.split()[4]) for line in lines}


def outcomes(supervisor: Supervisor) -> list[ToSync]:
    """What is told of swaps from now on."""
    told: list[ToSync] = []
    tell = supervisor.outcome

    def outcome(message: ToSync) -> None:
        told.append(message)
        tell(message)

    supervisor.outcome = outcome  # type: ignore[method-assign]
    return told


def test_case_35_what_a_worker_cannot_open_none_serves(
    snapshots: list[OnDisk], tmp_path: Path
) -> None:
    async def story() -> None:
        first, second, third = snapshots
        (third.path / "items.lmdb").unlink()
        async with running(Held(first, []), tmp_path) as supervisor:
            await change_over(supervisor, second)
            assert await answered(supervisor) == {second.snapshot_id}
            supervisor.swap.offered(third)
            told = outcomes(supervisor)
            await until(lambda: supervisor.fleet.swaps["not swapped"] == 1)
            assert await answered(supervisor) == {second.snapshot_id}
            assert supervisor.fleet.restarts == [0, 0]
            [refused] = told
            assert isinstance(refused, NotSwapped)
            assert (refused.snapshot_id, refused.blame) == (third.snapshot_id, "snapshot")

    asyncio.run(story())


def test_who_is_left_aside_for_a_bad_one_is_not_to_blame(
    snapshots: list[OnDisk], tmp_path: Path
) -> None:
    """What is served turns out bad just when the next one, which is to mend it, is prepared."""

    async def story() -> None:
        first, second, third = snapshots
        async with running(Held(first, []), tmp_path) as supervisor:
            await change_over(supervisor, second)
            told, swap = outcomes(supervisor), supervisor.swap
            swap.offered(third)
            damage = DamageMet(snapshot_id=str(second.snapshot_id), times=2)
            swap.heard(Slot(0), damage)  # of no matter which one
            await until(lambda: supervisor.fleet.swaps["reverted"] == 1)
            left, back = told
            assert isinstance(left, NotSwapped)
            assert (left.snapshot_id, left.blame) == (third.snapshot_id, "nobody")
            assert isinstance(back, Reverted)

            await until(lambda: supervisor.swap.phase == "steady")
            swap.offered(third)
            await until(lambda: supervisor.fleet.swaps["swapped"] == 2)
            assert await answered(supervisor) == {third.snapshot_id}

    asyncio.run(story())


def test_what_could_not_be_prepared_keeps_nobody_from_going_back(
    snapshots: list[OnDisk], tmp_path: Path
) -> None:
    """It comes just when all are to go back from a bad one: else they would answer from that."""

    async def story() -> None:
        first, second, third = snapshots
        (third.path / "items.lmdb").unlink()
        async with running(Held(first, []), tmp_path) as supervisor:
            await change_over(supervisor, second)
            supervisor.swap.heard(Slot(0), DamageMet(snapshot_id=str(second.snapshot_id), times=2))
            supervisor.swap.offered(third)
            await until(lambda: supervisor.fleet.swaps["not swapped"] == 1)
            async with asyncio.timeout(PATIENCE_S):
                while await answered(supervisor) != {first.snapshot_id}:
                    pass

    asyncio.run(story())


def test_what_is_served_already_is_opened_anew(snapshots: list[OnDisk], tmp_path: Path) -> None:
    """As when a damaged file was replaced: a new file under the same name is what answers then."""

    async def story() -> None:
        first, _, _ = snapshots
        async with running(Held(first, []), tmp_path) as supervisor:
            table = first.path / "customers.lmdb"
            copy = table.with_suffix(".new")
            copy.write_bytes(table.read_bytes())
            copy.replace(table)
            inode = table.stat().st_ino
            await change_over(supervisor, first)
            assert await answered(supervisor) == {first.snapshot_id}
            assert all(inode in mapped(worker.pid) for worker in supervisor.fleet.workers())

    asyncio.run(story())


def test_case_37_a_worker_started_amid_a_swap_answers_like_the_others(
    snapshots: list[OnDisk], tmp_path: Path
) -> None:
    async def story() -> None:
        first, second, _ = snapshots
        async with running(Held(first, []), tmp_path) as supervisor:
            for wanted in (second, first, second):
                (one, _) = supervisor.fleet.workers()
                os.kill(one.pid, signal.SIGKILL)
                supervisor.swap.offered(wanted)
                await until(lambda: supervisor.swap.phase == "steady")
                await until(lambda: all_ready(supervisor))
                assert await answered(supervisor) == {wanted.snapshot_id}

    asyncio.run(story())


def test_case_26_tables_that_cannot_be_read_bring_back_the_last_good_one(
    snapshots: list[OnDisk], tmp_path: Path
) -> None:
    """All pages but the first two are made zeros, under workers that have them mapped."""

    async def story() -> None:
        first, second, _ = snapshots
        held = Held(first, [])
        async with running(held, tmp_path) as supervisor:
            await change_over(supervisor, second)
            table = second.path / "customers.lmdb"
            with table.open("r+b") as file:
                file.seek(2 * 4096)
                file.write(bytes(table.stat().st_size - 2 * 4096))
            async with asyncio.timeout(PATIENCE_S):
                while not held.bad:
                    await answered(supervisor, 1)
            await until(lambda: supervisor.fleet.swaps["reverted"] == 1)
            async with asyncio.timeout(PATIENCE_S):
                while await answered(supervisor) != {first.snapshot_id}:
                    pass
        assert held.bad[0].startswith(f"{second.snapshot_id}: its tables could not be read")

    asyncio.run(story())
