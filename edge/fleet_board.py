"""All nodes of a channel on one page: read from the store now and then, told from memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.health import send_json
from edge.pages import Page
from edge.settings import Settings
from index.errors import SnapshotError
from index.shipping.channel_store import require_channel
from index.shipping.channel_told import as_object
from index.shipping.fleet_told import fleet_object
from index.shipping.heartbeat_store import hear_fleet
from index.shipping.overlay_store import read_overlay_in_force
from index.shipping.root import Root
from index.shipping.store import Store, open_store
from index.shipping.store_errors import StoreError
from index.shipping.trust import TrustStore

READ_EVERY_S: Final = 2.0
_PAGE: Final = Path(__file__).with_name("fleet.html")

_log = structlog.get_logger()


class FleetBoard:
    """What the store says of a channel and its nodes, as it was read last.

    However many look, the store is asked by one thread and at most once in two seconds. While it
    does not answer, the last that was read is told, and since when.

    Args:
        read: asks the store; takes its time, and runs in a thread.
    """

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        self._read = read
        self._known: dict[str, Any] | None = None
        self._read_at: float | None = None
        self._failure: str | None = None
        self._failing_since: float | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked_at = -READ_EVERY_S

    async def told(self) -> dict[str, Any]:
        """The board, at once unless nothing was ever read."""
        now = time.monotonic()
        if self._reading is None and now - self._asked_at >= READ_EVERY_S:
            self._asked_at = now
            self._reading = asyncio.create_task(self._look())
        if self._known is None and self._reading is not None:
            await asyncio.shield(self._reading)
        return {
            "board": self._known,
            "read_at": self._read_at,
            "failure": self._failure,
            "failing_since": self._failing_since,
        }

    def pages(self) -> dict[str, ASGIApp]:
        """The page, and what it shows as data, by path."""

        async def data(scope: Scope, _receive: Receive, send: Send) -> None:
            await send_json(scope, send, await self.told())

        return {"/fleet": Page(_PAGE), "/fleet.json": data}

    async def _look(self) -> None:
        try:
            self._known = await asyncio.to_thread(self._read)
        except (StoreError, SnapshotError) as problem:
            self._failed(str(problem))
        except Exception as problem:  # noqa: BLE001 - whatever a store's library raises
            # A page must not end because something unforeseen came out of a store.
            _log.exception("fleet page: the store could not be read")
            self._failed(repr(problem))
        else:
            self._read_at, self._failure, self._failing_since = time.time(), None, None
        finally:
            self._reading = None

    def _failed(self, problem: str) -> None:
        self._failure = problem
        if self._failing_since is None:
            self._failing_since = time.time()


def read_board(
    store: Store, brand: str, channel: str, roots: Callable[[], Sequence[Root] | None]
) -> dict[str, Any]:
    """What the fleet page shows: channel, overlay, and every node of which anything was heard.

    Args:
        store: where they are.
        brand: whose channel.
        channel: which.
        roots: whose keys count, asked for each time; None trusts anyone.

    Raises:
        StoreError, TrustError: the channel can't be read or believed.
    """
    trusted, now = roots(), datetime.now(UTC)
    found = require_channel(store, brand, channel, trusted)
    overlay = read_overlay_in_force(store, brand, channel, trusted)
    nodes = hear_fleet(store, brand, channel, trusted, now)
    return {
        "channel": {**as_object(found.channel, now), "signed_under": found.signed_under},
        "overlay": None
        if overlay is None
        else {
            "sequence": overlay.overlay.sequence,
            "stale": overlay.overlay.expires_at <= now,
            "n_kills": len(overlay.overlay.kills),
            "n_stock_outs": len(overlay.overlay.stock_outs),
            "n_prices": len(overlay.overlay.prices),
        },
        "fleet": fleet_object(nodes, found.channel, now),
    }


def board_of(settings: Settings) -> FleetBoard:
    """The board of the channel that a node follows, believed as the node believes it."""
    store, brand = settings.store, settings.brand
    assert store is not None
    assert brand is not None

    def roots() -> list[Root] | None:
        trusted = TrustStore(settings.state_dir / "trust", insecure=settings.insecure).root()
        return None if trusted is None else [trusted]

    return FleetBoard(lambda: read_board(open_store(store), brand, settings.channel, roots))
