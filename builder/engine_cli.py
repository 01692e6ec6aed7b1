"""What the flags of a verb say of its engine: where tasks run, and within what."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb

from builder.engine import Engine
from builder.errors import UsageError, out_of_space
from builder.progress import on_stderr
from index.errors import WriteFailed

_UNITS: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LEAST_MEMORY_BYTES: Final = 512 * 2**20


def engine_from(url: str | None, work_dir: Path, workers: int | None, memory_bytes: int) -> Engine:
    """An engine over processes of this machine, or over those of a cluster.

    Args:
        url: of a Dask cluster; None is this machine.
        work_dir: where results of tasks lie; a cluster's machines share it under this name.
        workers: processes at a time, on this machine only; by default one for each core.
        memory_bytes: for all processes of this machine; a cluster's workers have limits of theirs.

    Raises:
        UsageError: the flags don't go together, or the cluster is not as it must be.
        ClusterUnusable: no cluster answers, or it has no workers.
        NotWritable, WorkDirBusy: as `Engine` does.
    """
    if url is None:
        return Engine(
            work_dir,
            workers=workers_from(workers),
            memory_bytes=memory_bytes,
            listener=on_stderr(),
        )
    if workers is not None:
        raise UsageError(
            "--workers are processes of this machine, and --engine lets others do the work",
            hint="leave one of them out: a cluster has as many workers as were started",
        )
    try:
        from builder.cluster import find_cluster  # noqa: PLC0415 - Dask is an extra of its own
    except ModuleNotFoundError as absent:
        raise UsageError(
            f"--engine needs {absent.name}, which is not installed",
            hint="pip install 'offer-almanac[cluster]'",
        ) from absent
    return find_cluster(url, work_dir).engine(on_stderr())


def workers_from(given: int | None) -> int:
    """How many processes at a time; without a wish, one for each core.

    Raises:
        UsageError: none at all.
    """
    n_workers = (os.cpu_count() or 1) if given is None else given
    if n_workers < 1:
        raise UsageError(f"--workers {n_workers} is none", hint="give at least 1")
    return n_workers


def memory_from(text: str) -> int:
    """Bytes of a size such as 4GiB, 4096M or 4294967296.

    Raises:
        UsageError: no such size, or too little to work with.

    >>> memory_from("4GiB") == memory_from("4096m") == 2**32
    True
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise UsageError(f"--memory {text!r} is no size", hint="say it as 4GiB or 4096M")
    size = int(float(found[1]) * _UNITS[found[2]])
    if size < _LEAST_MEMORY_BYTES:
        raise UsageError(f"--memory {text} is too little", hint="give at least 512MiB")
    return size


@contextmanager
def full_disk_told(work_dir: Path) -> Iterator[None]:
    """What happens in this process, outside of tasks, needs room as well."""
    try:
        yield
    except (OSError, duckdb.Error, WriteFailed) as problem:
        if full := out_of_space(problem, str(getattr(problem, "path", None) or work_dir)):
            raise full from problem
        raise
