"""The toy shop as a snapshot: one that all tests share and only read, and copies to damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index.generation import Generation
from index.request import CartLine, Request
from index.snapshot import open_snapshot
from tests.toys import SECRET, item_id, toy_customer_key, write_toy

GOLDEN: tuple[tuple[bytes | None, Request], ...] = (
    (None, Request()),
    (toy_customer_key("ann"), Request(context={"device": "mobile"})),
    (toy_customer_key("bob"), Request(cart=[CartLine(item_id=item_id(1))], k=5)),
)


@pytest.fixture(scope="session")
def toy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("toy") / "snapshot"
    write_toy(directory, golden=GOLDEN)
    return directory


@pytest.fixture(scope="session")
def toy(toy_dir: Path) -> Iterator[Generation]:
    with open_snapshot(toy_dir, SECRET) as generation:
        yield generation


@pytest.fixture
def toy_copy(toy_dir: Path, tmp_path: Path) -> Path:
    """A copy whose files can be written to."""
    directory = tmp_path / "copy"
    shutil.copytree(toy_dir, directory, copy_function=shutil.copyfile)
    return directory


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Callable[..., Generation]]:
    """Writes and opens a variation of the toy shop; takes what `write_toy` takes."""
    opened: list[Generation] = []

    def make(**variation: object) -> Generation:
        directory = tmp_path / f"shop-{len(opened)}"
        write_toy(directory, **variation)  # type: ignore[arg-type]
        opened.append(open_snapshot(directory, SECRET))
        return opened[-1]

    yield make
    for generation in opened:
        generation.close()
