"""The toy shop behind HTTP: in process for what is said, as a real edge for how it lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from edge.app import create_app
from edge.cells import blank_rows
from edge.counters import Counters
from edge.settings import settings_from
from edge.state import State
from index.generation import Generation
from index.snapshot import open_snapshot
from tests.edge.running import Edge, StartEdge
from tests.toys import SECRET, write_toy


@pytest.fixture(scope="session")
def toy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("toy") / "snapshot"
    write_toy(directory)
    return directory


@pytest.fixture
def generation(toy_dir: Path) -> Iterator[Generation]:
    with open_snapshot(toy_dir, SECRET) as opened:
        yield opened


@pytest.fixture
def state(generation: Generation) -> State:
    state = State(Counters(blank_rows()))
    state.adopt(generation)
    return state


@pytest.fixture
def client_of(toy_dir: Path) -> Callable[..., TestClient]:
    """A client of an app over a state, with any settings."""

    def make(state: State, **flags: object) -> TestClient:
        settings = settings_from({"snapshot": toy_dir, "queue_target_ms": 10_000} | flags, {})
        return TestClient(create_app(state, settings))

    return make


@pytest.fixture
def client(client_of: Callable[..., TestClient], state: State) -> TestClient:
    return client_of(state)


@contextmanager
def starting(toy_dir: Path, secret_file: Path) -> Iterator[StartEdge]:
    """Starts real edges on free ports of the loopback; none lives on behind it."""
    secret_file.write_bytes(SECRET)
    started: list[Edge] = []

    def start(**flags: object) -> Edge:
        started.append(Edge(**{"snapshot": toy_dir, "secret_file": secret_file} | flags))
        return started[-1]

    try:
        yield start
    finally:
        for edge in started:
            edge.kill()


@pytest.fixture
def start_edge(toy_dir: Path, tmp_path: Path) -> Iterator[StartEdge]:
    """None outlives the test."""
    with starting(toy_dir, tmp_path / "secret") as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_edge(
    toy_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartEdge]:
    """For tests that leave an edge as they found it, but for what it has counted."""
    with starting(toy_dir, tmp_path_factory.mktemp("shared") / "secret") as start:
        yield start
