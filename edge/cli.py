"""`almanac serve`: parse, make the settings, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edge.serve import serve as serve_settings
from edge.settings import settings_from


def serve(
    snapshot: Path | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    secret_file: Path | None = None,
    admin_host: str | None = None,
    admin_port: int | None = None,
    allow_origins: str | None = None,
    max_body_bytes: int | None = None,
    keep_alive_s: int | None = None,
    drain_delay_s: float | None = None,
    drain_limit_s: int | None = None,
    storefront: bool | None = None,
    personas: Path | None = None,
    log_format: Literal["auto", "json", "console"] | None = None,
) -> int:
    """Answer requests over HTTP from a snapshot, until SIGTERM or an interrupt.

    Every flag can be given as `ALMANAC_EDGE_NAME` too; flags win. Metrics and a console are on a
    listener of their own. A worker that dies is replaced; when it can't start at all, nothing is
    served and the exit code says why.

    Example: almanac serve --snapshot build/out --port 8080

    Args:
        snapshot: directory that `almanac build --out` wrote.
        host: address to answer on (127.0.0.1).
        port: port to answer on (8080); 0 takes a free one.
        workers: processes that answer (one per CPU).
        secret_file: file with the brand's secret.
        admin_host: address of metrics and console (127.0.0.1).
        admin_port: their port (the one after --port).
        allow_origins: web origins whose pages may read answers, separated by commas (*).
        max_body_bytes: largest request body (65536).
        keep_alive_s: seconds an idle connection stays open (75).
        drain_delay_s: seconds between turning unready and closing the door (0).
        drain_limit_s: seconds that requests in flight get when stopping (30).
        storefront: show the demonstration page at /.
        personas: JSON file of customers that the demonstration page offers to be.
        log_format: shape of log lines; auto is console on a terminal, json elsewhere.
    """
    return serve_settings(settings_from(dict(locals())))
