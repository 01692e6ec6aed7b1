"""A supervisor in the loop of a test, with two real workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from edge.listeners import bound
from edge.serve import Listeners, Memory, Supervisor
from edge.settings import settings_from
from tests.edge.running import PATIENCE_S, TRUSTS_NOBODY


@asynccontextmanager
async def supervised(
    snapshot: Path, secret_file: Path, memory: Memory | None = None, **flags: object
) -> AsyncIterator[Supervisor]:
    """It is there when both workers are ready.

    Args:
        snapshot: what they begin with.
        secret_file: of the brand.
        memory: of the supervisor, if it is to have one.
        flags: further ones, as of `almanac serve`.
    """
    usual = {"port": 0, "admin_port": 0, "workers": 2, "log_format": "json"}
    named = {"snapshot": snapshot, "secret_file": secret_file}
    settings = settings_from(usual | named | flags, {})
    with (
        bound("127.0.0.1", 0, flag="--port") as address,
        bound("127.0.0.1", 0, flag="--admin-port") as admin,
    ):
        supervisor = Supervisor(settings, Listeners(address=address, admin=admin), memory)
        running = asyncio.create_task(supervisor.run())
        try:
            await until(lambda: all_ready(supervisor))
            yield supervisor
        finally:
            supervisor.stop()
            await running


def caller_of(supervisor: Supervisor) -> httpx2.AsyncClient:
    """A caller with connections of its own."""
    return httpx2.AsyncClient(
        base_url=supervisor.fleet.url, verify=TRUSTS_NOBODY, timeout=PATIENCE_S
    )


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - processes are waited for
            await asyncio.sleep(0.02)


def all_ready(supervisor: Supervisor) -> bool:
    """Whether both workers answer."""
    return all(worker.ready for worker in supervisor.fleet.workers())
