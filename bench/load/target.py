"""Whom the load is for: an address, and how a body becomes a request to it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from bench.http_wire import on_the_wire

Address: TypeAlias = str | tuple[str, int]
_AS: Final = "give the service's URL as http://127.0.0.1:8080"


class WrongTarget(Exception):
    """It is no address that the driver can ask."""

    exit_code = 2

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A service that listens.

    Attributes:
        url: as it was given, with a path.
        family: AF_INET, AF_INET6 or AF_UNIX.
        address: host's number and port, or the socket's path.
        host: what requests name as their host.
        path: what is posted to.
    """

    url: str
    family: socket.AddressFamily
    address: Address
    host: str
    path: str

    def request(self, body: bytes, *, stays: bool) -> bytes:
        """A body as it goes over the wire.

        Args:
            body: JSON.
            stays: the connection is to stay for the next request.
        """
        return on_the_wire(body, path=self.path, host=self.host, stays=stays)


def target_of(url: str, unix: Path | None = None) -> Target:
    """The target a URL names.

    Args:
        url: `http://HOST:PORT/PATH`; without a path the decision's own is meant.
        unix: reach it over this socket; host and path stay those of the URL.

    Raises:
        WrongTarget: it is no such URL, or its host is unknown.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(url)
    except ValueError as problem:
        raise WrongTarget(f"{url!r} is no http:// URL", hint=_AS) from problem
    path = parts.path if parts.path not in ("", "/") else "/v1/offers"
    path += f"?{parts.query}" if parts.query else ""
    whole = f"http://{parts.netloc}{path}"
    if unix is not None:
        return Target(
            url=whole,
            family=socket.AF_UNIX,
            address=str(unix),
            host=parts.netloc,
            path=path,
        )
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as problem:
        raise WrongTarget(f"{parts.hostname}: {problem.strerror}", hint=_AS) from problem
    except UnicodeError as problem:
        raise WrongTarget(f"{parts.hostname!r} is no name of a host", hint=_AS) from problem
    family, _, _, _, (address, *_) = found[0]
    return Target(
        url=whole,
        family=family,
        address=(str(address), port),
        host=parts.netloc,
        path=path,
    )
