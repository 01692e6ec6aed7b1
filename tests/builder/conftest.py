"""Built shops that tests read and never change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.report import Report
from index.generation import Generation
from index.snapshot import open_snapshot
from tests.builder.planted_shop import AS_OF, BuiltShop, Planted, build_shop, write_planted
from tests.builder.reports import empty_report, full_report
from tests.toys import SECRET, write_toy


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """The planted shop's files."""
    return write_planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def rehearsed(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> BuiltShop:
    """The planted shop, built from all its orders."""
    return build_shop(planted, tmp_path_factory.mktemp("rehearsed") / "snapshot", "--workers=1")


@pytest.fixture(scope="session")
def shipped(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> BuiltShop:
    """The planted shop as of a day with many orders after it."""
    out: Path = tmp_path_factory.mktemp("shipped") / "snapshot"
    return build_shop(planted, out, "--workers=1", f"--as-of={AS_OF}")


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Generation]:
    """The toy shop as a snapshot."""
    write_toy(tmp_path / "snapshot")
    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        yield generation


@pytest.fixture(scope="session")
def report() -> Report:
    """A report that says all it can."""
    return full_report()


@pytest.fixture(scope="session")
def nothing() -> Report:
    """As little as a report can hold."""
    return empty_report()
