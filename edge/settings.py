"""The edge's settings: one frozen object, made once from flags and environment, then only read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta

from edge.errors import SettingsRefused

PREFIX = "ALMANAC_EDGE_"
_ORIGIN = re.compile(r"https?://[^/\s]+")

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one edge does. Every field can be given as a flag or as `ALMANAC_EDGE_NAME`.

    Attributes:
        snapshot: directory that `almanac build --out` wrote.
        secret_file: file with the brand's secret; else it is looked for as `index.secret` says.
        host: address to answer on.
        port: port to answer on; 0 takes a free one.
        workers: processes that answer; one per CPU by default.
        admin_host: address of metrics and console.
        admin_port: their port; the one after `port` by default, 0 takes a free one.
        max_body_bytes: largest request body.
        allow_origins: web origins whose pages may read answers; `*` for all.
        keep_alive_s: how long an idle connection stays open; longer than a load balancer's.
        drain_delay_s: time between turning unready and closing the door, for load balancers
            to notice; a second signal cuts it short.
        drain_limit_s: time that requests in flight get when stopping.
        storefront: whether to show the demonstration page at `/`.
        personas: JSON file of customers that the demonstration page offers to be.
        log_format: shape of log lines; `auto` is `console` on a terminal, `json` elsewhere.
    """

    snapshot: Path
    secret_file: Path | None = None
    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Annotated[int, Meta(ge=1, le=256)] = field(default_factory=_cpus)
    admin_host: str = "127.0.0.1"
    admin_port: Port | None = None
    max_body_bytes: Annotated[int, Meta(ge=1024, le=16 << 20)] = 64 << 10
    allow_origins: tuple[str, ...] = ("*",)
    keep_alive_s: Annotated[int, Meta(ge=1, le=3600)] = 75
    drain_delay_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    drain_limit_s: Annotated[int, Meta(ge=1, le=600)] = 30
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
    for one in fields(Settings):
        name, variable = one.name, PREFIX + one.name.upper()
        given, where = flags.get(name), "--" + name.replace("_", "-")
        if given is None and variable in environ:
            given, where = environ[variable], variable
        if given is None:
            if _is_required(one):
                problems.append(f"{where} is missing")
            continue
        try:
            values[name] = _converted(given, hints[name])
        except msgspec.ValidationError as problem:
            problems.append(f"{where}={given}: {problem}".replace("Expected", "expected", 1))
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


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


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
    found = []
    same_host = settings.host == settings.admin_host
    if settings.port and same_host and settings.port == settings.admin_port_wanted:
        found.append(f"--admin-port={settings.port} is the port that answers requests")
    if settings.admin_port_wanted > 65535:
        found.append("--port=65535 leaves no port for the console: give --admin-port")
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
