"""Stores to write to, a folder and a bucket of a real S3 server; and whom a node trusts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from index.shipping.store import Store, open_store
from index.shipping.trust import TrustStore
from tests.index.shipping.repository import Repository
from tests.index.shipping.web_servers import Answers, web_server


@pytest.fixture
def bucket(s3: Mapping[str, str]) -> Store:
    return open_store(f"s3://tests/{uuid4().hex}/below", environ=s3)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store that can be written to."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Answers]:
    """A web server over the folder of the local store."""
    with web_server(tmp_path / "store") as answers:
        yield answers


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a file to ship."""

    def write(data: bytes) -> Path:
        path = tmp_path / f"file-{uuid4().hex}"
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def repository() -> Repository:
    """A repository that plays attacks."""
    return Repository()


@pytest.fixture
def node(repository: Repository, tmp_path: Path) -> TrustStore:
    """A node that was installed with its first root."""
    return repository.node(tmp_path / "state")
