"""The pages: one file each, allowed to run what is inside them and to fetch from here alone."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from edge.admin import admin_app
from edge.cells import blank_rows
from edge.errors import SettingsRefused
from edge.fleet import Fleet
from edge.state import State

ClientOf = Callable[..., TestClient]


@pytest.fixture
def shop(client_of: ClientOf, state: State) -> TestClient:
    return client_of(state, storefront=True)


@pytest.fixture
def console() -> TestClient:
    return TestClient(admin_app(Fleet(blank_rows(2), 2)))


@pytest.mark.parametrize("name", ["shop", "console"])
def test_a_page_runs_only_its_own_script(name: str, request: pytest.FixtureRequest) -> None:
    """The policy names the digests of what is inside; nothing points outside."""
    page = request.getfixturevalue(name).get("/")
    policy = page.headers["content-security-policy"]
    blocks = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", page.text, re.DOTALL)

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(blocks) == 2
    for block in blocks:
        assert b64encode(sha256(block.encode()).digest()).decode() in policy
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page.text)
    assert not re.search(r"\s(style|on[a-z]+)=", page.text), "the policy would drop it"
    assert "innerHTML" not in page.text, "titles come from outside"


def test_the_shop_knows_what_can_be_set(shop: TestClient, state: State) -> None:
    assert state.generation is not None
    setup = shop.get("/storefront/setup.json").json()

    assert setup["snapshot_id"] == state.generation.snapshot_id
    assert setup["brand"] == "toy"
    assert [feature["name"] for feature in setup["features"]] == ["hour_of_week", "device", "store"]
    assert setup["features"][1]["values"] == ["desktop", "mobile"]
    assert setup["personas"] == []


def test_items_are_found_by_their_words_best_seller_first(shop: TestClient) -> None:
    def found(text: str) -> list[str]:
        items = shop.get("/storefront/items.json", params={"q": text}).json()
        return [item["item_id"] for item in items]

    assert found("ITEM 31") == ["item-031"]
    assert found("7 item")[:3] == ["item-007", "item-017", "item-027"]
    assert found("nothing like it") == []
    assert len(found("")) == 12


def test_personas_come_from_a_file(client_of: ClientOf, state: State, tmp_path: Path) -> None:
    people = [{"customer_id": "ann", "label": "Ann", "note": "nine orders"}]
    (tmp_path / "people.json").write_text(json.dumps(people))
    shop = client_of(state, storefront=True, personas=tmp_path / "people.json")

    assert shop.get("/storefront/setup.json").json()["personas"] == people


@pytest.mark.parametrize("content", [None, "{", '[{"label": "nobody"}]'])
def test_a_file_without_personas_is_refused(
    client_of: ClientOf, state: State, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "people.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsRefused, match=r"people\.json"):
        client_of(state, storefront=True, personas=path)


def test_an_edge_without_workers_is_not_ready(console: TestClient) -> None:
    refused = console.get("/readyz?verbose")

    assert refused.status_code == 503
    assert refused.json()["detail"] == "0 of 2 workers answer"
    assert console.get("/livez").status_code == 200
    assert console.get("/nothing").headers["content-type"] == "application/problem+json"
    assert console.get("/status.json").json()["snapshot"] is None
