"""A repository, and a node that was installed with its first root."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.shipping.trust import TrustStore
from tests.index.shipping.repository import Repository


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def node(repository: Repository, tmp_path: Path) -> TrustStore:
    return repository.node(tmp_path / "state")
