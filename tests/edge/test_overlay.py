"""An overlay over what answers: in the endpoints, across snapshots, in cells and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient

from edge.cells import READY, blank_rows, row_of
from edge.counters import Counters
from edge.fleet import Fleet
from edge.metrics import FleetCollector
from edge.state import State, apply_overlay
from edge.totals import Totals
from index.errors import Corrupt
from index.overlay import NewPrice, Overlay, Removal
from index.snapshot import open_snapshot
from tests.toys import SECRET, item_id

NOW = datetime.now(UTC).replace(microsecond=0)


def payload(*rows: int, sequence: int = 1, **changes: object) -> bytes:
    gone = Removal(reason="why", since=NOW)
    parts: dict[str, object] = {
        "brand": "toy",
        "channel": "stable",
        "sequence": sequence,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(days=1),
        "kills": {item_id(row): gone for row in rows},
        "root_version": 1,
    }
    return msgspec.json.encode(Overlay(**parts | changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _plain(state: State) -> Iterator[None]:
    yield
    apply_overlay(state, payload())


def shown(client: TestClient) -> list[str]:
    return [offer["offer_id"] for offer in client.get("/v1/offers?k=3").json()["offers"]]


def test_it_holds_for_the_next_request_and_for_the_next_snapshot(
    client: TestClient, state: State, toy_dir: Path
) -> None:
    assert shown(client) == [item_id(row) for row in (0, 1, 2)]
    apply_overlay(state, payload(0, 2))
    assert shown(client) == [item_id(row) for row in (1, 3, 4)]
    with pytest.raises(Corrupt):
        apply_overlay(state, b"{}")
    assert shown(client) == [item_id(row) for row in (1, 3, 4)]
    with open_snapshot(toy_dir, SECRET) as later:
        before = state.generation
        state.adopt(later)
        assert shown(client) == [item_id(row) for row in (1, 3, 4)]
        apply_overlay(state, payload(1, sequence=2))
        assert shown(client) == [item_id(row) for row in (0, 2, 3)]
        assert before is not None
        state.adopt(before)
    assert shown(client) == [item_id(row) for row in (0, 2, 3)]


def test_an_explained_answer_tells_it(client: TestClient, state: State) -> None:
    cut = NewPrice(price=1.5, reason="cut", since=NOW)
    apply_overlay(state, payload(0, sequence=5, prices={item_id(1): cut}))
    answer = client.post("/v1/offers", json={"k": 2, "explain": True}).json()

    assert answer["overlay"] == {"sequence": 5, "removed": [item_id(0)], "repriced": [item_id(1)]}
    assert answer["offers"][0]["price"] == 1.5
    assert "overlay" not in client.post("/v1/offers", json={"k": 2}).json()


def test_metrics_tell_the_overlay_of_the_worker_that_lags_behind(toy_dir: Path) -> None:
    cells = memoryview(bytearray(blank_rows(3).tobytes() + bytes(8))).cast("Q")
    fleet, rows = Fleet(cells, 3), [row_of(cells, slot) for slot in range(3)]
    assert _metrics(fleet) == {"almanac_overlay_sequence": [0]}
    with open_snapshot(toy_dir, SECRET) as generation:
        for row, sequence in zip(rows[:2], (4, 3), strict=True):
            row[READY] = 1
            state = State(Counters(row))
            state.adopt(generation)
            apply_overlay(state, payload(1, 2, sequence=sequence, issued_at=NOW - timedelta(1)))
    told = _metrics(fleet)
    assert told["almanac_overlay_sequence"] == [3]
    assert told["almanac_overlay_offers"] == [2, 0, 0]
    assert told["almanac_overlay_stale"] == [0]
    assert told["almanac_overlay_age_seconds"][0] >= 86_400
    stale = payload(expires_at=NOW - timedelta(hours=1), issued_at=NOW - timedelta(2))
    for row in rows[:2]:
        apply_overlay(State(Counters(row)), stale)
    assert _metrics(fleet)["almanac_overlay_stale"] == [0], "no snapshot, nothing laid over"


def _metrics(fleet: Fleet) -> dict[str, list[float]]:
    return {
        metric.name: [sample.value for sample in metric.samples]
        for metric in FleetCollector(fleet).collect()
        if metric.name.startswith("almanac_overlay")
    }


def test_answers_without_offers_and_first_scores_are_counted() -> None:
    row = blank_rows()
    counters = Counters(row)
    for n, score in ((0, 0.0), (3, -2.5), (1, -0.5), (2, float("nan")), (1, 4.0)):
        counters.shown(n, score)
    totals = Totals([row, row], ())

    assert totals.empty == 2
    assert totals.scored == (6, 2.0, 2 * (6.25 + 0.25 + 16.0))
