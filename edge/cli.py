"""`almanac serve`: parse, make the settings, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edge.errors import SettingsRefused
from edge.serve import serve as serve_settings
from edge.settings import Settings, settings_from


def serve(
    snapshot: Path | None = None,
    *,
    store: str | None = None,
    channel: str | None = None,
    brand: str | None = None,
    mirrors: str | None = None,
    state_dir: Path | None = None,
    node_id: str | None = None,
    root: Path | None = None,
    insecure: bool | None = None,
    poll_s: float | None = None,
    spread_s: float | None = None,
    node_key: Path | None = None,
    max_bytes_per_s: int | None = None,
    max_private_bytes: int | None = None,
    watch_s: float | None = None,
    tries: int | None = None,
    host: str | None = None,
    port: int | None = None,
    unix: Path | None = None,
    unix_mode: str | None = None,
    workers: int | None = None,
    pin: bool | None = None,
    secret_file: Path | None = None,
    admin_host: str | None = None,
    admin_port: int | None = None,
    allow_origins: str | None = None,
    max_body_bytes: int | None = None,
    keep_alive_s: int | None = None,
    drain_delay_s: float | None = None,
    drain_limit_s: int | None = None,
    queue_target_ms: float | None = None,
    decision_log: Path | None = None,
    storefront: bool | None = None,
    personas: Path | None = None,
    log_format: Literal["auto", "json", "console"] | None = None,
) -> int:
    """Answer requests over HTTP, until SIGTERM or an interrupt.

    From one snapshot of this disk (`--snapshot`), or as a node that follows a store's channel
    (`--store`): then a process of its own fetches and proves what the channel wants, and whatever
    goes wrong there, what is served goes on being served.

    Every flag can be given as `ALMANAC_EDGE_NAME` too; flags win. Metrics and a console are on a
    listener of their own. A worker that dies is replaced; when it can't start at all, nothing is
    served and the exit code says why.

    Example: almanac serve --snapshot build/out --port 8080

    Example: almanac serve --store s3://almanac-store --brand shop --root 1.root.json

    Args:
        snapshot: directory that `almanac build --out` wrote.
        store: store whose channel to follow: a folder, file://, s3://bucket/prefix, https://.
        channel: name of the channel (stable).
        brand: whose channel; needed unless the node's folder knows one.
        mirrors: further stores with the same contents, separated by commas.
        state_dir: the node's folder (/var/lib/almanac); no two nodes share one.
        node_id: the node's name, by which rings and pins know it (the host's).
        root: file with the first root, needed at the first start alone.
        insecure: ask nobody to vouch for what is served; shown wherever the node shows itself.
        node_key: private key of the role `node` that heartbeats are signed with.
        poll_s: seconds between two looks at the channel (5).
        spread_s: seconds over which a fleet's nodes spread the start of a fetch (10).
        max_bytes_per_s: how fast a snapshot is fetched at most (no limit).
        max_private_bytes: memory of its own that a snapshot may cost each worker (1 GiB).
        watch_s: seconds a new snapshot is watched before it counts as good here (300).
        tries: starts a snapshot gets to be confirmed before the node goes back (3).
        host: address to answer on (127.0.0.1).
        port: port to answer on (8080); 0 takes a free one.
        unix: file to answer on besides, for a proxy on this host.
        unix_mode: who may connect there (660).
        workers: processes that answer (one per CPU).
        pin: keep each worker on one CPU.
        secret_file: file with the brand's secret.
        admin_host: address of metrics and console (127.0.0.1).
        admin_port: their port (the one after --port).
        allow_origins: web origins whose pages may read answers, separated by commas (*).
        max_body_bytes: largest request body (65536).
        keep_alive_s: seconds an idle connection stays open (75).
        drain_delay_s: seconds between turning unready and closing the door (0).
        drain_limit_s: seconds that requests in flight get when stopping (30).
        queue_target_ms: milliseconds in line above which answers become cheaper (10).
        decision_log: folder to log decisions to, one JSON line each.
        storefront: show the demonstration page at /.
        personas: JSON file of customers that the demonstration page offers to be.
        log_format: shape of log lines; auto is console on a terminal, json elsewhere.
    """
    settings = settings_from(dict(locals()))
    return serve_settings(settings) if settings.store is None else _serve_node(settings)


def _serve_node(settings: Settings) -> int:
    try:
        from edge.fleet_board import board_of  # noqa: PLC0415 - needs the extra `ship`
        from edge.node.checked import checked_node  # noqa: PLC0415 - needs the extra `ship`
        from edge.node.memory import NodeMemory  # noqa: PLC0415
    except ImportError as error:
        raise SettingsRefused(
            f"--store needs {error.name}, which is not installed",
            hint="pip install 'offer-almanac[edge,ship]'",
        ) from error
    checked = checked_node(settings)
    return serve_settings(checked, NodeMemory(checked), board_of(checked))
