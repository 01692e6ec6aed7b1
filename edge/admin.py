"""The admin listener: metrics, readiness of the whole host, console and fleet page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from edge.fleet import Fleet
from edge.health import Readyz, livez, send_json
from edge.metrics import Metrics
from edge.middleware import route, wrapped
from edge.node.messages import CLOCKS_DIFFER, SyncState
from edge.pages import Page
from edge.problems import Check

if TYPE_CHECKING:
    from edge.fleet_board import FleetBoard  # it loads what a host without a channel does not need

_CONSOLE: Final = Path(__file__).with_name("console.html")


def admin_app(fleet: Fleet, board: FleetBoard | None = None) -> ASGIApp:
    """The app of the admin listener. Everything on the console is in `/status.json` too.

    Args:
        fleet: the workers of this host.
        board: all nodes of the channel this host follows; None when it follows none.
    """

    async def status(scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(scope, send, fleet.status())

    pages: dict[str, ASGIApp] = {
        "/": Page(_CONSOLE),
        "/status.json": status,
        "/metrics": Metrics(fleet),
        "/livez": livez,
        "/readyz": Readyz(lambda: _checks(fleet)),
    }
    if board is not None:
        pages |= board.pages()
    routes = [route(path, {"GET": page}) for path, page in pages.items()]
    return wrapped(routes, origins=(), counters=None)


def _checks(fleet: Fleet) -> list[Check]:
    ready = sum(worker.ready for worker in fleet.workers())
    return [
        *_of_node(fleet),
        Check(name="workers", ok=ready > 0, detail=f"{ready} of {fleet.n_workers} workers answer"),
        Check(
            name="staying",
            ok=not fleet.draining,
            detail="draining" if fleet.draining else "not draining",
        ),
    ]


def _of_node(fleet: Fleet) -> list[Check]:
    """How updating stands; whatever hinders it, a node that answers is ready."""
    sync = fleet.sync
    if sync is None:
        return []
    epoch = "no epoch yet" if sync.epoch is None else f"epoch {sync.epoch}"
    told = f"{sync.phase}, channel {sync.channel} of {sync.brand} at {epoch}"
    why = f"; {sync.failure}: {sync.detail}" if sync.failure else ""
    serves = "no snapshot yet" if fleet.facts is None else f"{fleet.facts.snapshot_id} answers"
    vouched = "signed" if sync.trust == "signed" else "insecure: nobody vouches for what is served"
    return [
        Check(name="snapshot", ok=fleet.facts is not None, detail=serves),
        Check(name="updates", ok=True, detail=told + why + _of_clock(sync)),
        Check(name="trust", ok=True, detail=vouched),
    ]


def _of_clock(sync: SyncState) -> str:
    """A word when the channel comes from the future: it may well be this host that is late."""
    issued_at = sync.channel_issued_at
    if issued_at is None or issued_at <= datetime.now(UTC) + CLOCKS_DIFFER:
        return ""
    return f"; issued in the future, {issued_at:%Y-%m-%d %H:%M:%S}Z: look at this node's clock"
