"""Logs: one line per event on stderr, never per request; JSON, or coloured for a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import orjson
import structlog
from structlog.types import EventDict, Processor, WrappedLogger


def configure_logs(log_format: Literal["auto", "json", "console"], *, process: str) -> None:
    """Send this process's events, ours and the libraries', to stderr.

    Args:
        log_format: `auto` is `console` when stderr is a terminal.
        process: who says it, in every event.
    """
    if log_format == "auto":
        log_format = "console" if sys.stderr.isatty() else "json"

    def signed(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    shared: list[Processor] = [
        signed,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    last: list[Processor] = [structlog.dev.ConsoleRenderer(pad_event_to=0, timestamp_key="ts")]
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(serializer=_json)
        last = [structlog.processors.format_exc_info, renderer]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Its notes on starting and stopping repeat what the supervisor says in our own words.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _json(event: EventDict, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
