"""Who opens no table brings none of the libraries that do, and starts sooner for it."""

from __future__ import annotations

from pathlib import Path

from tests.edge.node.world import World
from tests.edge.running import StartEdge, eventually

LIBRARIES = ("numpy", "faiss", "lmdb")


def loaded(pid: int) -> set[str]:
    """Which of the libraries a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in LIBRARIES if f"/site-packages/{name}" in maps}


def test_only_workers_load_what_reads_tables(
    world: World, start_node: StartEdge, tmp_path: Path
) -> None:
    edge = start_node(world, workers=1, decision_log=tmp_path / "log")
    eventually(lambda: edge.status()["snapshot"]["snapshot_id"] == world.ids["a"])
    world.announce("b")
    eventually(lambda: edge.status()["snapshot"]["snapshot_id"] == world.ids["b"])
    (worker,) = edge.status()["workers"]
    others = [edge.process.pid, *edge.beside_workers()]

    assert loaded(worker["pid"]) == set(LIBRARIES)
    assert [loaded(pid) for pid in others] == [set()] * 3  # supervisor, sync, log
