"""Worlds to begin with: one where nothing is announced, one whose node serves `a` for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.node.world import World
from tests.edge.running import Edge, StartEdge


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Snapshots `a` to `d` are published, none is announced; the node knows the first root."""
    world = World.begun(tmp_path_factory.mktemp("begun") / "world", "abcd")
    world.trusting()
    return world


@pytest.fixture(scope="session")
def later(first_night: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The node has followed the channel to `a` and confirmed it."""
    world = first_night.copied(tmp_path_factory.mktemp("served") / "world")
    world.start("a")
    with world.node() as node:
        node.until(lambda: world.standing.last_good == world.ids["a"])
    return world


@pytest.fixture
def new_world(first_night: World, tmp_path: Path) -> World:
    return first_night.copied(tmp_path / "new-world")


@pytest.fixture
def world(later: World, tmp_path: Path) -> World:
    return later.copied(tmp_path / "world")


@pytest.fixture
def start_node() -> Iterator[StartEdge]:
    """Starts the whole node of a world, with any flags; none outlives the test."""
    started: list[Edge] = []

    def start(world: World, **flags: object) -> Edge:
        started.append(Edge(**world.flags() | flags))
        return started[-1]

    yield start
    for edge in started:
        edge.kill()
