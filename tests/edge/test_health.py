"""Liveness and readiness, in process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from edge.app import create_app, from_environment
from edge.settings import PREFIX, settings_from
from edge.state import State
from index.compiled import IS_COMPILED
from index.generation import Generation
from tests.toys import SECRET

SUMS = "compiled" if IS_COMPILED else "by NumPy, slower"


def test_readiness_lists_what_it_looked_at(client: TestClient, generation: Generation) -> None:
    opened = f"{generation.snapshot_id} is open"

    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/readyz?verbose").json() == {
        "status": "ready",
        "checks": [
            {"name": "snapshot", "ok": True, "detail": opened},
            {"name": "staying", "ok": True, "detail": "not draining"},
            {"name": "sums", "ok": True, "detail": SUMS},
        ],
    }


def test_without_a_snapshot_it_is_alive_but_not_ready(
    client_of: Callable[..., TestClient], state: State
) -> None:
    state.close()
    client = client_of(state)
    refused = client.get("/readyz")

    assert client.get("/livez").status_code == 200
    assert refused.status_code == 503
    assert refused.json()["detail"] == "no snapshot is open"
    assert [check["name"] for check in refused.json()["checks"]] == ["snapshot"]


def test_a_draining_process_is_not_ready(state: State, toy_dir: Path) -> None:
    app = create_app(state, settings_from({"snapshot": toy_dir}, {}), draining=lambda: True)
    client = TestClient(app)

    assert client.get("/readyz").json()["detail"] == "draining"
    assert client.post("/v1/offers", json={}).status_code == 200


def test_any_server_can_run_the_app(
    toy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made from the environment alone; its lifespan opens and closes the snapshot."""
    (tmp_path / "secret").write_bytes(SECRET)
    monkeypatch.setenv(f"{PREFIX}SNAPSHOT", str(toy_dir))
    monkeypatch.setenv(f"{PREFIX}SECRET_FILE", str(tmp_path / "secret"))
    app = from_environment()

    assert TestClient(app).get("/readyz").status_code == 503
    with TestClient(app) as client:
        assert client.post("/v1/offers", json={"customer_id": "ann"}).json()["tier"] == "individual"
