"""The engine over a Dask cluster: the same results as here, or why not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from almanac import main
from builder import cluster as clusters
from builder.cluster import Cluster, find_cluster
from builder.engine import ONE_THREAD, Task
from builder.errors import ClusterUnusable, DataGate, TaskFailed, UsageError
from builder.intake import Inputs
from builder.progress import Listener, TaskCost
from tests.builder.engine_tasks import Count, Describe, DieUntil, Raise
from tests.builder.files import write_rows
from tests.builder.nights import build_inputs
from tests.builder.planted_shop import ROOT
from tests.builder.test_odd_shops import LINES

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process say how many threads libraries get; that is undone."""
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and two workers, started as people start them."""
    folder = tmp_path_factory.mktemp("cluster")
    found = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    plain = ["--scheduler-file", str(found), "--no-dashboard"]
    worker = ["--nthreads", "1", "--memory-limit", "1GiB", "--local-directory", str(folder)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "dask", *words, *plain],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for words in (["scheduler", "--port", "0"], ["worker", "--nworkers", "2", *worker])
    ]
    try:
        with closing(Client(scheduler_file=str(found), timeout=PATIENCE_S)) as client:
            client.wait_for_workers(2, PATIENCE_S)
        yield json.loads(found.read_text())["address"].removeprefix("tcp://")
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def workers() -> Iterator[Callable[..., str]]:
    """Starts a cluster in this process; returns its URL."""
    with ExitStack() as stack:

        def start(**words: Any) -> str:
            defaults = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": 2**30}
            local = LocalCluster(
                processes=False, dashboard_address=":0", protocol="tcp", **{**defaults, **words}
            )
            return f"dask://{stack.enter_context(local).scheduler_address.removeprefix('tcp://')}"

        yield start


class Killer(Listener):
    """Kills all workers of a cluster when they have done one of the tasks of learning."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.killed: list[int] = []

    def task_finished(self, stage: str, cost: TaskCost) -> None:
        super().task_finished(stage, cost)
        if stage.startswith("signals") and not self.killed:
            with closing(Client(f"tcp://{self.address}", set_as_default=False)) as client:
                self.killed += client.run(os.getpid).values()
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


def test_a_cluster_whose_workers_die_builds_the_same_snapshot(address: str, tmp_path: Path) -> None:
    inputs = Inputs(events=(write_rows(tmp_path / "events.csv", LINES),), items=(), offers=())
    killer = Killer(address)
    here = build_inputs(tmp_path / "here", inputs)
    with find_cluster(f"dask://{address}", tmp_path / "work").engine(killer) as engine:
        there = build_inputs(tmp_path / "there", inputs, over=engine)

    assert len(killer.killed) == 2
    assert there.manifest.model_id == here.manifest.model_id
    digests = [{file.name: file.sha256 for file in built.manifest.files} for built in (here, there)]
    assert digests[0] == digests[1]


def test_a_worker_that_a_task_kills_is_replaced(address: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with find_cluster(f"dask://{address}", tmp_path / "work").engine(Listener()) as engine:
        counts = [Count(number=n, marks=marks) for n in range(4)]
        tasks: list[Task] = [DieUntil(deaths=1, marks=marks), *counts]
        folders = engine.run("mixed", tasks)
        (seen,) = engine.run("describe", [Describe()])

    assert [(folder / "done.json").exists() for folder in folders] == [True] * 5
    assert not (folders[0] / "number").exists()
    shares = {int((folder / "number").read_text()) // n for n, folder in enumerate(folders[2:], 1)}
    assert shares == {int(2**30 * 0.7)}
    assert (seen / "seen").read_text() == "1 (1, 'UTC', False)"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"threads_per_worker": 2}, "has 2 threads"),
        ({"memory_limit": 128 * 2**20}, "may take 128 MiB"),
        ({"memory_limit": 0}, "has no limit of memory"),
    ],
    ids=["threads", "little memory", "no limit"],
)
def test_workers_must_be_fit_for_tasks(
    workers: Callable[..., str], tmp_path: Path, words: dict[str, int], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        find_cluster(workers(**words), tmp_path)


def test_a_cluster_without_workers_is_waited_for_and_told(
    workers: Callable[..., str], tmp_path: Path
) -> None:
    with pytest.raises(ClusterUnusable, match=r"no worker has come within 0\.1 s") as told:
        find_cluster(workers(n_workers=0), tmp_path, wait_s=0.1)
    assert told.value.exit_code == 75


def test_what_is_no_cluster_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_ANSWER_S", 0.5)
    with pytest.raises(UsageError, match="is no cluster"):
        find_cluster("ray://somewhere:1", tmp_path)
    with pytest.raises(ClusterUnusable, match="no scheduler answers there"):
        find_cluster("dask://127.0.0.1:1", tmp_path)


def test_what_tasks_raise_comes_home(workers: Callable[..., str], tmp_path: Path) -> None:
    with find_cluster(workers(), tmp_path / "work").engine(Listener()) as engine:
        with pytest.raises(DataGate, match="too bad") as ours:
            engine.run("gate", [Raise(error=DataGate("too bad"))])
        with pytest.raises(TaskFailed, match=r"^any/raise failed: ValueError: so"):
            engine.run("any", [Raise(error=ValueError("so"))])
    assert (ours.value.stage, ours.value.task) == ("gate", "raise")


def test_a_worker_with_another_folder_or_other_code_is_refused(
    workers: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_cluster(workers(), tmp_path)
    assert refusal(found, lambda: None) == ""
    replaced = refusal(found, lambda: (tmp_path / ".shared").write_text("of another machine"))
    assert replaced.endswith(f"work folder {tmp_path}: another one has its name there")
    missing = refusal(found, (tmp_path / ".shared").unlink)
    assert missing.endswith(f"work folder {tmp_path}: No such file or directory")
    monkeypatch.setattr(clusters, "code_digest", iter(["ours", "theirs"]).__next__)
    assert refusal(found, lambda: None).endswith("runs other code or other versions of libraries")


def refusal(cluster: Cluster, between: Callable[[], object]) -> str:
    """What a worker says to a task after something happened; nothing where it ran."""
    with cluster.executor() as executor:
        between()
        error = executor.submit(len, "task").exception(PATIENCE_S)
    assert error is None or isinstance(error, UsageError)
    return "" if error is None else str(error)


def test_flags_that_do_not_go_together_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["build", "--events", "e.csv", "--out", str(tmp_path / "out"), "--engine=dask://h:1"]
    monkeypatch.setenv("ALMANAC_SECRET", "a secret of tests, 32 bytes long")
    assert main([*words, "--workers=2"]) == 2
    assert "--workers are processes of this machine" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "builder.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(words) == 2
    assert "pip install 'offer-almanac[cluster]'" in capsys.readouterr().err
