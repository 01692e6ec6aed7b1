"""`POST /v1/offers:batch`: each request answered as if it had come alone."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from edge.batch import PostBatch
from edge.offers import timed_answer
from edge.overload import Admission
from edge.state import State
from edge.totals import Totals
from index.answer import Answer
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.request import Request
from tests.toys import item_id


def asked(place: int) -> dict[str, Any]:
    return {
        "customer_id": ["ann", "bob", "nobody"][place % 3],
        "k": 1 + place % 5,
        "at": "2025-12-01T12:00:00Z",
        "cart": [{"item_id": item_id(place % 40)}],
        "request_id": f"r{place}",
    }


def test_a_hundred_are_answered_as_they_would_be_alone(
    client: TestClient, generation: Generation
) -> None:
    """In order, byte for byte, and counted one by one."""
    requests = [asked(place) for place in range(100)]

    answer = client.post("/v1/offers:batch", json={"requests": requests})

    assert answer.status_code == 200
    alone = [
        decision_json(decide(generation, msgspec.convert(one, Request, strict=False)))
        for one in requests
    ]
    assert answer.content == b'{"decisions":[%b],"answered":100,"refused":0}' % b",".join(alone)
    assert answer.headers["x-snapshot-id"] == generation.snapshot_id
    assert answer.headers["cache-control"] == "private, no-store"


def test_a_bad_request_spoils_no_other(client: TestClient) -> None:
    """A problem stands in its place, saying what one alone would have been told."""
    body = {"requests": [{"request_id": "first"}, {"k": 0}, {"kk": 1}, "no object", {}]}

    answer = client.post("/v1/offers:batch", json=body, headers={"x-request-id": "page-7"}).json()

    assert [one.get("status") for one in answer["decisions"]] == [None, 422, 422, 422, None]
    assert (answer["answered"], answer["refused"]) == (2, 3)
    assert answer["decisions"][0]["request_id"] == "first"
    assert answer["decisions"][4]["request_id"] == "page-7.4"
    alone = client.post("/v1/offers", json={"k": 0}).json()
    assert answer["decisions"][1]["errors"] == alone["errors"]
    assert answer["decisions"][1]["instance"] == "urn:almanac:request:page-7.1"


def test_requests_without_an_id_get_different_ones(client: TestClient) -> None:
    answer = client.post("/v1/offers:batch", json={"requests": [{}] * 3}).json()

    assert len({one["decision_id"] for one in answer["decisions"]}) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b'{"requests": []}', 422),
        (b'{"requests": [%b]}' % b",".join([b"{}"] * 101), 422),
        (b'{"requests": [{}], "more": 1}', 422),
        (b'{"requests": [{}]}' + b" " * (17 << 16), 413),
    ],
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(
    client: TestClient, body: bytes, status: int
) -> None:
    refused = client.post(
        "/v1/offers:batch", content=body, headers={"content-type": "application/json"}
    )

    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("each_us", "looks"),
    [
        (1, 0),
        (100, 4),  # each after 2.1 ms
        (1_000, 33),
        (60_000, 99),  # nothing is cut in two, but nobody waits for a second one
    ],
)
def test_others_are_answered_between_two_pieces_of_a_batch(
    state: State, generation: Generation, monkeypatch: pytest.MonkeyPatch, each_us: int, looks: int
) -> None:
    """By time. They are seen to have waited, and the snapshot stays open as long as needed."""
    body = msgspec.json.encode({"requests": [asked(place) for place in range(100)]})
    now_ns, turns, pinned = 0, 0, []

    def slow_answer(*asked: Any) -> tuple[Answer, int]:
        nonlocal now_ns
        now_ns += each_us * 1000
        return timed_answer(*asked)

    monkeypatch.setattr("edge.batch.timed_answer", slow_answer)

    def clock() -> int:
        return now_ns

    admission = Admission(state.counters, target_ms=10_000, clock=clock)
    post = PostBatch(state, max_body_bytes=1 << 16, busy=admission.busy, clock=clock)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            assert message["body"].endswith(b'"answered":100,"refused":0}')

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            admission.level()
            pinned.append(state.is_pinned(generation))
            await asyncio.sleep(0)

    async def both() -> None:
        other = asyncio.create_task(others())
        await post({"method": "POST", "headers": []}, receive, send)
        other.cancel()

    asyncio.run(both())

    waited = Totals([state.counters.row.tolist()], ()).queue_buckets
    assert turns == looks
    assert waited[0] == (0.001, 0)
    assert waited[-1][1] == looks
    assert all(pinned)
    assert not state.is_pinned(generation)
