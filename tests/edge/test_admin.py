"""What the admin listener says of how updating stands; none of it takes a node out of service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from edge.admin import admin_app
from edge.cells import READY, blank_rows, row_of
from edge.fleet import Fleet
from edge.messages import SnapshotFacts
from edge.node.messages import SyncState

SERVED = SnapshotFacts(
    snapshot_id="monday",
    model_id="0" * 64,
    brand="toy",
    timezone="UTC",
    as_of_us=0,
    counts={},
    files=(),
    features=(),
    placements=(),
)
USUAL: dict[str, Any] = {
    "channel": "stable",
    "brand": "toy",
    "trust": "signed",
    "phase": "following",
    "epoch": 7,
}


def told(**changes: Any) -> tuple[dict[str, str], str]:
    """Readiness by the name of the check, and the metrics, of a node that serves."""
    cells = memoryview(bytearray(blank_rows().tobytes() + bytes(8))).cast("Q")
    row_of(cells, 0)[READY] = 1
    fleet = Fleet(cells, 1)
    fleet.facts, fleet.sync = SERVED, SyncState(**(USUAL | changes))
    client = TestClient(admin_app(fleet))
    ready = client.get("/readyz?verbose")
    assert ready.status_code == 200
    checks = {check["name"]: check["detail"] for check in ready.json()["checks"]}
    return checks, client.get("/metrics").text


def test_who_vouches_for_what_is_served_is_told() -> None:
    for trust, words in (("signed", "signed"), ("insecure", "insecure: nobody vouches")):
        checks, metrics = told(trust=trust)
        assert checks["trust"].startswith(words)
        assert f'trust="{trust}"' in metrics


def test_what_hinders_updating_is_told() -> None:
    checks, metrics = told(failure="unreachable", detail="no answer within 10 s")
    assert checks["updates"] == (
        "following, channel stable of toy at epoch 7; unreachable: no answer within 10 s"
    )
    assert 'failure="unreachable"' in metrics


@pytest.mark.parametrize("days_ahead", [-1, 0, 3650])
def test_a_channel_from_the_future_is_told(days_ahead: int) -> None:
    """It is followed: as likely this host's clock is late."""
    checks, _ = told(channel_issued_at=datetime.now(UTC) + timedelta(days=days_ahead))
    assert ("look at this node's clock" in checks["updates"]) is (days_ahead > 0)
