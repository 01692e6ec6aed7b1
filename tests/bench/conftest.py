"""A small synthetic shop, opened once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.synthetic import SECRET, Shape, write_synthetic
from index.generation import Generation
from index.snapshot import open_snapshot


@pytest.fixture(scope="session")
def shape() -> Shape:
    return Shape(n_customers=1000, n_offers=1000)


@pytest.fixture(scope="session")
def generation(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    directory = tmp_path_factory.mktemp("bench") / "snapshot"
    write_synthetic(directory, shape)
    with open_snapshot(directory, SECRET) as opened:
        yield opened
