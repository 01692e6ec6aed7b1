"""The fleet page: served, read from the store by one thread now and then, honest without one."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import edge.fleet_board
from edge.admin import admin_app
from edge.cells import blank_rows
from edge.fleet import Fleet
from edge.fleet_board import FleetBoard, read_board
from index.shipping.names import channel_key
from index.shipping.store import open_store
from index.shipping.store_errors import Unreachable
from tests.index.shipping.repository import BRAND, CHANNEL, Repository


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(memoryview(bytearray(blank_rows().tobytes() + bytes(8))).cast("Q"), 1)


def test_the_page_and_its_data_come_from_the_store(fleet: Fleet, tmp_path: Path) -> None:
    repository, store = Repository(), open_store(tmp_path / "store")
    read = partial(read_board, store, BRAND, CHANNEL, lambda: [repository.newest])
    with TestClient(admin_app(fleet, FleetBoard(read))) as client:
        told = client.get("/fleet.json").json()
        assert (told["board"], told["read_at"]) == (None, None)
        assert "no channel stable" in told["failure"]
    store.create(channel_key(BRAND, CHANNEL), repository.served)
    with TestClient(admin_app(fleet, FleetBoard(read))) as client:
        told = client.get("/fleet.json").json()
        page = client.get("/fleet")

    assert told["failure"] is None
    assert told["board"]["channel"]["epoch"] == 1
    assert told["board"]["channel"]["signed_under"] == 1
    assert (told["board"]["fleet"]["n_nodes"], told["board"]["overlay"]) == (0, None)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/fleet.json" in page.text


def test_a_host_that_follows_no_channel_has_no_such_page(fleet: Fleet) -> None:
    client = TestClient(admin_app(fleet))

    assert [client.get(path).status_code for path in ("/fleet", "/fleet.json")] == [404, 404]


def test_many_who_look_make_one_read_and_nobody_waits_for_a_slow_store() -> None:
    n_reads, may_answer = [], threading.Event()

    def read() -> dict[str, Any]:
        n_reads.append(1)
        may_answer.wait(30)
        return {"n": len(n_reads)}

    async def look() -> list[dict[str, Any]]:
        board = FleetBoard(read)
        waiting = [asyncio.create_task(board.told()) for _ in range(20)]
        await asyncio.sleep(0)
        may_answer.set()
        return [*await asyncio.gather(*waiting), await board.told()]

    told = asyncio.run(look())
    assert len(n_reads) == 1
    assert [one["board"] for one in told] == [{"n": 1}] * 21


def test_a_store_that_is_down_leaves_what_was_known_and_since_when(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge.fleet_board, "READ_EVERY_S", 0.0)
    answers: list[Any] = [
        {"n": 1},
        Unreachable("no answer"),
        RuntimeError("odd"),
        {"n": 2},
    ]

    def read() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    async def look() -> list[dict[str, Any]]:
        board, told = FleetBoard(read), []
        while answers:
            left = len(answers)
            await board.told()
            while len(answers) == left or board._reading is not None:  # noqa: ASYNC110, SLF001
                await asyncio.sleep(0.001)
            monkeypatch.setattr(edge.fleet_board, "READ_EVERY_S", 1e9)
            told.append(await board.told())
            monkeypatch.setattr(edge.fleet_board, "READ_EVERY_S", 0.0)
        return told

    good, down, worse, again = asyncio.run(look())
    assert (good["board"], good["failure"], good["failing_since"]) == ({"n": 1}, None, None)
    assert (down["board"], down["failure"]) == ({"n": 1}, "no answer")
    assert down["read_at"] == good["read_at"]
    assert "odd" in worse["failure"]
    assert worse["failing_since"] == down["failing_since"]
    assert (again["board"], again["failure"], again["failing_since"]) == ({"n": 2}, None, None)
