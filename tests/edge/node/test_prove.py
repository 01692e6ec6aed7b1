"""The trial of a snapshot: a verdict whatever happens to the process that tries it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import NotProved, Unfit
from edge.node.prove import prove
from edge.node.verdict import Verdict
from tests.edge.node.world import World
from tests.toys import SECRET


def tried(world: World, **words: object) -> Verdict:
    secret_file = world.top / "secret"
    secret_file.write_bytes(SECRET)
    usual = {"secret_file": secret_file, "max_private_bytes": 1 << 30}
    return prove(world.built("a"), **(usual | words))  # type: ignore[arg-type] # by name


def the_child() -> int:
    """The only process that this one has started and not waited for."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return next(int(child) for child in children if b"edge.node.proof" in command(child))


def command(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def killing(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(the_child(), number)


def test_a_sound_snapshot_is_proved_with_all_its_golden_decisions(first_night: World) -> None:
    verdict = tried(first_night)

    assert (verdict.outcome, verdict.n_golden) == ("proved", 6)
    assert verdict.private_bytes < 64 << 20


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV])
def test_case_25_a_signal_ends_the_trial_and_nothing_else(
    first_night: World, number: signal.Signals
) -> None:
    with pytest.raises(NotProved, match=f"died of {number.name}"):
        tried(first_night, meanwhile=killing(number))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU])
def test_case_42_the_kernel_kills_for_want_of_memory_and_damage_in_other_ways(
    first_night: World, number: signal.Signals
) -> None:
    with pytest.raises(Unfit, match=f"killed from outside .{number.name}"):
        tried(first_night, meanwhile=killing(number))


def test_a_trial_that_takes_too_long_is_over(first_night: World) -> None:
    with pytest.raises(NotProved, match=r"more than 0\.01 s"):
        tried(first_night, limit_s=0.01, meanwhile=killing(signal.SIGSTOP))
    with pytest.raises(StopIteration):
        the_child()


def test_who_waits_may_leave(first_night: World) -> None:
    def leave() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        tried(first_night, meanwhile=leave)
    with pytest.raises(StopIteration):
        the_child()


def test_case_33_memory_of_its_own_is_measured_against_a_limit(first_night: World) -> None:
    with pytest.raises(Unfit, match="bytes of memory in each worker, at most 1 may be"):
        tried(first_night, max_private_bytes=1)


def test_another_secret_is_the_node_s_fault(first_night: World, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another-secret-of-a-shop")

    with pytest.raises(Unfit, match="built with secret"):
        tried(first_night, secret_file=tmp_path / "other")
    with pytest.raises(Unfit, match="cannot be read"):
        tried(first_night, secret_file=tmp_path / "missing")


@pytest.mark.parametrize("cut", [4096, -1])
def test_case_25_a_cut_file_is_not_proved(first_night: World, tmp_path: Path, cut: int) -> None:
    world = first_night.copied(tmp_path / "world")
    path = world.built("a") / "items.lmdb"
    os.truncate(path, path.stat().st_size + cut if cut < 0 else cut)

    with pytest.raises(NotProved, match=r"items\.lmdb: "):
        tried(world)
