"""Refusals: every error status is a problem document that a page's own code can read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from edge.cells import CODES, blank_rows
from edge.counters import Counters
from edge.middleware import route, wrapped
from edge.state import State
from edge.totals import Totals
from index.request import REPEAT_REMEDY

ORIGIN = {"origin": "https://shop.example"}
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

Refused: TypeAlias = tuple[str, str, bytes, dict[str, str], int]

REFUSED: list[Refused] = [
    ("POST", "/v1/offers", b"{", JSON, 400),
    ("POST", "/v1/offers", b"", JSON, 400),
    ("POST", "/v1/offers", b"\xff\xfe", JSON, 400),
    ("GET", "/v1/offers?customer_id=ann", b"", {}, 400),
    ("GET", "/nothing", b"", {}, 404),
    ("GET", "/v1/offers/", b"", {}, 404),
    ("HEAD", "/nothing", b"", {}, 404),
    ("DELETE", "/v1/offers", b"", {}, 405),
    ("POST", "/livez", b"{}", JSON, 405),
    ("POST", "/v1/offers", b" " * 70_000, JSON, 413),
    ("POST", "/v1/offers", b"k=3", FORM, 415),
    ("POST", "/v1/offers", b"{}", JSON | {"content-encoding": "gzip"}, 415),
    ("POST", "/v1/offers", b"{}", {"content-type": "application/json; charset=utf-16"}, 415),
    ("POST", "/v1/offers", b"[]", JSON, 422),
    ("POST", "/v1/offers", b'{"k": 101}', JSON, 422),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[-1]} {case[0]} {case[1]}")
def test_a_refusal_is_a_problem_document_for_everybody(client: TestClient, case: Refused) -> None:
    method, path, body, headers, status = case
    refused = client.request(method, path, content=body, headers=headers | ORIGIN)

    assert refused.status_code == status
    assert_is_problem(refused.headers, refused.content, status, has_body=method != "HEAD")


def test_a_defect_is_a_problem_document_too() -> None:
    """500 goes out with CORS as well, so that a page tells it from a network error."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    counters = Counters(blank_rows())
    app = wrapped([route("/broken", {"GET": broken})], origins=("*",), counters=counters)

    refused = TestClient(app).get("/broken", headers=ORIGIN)

    assert refused.status_code == 500
    assert_is_problem(refused.headers, refused.content, 500)
    assert "ZeroDivision" not in refused.text
    assert Totals([counters.row.tolist()], ()).codes == {"500": 1}


def assert_is_problem(headers: Any, body: bytes, status: int, *, has_body: bool = True) -> None:
    assert headers["content-type"] == "application/problem+json"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "no-store"
    if not has_body:
        assert body == b""
        return
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["type"].startswith("urn:almanac:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == f"urn:almanac:request:{headers['x-request-id']}"


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({"cart": [{}]}, "$.cart[0]", "Object missing required field `item_id`"),
        ({"cart": [{"item_id": 7}]}, "$.cart[0].item_id", "Expected `str`, got `int`"),
        ({"cart": [{"item_id": ""}]}, "$.cart[0].item_id", "Expected `str` of length >= 1"),
        ({"costumer_id": "ann"}, "$.costumer_id", "is no field; did you mean `customer_id`?"),
        (
            {"cart": [{"item_id": "a", "price": 1}]},
            "$.cart[0].price",
            "is no field; did you mean `unit_price`?",
        ),
        ({"at": "now"}, "$.at", "Invalid RFC3339 encoded datetime"),
        ({"k": 0}, "$.k", "Expected `int` >= 1"),
        ({"repeat": "never"}, "$.repeat", f"Invalid enum value 'never'; {REPEAT_REMEDY}"),
        ({"repeat": 0}, "$.repeat", f"Expected `float` > 0.0; {REPEAT_REMEDY}"),
        ({"repeat": 1.5}, "$.repeat", f"Expected `float` < 1.0; {REPEAT_REMEDY}"),
        (
            {"repeat": [0.5]},
            "$.repeat",
            f"Expected `float | str | null`, got `array`; {REPEAT_REMEDY}",
        ),
        ([], "$", "Expected `object`, got `array`"),
    ],
)
def test_a_misfit_says_where(client: TestClient, body: object, path: str, message: str) -> None:
    refused = client.post("/v1/offers", json=body)

    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"path": path, "message": message}]


@pytest.mark.parametrize("place", ["$", "$.cart[0]"])
def test_no_name_is_looked_for_that_is_like_a_long_one(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It would hold the loop up for as long as the caller likes; who sent it is told its start."""
    compared, found = [], difflib.get_close_matches

    def near(name: str, names: Sequence[str], n: int) -> list[str]:
        compared.append(name)
        return found(name, names, n)

    monkeypatch.setattr("edge.problems.difflib.get_close_matches", near)

    def path_of(name: str) -> str:
        fields = {name: 1} if place == "$" else {"cart": [{"item_id": "a", name: 1}]}
        (error,) = client.post("/v1/offers", json=fields).json()["errors"]
        assert error["message"] == "is no field"
        return str(error["path"])

    assert path_of("x" * 64) == f"{place}.{'x' * 64}"
    assert path_of("x" * 65) == path_of("x" * 60_000) == f"{place}.{'x' * 64}…"
    assert compared == ["x" * 64]


def test_a_batch_hears_the_names_that_a_batch_has(client: TestClient) -> None:
    """And each request in it those of a request."""
    refused = client.post("/v1/offers:batch", json={"request": [{}]}).json()
    inside = client.post("/v1/offers:batch", json={"requests": [{"requestid": "r"}]}).json()

    assert refused["errors"] == [
        {"path": "$.request", "message": "is no field; did you mean `requests`?"}
    ]
    assert inside["decisions"][0]["errors"] == [
        {"path": "$.requestid", "message": "is no field; did you mean `request_id`?"}
    ]


def test_a_wrong_method_hears_the_right_ones(client: TestClient) -> None:
    assert client.put("/v1/offers").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert client.options("/v1/offers").status_code == 204
    assert client.options("/v1/offers").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    no_page = {"access-control-request-method": "POST"}
    assert client.options("/v1/offers", headers=no_page).headers["allow"].startswith("GET, ")


def test_a_preflight_allows_json_and_is_remembered(client: TestClient) -> None:
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    allowed = client.options("/v1/offers", headers=ORIGIN | asked)

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-headers"] == "content-type"
    assert allowed.headers["access-control-max-age"] == "7200"


@pytest.mark.parametrize(
    ("origin", "method", "said"),
    [
        ("https://shop.example", "DELETE", "Disallowed CORS method"),
        ("https://evil.example", "POST", "Disallowed CORS origin"),
    ],
)
def test_a_preflight_that_is_refused_hears_what_is_allowed(
    client_of: Callable[..., TestClient], state: State, origin: str, method: str, said: str
) -> None:
    client = client_of(state, allow_origins="https://shop.example")
    asked = {"origin": origin, "access-control-request-method": method}

    refused = client.options("/v1/offers", headers=asked)

    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"].startswith(f"{said}: pages may use GET, HEAD and POST")


def test_only_named_origins_read_answers(
    client_of: Callable[..., TestClient], state: State
) -> None:
    """Refusals included; and caches hear that the origin matters, whoever asked."""
    client = client_of(state, allow_origins="https://shop.example, https://other.example")

    for path in ("/v1/offers", "/nothing"):
        ours = client.get(path, headers=ORIGIN)
        theirs = client.get(path, headers={"origin": "https://evil.example"})
        assert ours.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-origin" not in theirs.headers
        nobodys = client.get(path)
        assert all(one.headers["vary"] == "Origin" for one in (ours, theirs, nobodys))


def test_the_body_limit_is_exact(client_of: Callable[..., TestClient], state: State) -> None:
    client = client_of(state, max_body_bytes=1024)
    body = b'{"k": 2}'

    def status(content: bytes) -> int:
        return client.post("/v1/offers", content=content, headers=JSON).status_code

    assert status(body + b" " * (1024 - len(body))) == 200
    assert status(body + b" " * (1025 - len(body))) == 413


fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
fields = st.sampled_from(
    ["placement", "customer_id", "k", "at", "context", "cart", "viewed", "exclude", "repeat"]
)


@fuzz
@given(body=st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(body=b"[" * 50_000)
@example(body=b'{"context":' + b'{"a":' * 10_000)
@example(body=b'{"k":1e999}')
@example(body=b'{"placement":"\\ud800"}')
def test_no_bytes_make_a_defect(client: TestClient, body: bytes) -> None:
    assert client.post("/v1/offers", content=body, headers=JSON).status_code in {200, 400, 422}


@fuzz
@given(body=st.dictionaries(fields, json_like))
@example(body={"at": "0001-01-01T00:00:00+14:00"})
@example(body={"at": "9999-12-31T23:59:59-12:00"})
@example(body={"placement": "*"})
@example(body={"context": {"hour_of_week": 33, "category": "food", "price_band": "0"}})
def test_no_json_makes_a_defect(client: TestClient, body: dict[str, object]) -> None:
    content = json.dumps(body).encode()

    assert client.post("/v1/offers", content=content, headers=JSON).status_code in {200, 400, 422}


@fuzz
@given(query=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#")))
@example(query="at=0001-01-01T00:00:00%2B14:00")
@example(query="device=%ff%00&store=")
def test_no_query_makes_a_defect(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/offers?{query}").status_code in {200, 400, 422}


@fuzz
@given(
    kind=st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    request_id=st.text(st.characters(min_codepoint=33, max_codepoint=126)),
)
def test_no_header_makes_a_defect(client: TestClient, kind: str, request_id: str) -> None:
    headers = {"content-type": kind, "x-request-id": request_id}

    assert client.post("/v1/offers", content=b"{}", headers=headers).status_code in {200, 415}


def test_every_refusal_is_counted_by_its_status() -> None:
    assert {status for *_, status in REFUSED} | {500, 503} <= set(CODES)
