"""`almanac serve` itself with its supervisor and workers, as a process that is measured."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from bench.http_processes import Measured, free_port, running
from bench.synthetic import SECRET


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A node that answers.

    Attributes:
        port: where it answers.
        whole: all its processes, the supervisor included.
        workers: its workers, one by one.
        admin_port: where its console is.
    """

    port: int
    whole: Measured
    workers: tuple[Measured, ...]
    admin_port: int

    def private_bytes(self) -> list[int]:
        """Memory of each worker that no other process could share."""
        return [int(worker["private_bytes"]) for worker in _status(self.admin_port)["workers"]]


@contextmanager
def serving(
    snapshot: Path, *, workers: int, folder: Path, cores: Collection[int] = ()
) -> Iterator[Serving]:
    """A node over a synthetic snapshot; all its workers are ready when this begins.

    Args:
        snapshot: what it serves.
        workers: how many processes answer.
        folder: where what it says is kept.
        cores: where it may run; anywhere by default.

    Raises:
        ServerFailed: it did not start.
    """
    port, admin_port = free_port(), free_port()
    command = [sys.executable, "-m", "almanac", "serve", "--snapshot", str(snapshot)]
    command += ["--port", str(port), "--admin-port", str(admin_port), "--workers", str(workers)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("ALMANAC_")}
    env |= {"ALMANAC_SECRET": SECRET.decode(), "OMP_NUM_THREADS": "1"}

    def all_ready() -> bool:
        try:
            told = _status(admin_port)["workers"]
        except (OSError, HTTPException):
            return False
        return len(told) == workers and all(worker["ready"] for worker in told)

    name = f"edge-{workers}-{port}"
    with running(name, command, answers=all_ready, folder=folder, env=env, cores=cores) as whole:
        pids = [int(worker["pid"]) for worker in _status(admin_port)["workers"]]
        yield Serving(
            port=port,
            whole=whole,
            workers=tuple(Measured(name=f"worker {pid}", pids=(pid,)) for pid in pids),
            admin_port=admin_port,
        )


def _status(admin_port: int) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", admin_port, timeout=10)
    try:
        connection.request("GET", "/status.json")
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()
