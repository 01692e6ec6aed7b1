"""Our own service as a process: `almanac serve` on one snapshot, on cores of its own."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.http_processes import free_port, running
from bench.load.target import target_of
from bench.scorecard.answers import OWN_PATH
from bench.scorecard.runs import Service


def shared_out() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cores for the driver and for the service: one and the others, or all for both of a single."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return (cores[:1], cores[1:]) if len(cores) > 1 else (cores, cores)


@contextmanager
def served(snapshot_dir: Path, secret: bytes, folder: Path, *, workers: int) -> Iterator[Service]:
    """The service while it runs; it is ready when this begins.

    Args:
        snapshot_dir: what to serve.
        secret: of the brand.
        folder: where what it says is kept.
        workers: processes that answer.

    Raises:
        ServerFailed: it ended, or did not answer in time.
    """
    driver_cores, service_cores = shared_out()
    port = free_port()
    command = [
        *(sys.executable, "-m", "almanac", "serve", "--snapshot", str(snapshot_dir)),
        *("--port", str(port), "--admin-port", "0", "--workers", str(workers)),
        *("--log-format", "json"),
    ]
    environment = {**os.environ, "ALMANAC_SECRET": secret.decode("utf-8", "surrogateescape")}
    with running(
        "service",
        command,
        answers=lambda: is_ready(port),
        folder=folder,
        env=environment,
        cores=service_cores,
    ):
        yield Service(
            name="almanac",
            target=target_of(f"http://127.0.0.1:{port}"),
            path=OWN_PATH,
            cores=driver_cores,
        )


def is_ready(port: int) -> bool:
    """Whether a service of ours answers here by now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
