"""The edge's settings: one frozen object, made once from flags and environment, then only read."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta

from edge.errors import SettingsRefused
from index.layout import STORE_NAME

PREFIX = "ALMANAC_EDGE_"
STATE_DIR = Path("/var/lib/almanac")
_ORIGIN = re.compile(r"https?://[^/\s]+")

_NODE_ALONE = (
    "channel",
    "brand",
    "mirrors",
    "state_dir",
    "node_id",
    "root",
    "insecure",
    "poll_s",
    "spread_s",
    "node_key",
    "max_bytes_per_s",
    "max_private_bytes",
    "watch_s",
    "tries",
)
"""Settings that mean something to a node that follows a channel alone."""

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
Name: TypeAlias = Annotated[str, Meta(pattern=STORE_NAME)]


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one edge does. Every field can be given as a flag or as `ALMANAC_EDGE_NAME`.

    Either `snapshot` or `store` is given: one snapshot from this disk, or a channel to follow.

    Attributes:
        snapshot: directory that `almanac build --out` wrote.
        store: address of the store whose channel the node follows; see `index.shipping.store`.
        channel: name of the channel.
        brand: whose channel; needed unless the node's folder knows one.
        mirrors: addresses of further stores with the same contents, asked when the store fails.
        state_dir: the node's folder; what it serves, trusts and remembers is below it.
        node_id: the node's name, by which it is in a ring or pinned; the host's by default.
        root: file with the first root, needed at the first start.
        insecure: ask nobody to vouch for anything.
        poll_s: seconds between two looks at the channel.
        node_key: private key of the role `node`, to sign heartbeats with; unsigned without one.
        spread_s: time over which the nodes of a fleet spread the start of a fetch.
        max_bytes_per_s: how fast a snapshot is fetched at most.
        max_private_bytes: memory of its own that a snapshot may cost each worker.
        watch_s: how long a new snapshot is watched before it counts as good here.
        tries: starts that a snapshot gets to be confirmed before the node goes back.
        secret_file: file with the brand's secret; else it is looked for as `index.secret` says.
        host: address to answer on.
        port: port to answer on; 0 takes a free one.
        unix: file to answer on besides, for a proxy on the same host.
        unix_mode: who may connect there, as octal permission bits.
        workers: processes that answer; one per CPU by default.
        pin: keep each worker on one of the CPUs that the edge may use.
        admin_host: address of metrics and console.
        admin_port: their port; the one after `port` by default, 0 takes a free one.
        max_body_bytes: largest request body.
        allow_origins: web origins whose pages may read answers; `*` for all.
        keep_alive_s: how long an idle connection stays open; longer than a load balancer's.
        drain_delay_s: time between turning unready and closing the door, for load balancers
            to notice; a second signal cuts it short.
        drain_limit_s: time that requests in flight get when stopping.
        queue_target_ms: how long callers may stand in line before answers become cheaper; see
            `edge.overload`.
        decision_log: folder that decisions are logged to, by a process of its own.
        storefront: whether to show the demonstration page at `/`.
        personas: JSON file of customers that the demonstration page offers to be.
        log_format: shape of log lines; `auto` is `console` on a terminal, `json` elsewhere.
    """

    snapshot: Path | None = None
    store: str | None = None
    channel: Name = "stable"
    brand: Name | None = None
    mirrors: tuple[str, ...] = ()
    state_dir: Path = STATE_DIR
    node_id: Name = field(default_factory=socket.gethostname)
    root: Path | None = None
    insecure: bool = False
    poll_s: Annotated[float, Meta(ge=0.05, le=3600)] = 5.0
    spread_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    node_key: Path | None = None
    max_bytes_per_s: Annotated[int, Meta(ge=1024)] | None = None
    max_private_bytes: Annotated[int, Meta(ge=1 << 20)] = 1 << 30
    watch_s: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    tries: Annotated[int, Meta(ge=1, le=100)] = 3
    secret_file: Path | None = None
    host: str = "127.0.0.1"
    port: Port = 8080
    unix: Path | None = None
    unix_mode: Annotated[str, Meta(pattern=r"\A[0-7]{3}\Z")] = "660"
    workers: Annotated[int, Meta(ge=1, le=256)] = field(default_factory=_cpus)
    pin: bool = False
    admin_host: str = "127.0.0.1"
    admin_port: Port | None = None
    max_body_bytes: Annotated[int, Meta(ge=1024, le=16 << 20)] = 64 << 10
    allow_origins: tuple[str, ...] = ("*",)
    keep_alive_s: Annotated[int, Meta(ge=1, le=3600)] = 75
    drain_delay_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    drain_limit_s: Annotated[int, Meta(ge=1, le=600)] = 30
    queue_target_ms: Annotated[float, Meta(ge=1, le=10_000)] = 10.0
    decision_log: Path | None = None
    storefront: bool = False
    personas: Path | None = None
    log_format: Literal["auto", "json", "console"] = "auto"

    @property
    def admin_port_wanted(self) -> int:
        """Port of the admin listener; 0 takes a free one."""
        if self.admin_port is not None:
            return self.admin_port
        return self.port + 1 if self.port else 0


def settings_from(
    flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings from flags, then environment, then defaults.

    Args:
        flags: values by field name; None stands for a flag that was not given.
        environ: `os.environ` unless a test brings its own.

    Raises:
        SettingsRefused: with every problem there is, not only the first.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems = _strangers(environ)
    hints = get_type_hints(Settings, include_extras=True)
    named = set()
    for one in fields(Settings):
        name, variable = one.name, PREFIX + one.name.upper()
        given, where = flags.get(name), "--" + name.replace("_", "-")
        if given is None and variable in environ:
            given, where = environ[variable], variable
        if given is None:
            continue
        named.add(name)
        try:
            values[name] = _converted(given, hints[name])
        except msgspec.ValidationError as problem:
            problems.append(f"{where}={given}: {problem}".replace("Expected", "expected", 1))
    if not named & {"snapshot", "store"}:
        problems.append("--snapshot is missing, or --store to follow a channel")
    if not problems:
        settings = Settings(**values)
        problems = _contradictions(settings)
        if not problems:
            return settings
    raise SettingsRefused(
        "; ".join(problems), hint=f"flags win over {PREFIX}… variables, those over defaults"
    )


def _strangers(environ: Mapping[str, str]) -> list[str]:
    known = {PREFIX + one.name.upper() for one in fields(Settings)}
    return [
        f"{name} is no setting of an edge"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]


def _default(one: Field[Any]) -> object:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _converted(given: object, wanted: Any) -> Any:
    if isinstance(given, str) and wanted == tuple[str, ...]:
        return tuple(part.strip() for part in given.split(",") if part.strip())
    if isinstance(given, Path):
        given = str(given)
    return msgspec.convert(given, wanted, strict=False, dec_hook=_path)


def _path(wanted: type, given: object) -> Path:
    if wanted is Path and isinstance(given, str) and given:
        return Path(given)
    raise ValueError("Expected a path")


def _contradictions(settings: Settings) -> list[str]:
    found = _sources(settings)
    same_host = settings.host == settings.admin_host
    if settings.port and same_host and settings.port == settings.admin_port_wanted:
        found.append(f"--admin-port={settings.port} is the port that answers requests")
    if settings.admin_port_wanted > 65535:
        found.append("--port=65535 leaves no port for the console: give --admin-port")
    if settings.unix is None and settings.unix_mode != "660":
        found.append("--unix-mode without --unix would be ignored")
    if settings.personas is not None and not settings.storefront:
        found.append("--personas without --storefront would be ignored")
    if not settings.allow_origins:
        found.append("--allow-origins names nobody: give * or an origin")
    found += [
        f"--allow-origins: {origin!r} is no origin (https://shop.example, without a path)"
        for origin in settings.allow_origins
        if origin != "*" and not _ORIGIN.fullmatch(origin)
    ]
    return found


def _sources(settings: Settings) -> list[str]:
    """What is wrong with where snapshots are to come from."""
    if settings.snapshot is not None and settings.store is not None:
        return [
            "--snapshot and --store exclude each other: serve one snapshot, or follow a channel"
        ]
    if settings.store is None:
        told = {one.name: _default(one) for one in fields(Settings) if one.name in _NODE_ALONE}
        return [
            f"--{name.replace('_', '-')} without --store would be ignored"
            for name, default in told.items()
            if getattr(settings, name) != default
        ]
    found = []
    if settings.root is not None and settings.insecure:
        found.append("--root and --insecure contradict each other")
    if len({settings.store, *settings.mirrors}) <= len(settings.mirrors):
        found.append("--mirrors names a store twice")
    return found
