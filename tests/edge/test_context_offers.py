"""`GET /v1/offers`: public answers that caches may keep."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from edge.context_offers import GetOffers
from edge.overload import AT_MOST
from edge.state import State
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.request import Request

AT = "at=2026-11-23T10:17:00Z"


def test_a_public_answer_is_the_decision_for_its_context(
    client: TestClient, generation: Generation
) -> None:
    answer = client.get(f"/v1/offers?placement=checkout&k=3&device=mobile&{AT}")
    decision = answer.json()
    request = Request(
        placement="checkout", k=3, context={"device": "mobile"}, request_id=decision["request_id"]
    )

    assert answer.content == decision_json(decide(generation, request))
    assert decision["tier"] == "context"


def test_a_public_answer_may_be_kept(client: TestClient) -> None:
    answer = client.get("/v1/offers?device=mobile", headers={"origin": "https://shop.example"})

    assert answer.headers["cache-control"] == "public, max-age=60, stale-while-revalidate=600"
    assert answer.headers["cdn-cache-control"].startswith("public, max-age=60")
    assert answer.headers["access-control-allow-origin"] == "*"


def test_what_a_cache_keeps_serves_pages_as_well(client: TestClient) -> None:
    """Whoever asked first, a page or a server, what is kept says that pages may read it."""
    answer = client.get("/v1/offers?device=mobile")

    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["timing-allow-origin"] == "*"
    assert "vary" not in answer.headers


def test_what_a_cache_holds_is_not_sent_again(client: TestClient, generation: Generation) -> None:
    """The tag names the snapshot, is strong, and any of the usual ways to ask gets a 304."""
    first = client.get(f"/v1/offers?device=mobile&{AT}")
    tag = first.headers["etag"]

    assert re.fullmatch(rf'"{generation.snapshot_id}-[0-9a-f]{{24}}"', tag)
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = client.get(f"/v1/offers?device=mobile&{AT}", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["access-control-allow-origin"] == "*"
    other = client.get(f"/v1/offers?device=desktop&{AT}", headers={"if-none-match": tag})
    assert other.status_code == 200


def test_the_same_question_is_the_same_answer_however_it_is_spelled(client: TestClient) -> None:
    """Order, and names the snapshot does not know, make no new answer and no new tag."""
    queries = (
        f"k=3&device=mobile&store=7&{AT}",
        f"{AT}&store=7&device=mobile&k=3&placement=default",
        f"k=3&utm_source=letter&device=mobile&store=7&{AT}",
    )
    answers = [client.get(f"/v1/offers?{query}") for query in queries]

    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert len({answer.content for answer in answers}) == 1


def test_head_is_get_without_the_body(client: TestClient) -> None:
    told, asked = (client.request(how, f"/v1/offers?{AT}") for how in ("GET", "HEAD"))

    assert asked.status_code == 200
    assert asked.content == b""
    for name in ("content-length", "etag", "cache-control", "content-type"):
        assert asked.headers[name] == told.headers[name]


@pytest.mark.parametrize("name", ["customer_id", "cart", "viewed", "declined", "request_id"])
def test_nothing_personal_is_answered_in_public(client: TestClient, name: str) -> None:
    refused = client.get(f"/v1/offers?{name}=ann")

    assert refused.status_code == 400
    assert "use POST" in refused.json()["detail"]
    assert refused.json()["errors"] == [{"path": f"$.{name}", "message": "use POST"}]
    assert refused.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "status", "path"),
    [
        ("k=0", 422, "$.k"),
        ("k=ten", 422, "$.k"),
        ("at=yesterday", 422, "$.at"),
        ("placement=", 422, "$.placement"),
        ("device=mobile&device=desktop", 400, "$.device"),
    ],
)
def test_a_query_that_does_not_fit_says_where(
    client: TestClient, query: str, status: int, path: str
) -> None:
    refused = client.get(f"/v1/offers?{query}")

    assert refused.status_code == status
    assert [error["path"] for error in refused.json()["errors"]] == [path]


def test_a_query_has_an_end(client: TestClient) -> None:
    query = "&".join(f"a{number}=1" for number in range(65))

    assert client.get(f"/v1/offers?{query}").status_code == 400


def test_a_public_answer_below_the_usual_is_for_nobody_s_cache(state: State) -> None:
    """What was given for want of time must not stay for a minute and ten."""

    def headers_at_most(ceiling: str | None) -> dict[bytes, bytes]:
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            raise AssertionError("a GET has no body")

        scope = {"method": "GET", "headers": [], "query_string": b"device=mobile"}
        asyncio.run(GetOffers(state)({**scope, AT_MOST: ceiling}, receive, send))
        return dict(said[0]["headers"])

    usual, context, prior = map(headers_at_most, (None, "context", "prior"))

    assert usual[b"cache-control"] == context[b"cache-control"]
    assert prior[b"cache-control"] == b"no-store"
    assert b"cdn-cache-control" not in prior
    found = [headers.get(b"x-at-most") for headers in (usual, context, prior)]
    assert found == [None, b"context", b"prior"]
