"""A fresh worker warms up: real requests, the real server, and nothing is left of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
import uvicorn

from edge import warm
from edge.app import create_app
from edge.cells import blank_rows
from edge.counters import Counters
from edge.settings import Settings, settings_from
from edge.state import State
from edge.warm import warm_up_server
from edge.worker import Server, server_config
from index.generation import Generation


def settings_of(generation: Generation) -> Settings:
    return settings_from({"snapshot": generation.directory}, {})


def warmed_up(generation: Generation) -> tuple[int, Server]:
    settings, state = settings_of(generation), State(Counters(blank_rows()))
    state.generation = generation
    config = server_config(create_app(state, settings), settings)
    config.load()
    server = Server(config)
    n_answered = asyncio.run(warm_up_server(config, server.server_state, settings, generation))
    assert not any(state.counters.row)
    return n_answered, server


def test_every_request_is_answered_and_nobody_counts_them(generation: Generation) -> None:
    n_answered, server = warmed_up(generation)

    assert n_answered == 64
    assert not server.server_state.connections
    assert generation.damaged == 0


def test_what_breaks_off_is_told_and_hinders_nothing(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app hangs up in the middle."""

    async def broken(_scope: object, _receive: object, _send: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(warm, "create_app", lambda *_: broken)
    monkeypatch.setattr(warm, "_request", lambda *_: b"nonsense\r\n\r\n")
    with structlog.testing.capture_logs() as told:
        n_answered, _ = warmed_up(generation)

    assert n_answered < 64
    assert [one["event"] for one in told] == ["warming up broke off"]


def test_a_server_that_need_not_warm_up_is_as_before(
    generation: Generation, tmp_path: Path
) -> None:
    settings = settings_of(generation)
    app = create_app(State(Counters(blank_rows())), settings)
    told: list[str] = []
    server = Server(
        uvicorn.Config(app, uds=str(tmp_path / "sock"), lifespan="off", log_config=None),
        on_ready=lambda: told.append("ready"),
    )

    async def started() -> None:
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        await server.shutdown()

    asyncio.run(started())
    assert told == ["ready"]
