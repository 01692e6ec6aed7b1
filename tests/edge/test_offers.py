"""`POST /v1/offers`: the decision, its headers, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from edge.openapi import Answer
from edge.state import State
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.request import CartLine, Request
from tests.toys import item_id

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
items = st.integers(0, 45).map(item_id) | text.filter(bool)
values = st.none() | text | st.booleans() | st.integers(-9, 999) | st.floats(0, 9)
cart_lines = st.builds(
    CartLine,
    item_id=items,
    quantity=st.none() | st.floats(0, 99),
    unit_price=st.none() | st.floats(0, 99),
    category=st.none() | st.sampled_from(["Food", "Food > Bread", "Toys"]),
)
requests = st.builds(
    Request,
    placement=st.sampled_from(["default", "checkout"]) | text.filter(bool),
    customer_id=st.none() | st.sampled_from(["ann", "bob", ""]) | text,
    k=st.integers(1, 100),
    at=st.datetimes(timezones=st.none() | st.just(UTC)),
    context=st.dictionaries(st.sampled_from(["device", "store"]) | text, values, max_size=4),
    cart=st.lists(cart_lines, max_size=4),
    viewed=st.lists(items, max_size=4),
    exclude=st.lists(items, max_size=4),
    declined=st.lists(items, max_size=4),
    repeat=st.sampled_from([None, "allow", "exclude"])
    | st.floats(0, 1, exclude_min=True, exclude_max=True),
    explain=st.booleans(),
    request_id=text.filter(bool),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(request=requests)
def test_the_answer_is_the_decision(
    client: TestClient, generation: Generation, request: Request
) -> None:
    """What HTTP answers is what `decide` decides, byte for byte."""
    answer = client.post("/v1/offers", content=msgspec.json.encode(request), headers=JSON)

    assert answer.status_code == 200
    assert answer.content == decision_json(decide(generation, request))
    msgspec.json.decode(answer.content, type=Answer)


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "text/plain",
        "text/plain;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
def test_json_may_come_as_text(client: TestClient, kind: str) -> None:
    """`text/plain` spares a page the preflight, and is all that sendBeacon can send."""
    answer = client.post("/v1/offers", content=b'{"k": 2}', headers={"content-type": kind})

    assert answer.status_code == 200
    assert len(answer.json()["offers"]) == 2


def test_a_personal_answer_is_nobody_else_s(client: TestClient) -> None:
    answer = client.post("/v1/offers", json={"customer_id": "ann"})

    assert answer.headers["cache-control"] == "private, no-store"
    assert "etag" not in answer.headers


def test_headers_say_which_snapshot_which_request_and_how_long(
    client: TestClient, generation: Generation
) -> None:
    answer = client.post("/v1/offers", json={"request_id": "r-1"})

    assert answer.headers["x-snapshot-id"] == generation.snapshot_id
    assert answer.headers["x-request-id"] == "r-1"
    assert re.fullmatch(r"decide;dur=\d+\.\d{3}", answer.headers["server-timing"])


def test_a_page_may_read_answers_and_their_times_and_a_server_is_not_told_so(
    client: TestClient,
) -> None:
    page = client.post("/v1/offers", json={}, headers={"origin": "https://shop.example"})
    server = client.post("/v1/offers", json={})
    named = {"access-control-allow-origin", "access-control-expose-headers", "timing-allow-origin"}

    assert named <= {*page.headers}
    assert page.headers["timing-allow-origin"] == page.headers["access-control-allow-origin"] == "*"
    assert not named & {*server.headers}


def test_a_request_without_id_gets_one(client: TestClient) -> None:
    """The header's id is taken, else a new one is made; the body says the same as the header."""
    made = [client.post("/v1/offers", json={}) for _ in range(2)]
    given = client.post("/v1/offers", json={}, headers={"x-request-id": "from-the-proxy"})

    assert made[0].json()["request_id"] < made[1].json()["request_id"]
    assert all(UUID7.fullmatch(answer.headers["x-request-id"]) for answer in made)
    assert given.json()["request_id"] == given.headers["x-request-id"] == "from-the-proxy"


@pytest.mark.parametrize("odd", ["a\r\nset-cookie: x", "ünï", "a b", '%"', "\x00"])
def test_no_request_id_breaks_out_of_its_header(client: TestClient, odd: str) -> None:
    answer = client.post("/v1/offers", json={"request_id": odd})

    assert answer.status_code == 200
    assert answer.json()["request_id"] == odd
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-request-id"].isascii()


def test_without_a_moment_the_present_counts(client: TestClient, generation: Generation) -> None:
    """The edge puts in the time, so that hours and validity count without the caller's help."""

    def decided_now() -> bytes:
        request = Request(request_id="r-1", k=100, explain=True, at=datetime.now(UTC))
        return decision_json(decide(generation, request))

    before = decided_now()
    answer = client.post("/v1/offers", json={"request_id": "r-1", "k": 100, "explain": True})

    assert answer.content in {before, decided_now()}


def test_answers_leave_no_reader_inside(
    client_of: Callable[..., TestClient], state: State, generation: Generation
) -> None:
    """Bytes are copied out of the tables: closing waits for nobody, and answers stay readable."""
    answer = client_of(state).post("/v1/offers", json={"customer_id": "ann", "explain": True})

    state.close()

    assert generation.is_closed
    assert json.loads(answer.content)["tier"] == "individual"


def test_without_a_snapshot_the_answer_is_try_again(
    client_of: Callable[..., TestClient], state: State
) -> None:
    state.close()
    client = client_of(state)

    for answer in (client.post("/v1/offers", json={}), client.get("/v1/offers")):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
