"""Listening sockets: bound by the supervisor, inherited by every worker."""

from __future__ import annotations

import socket

from edge.errors import AddressTaken


def bound(host: str, port: int, *, flag: str) -> socket.socket:
    """A TCP socket at an address, not listening yet.

    Raises:
        AddressTaken: it can't be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as problem:
        raise AddressTaken(
            f"{host}:{port} can't be listened on: {problem.strerror}",
            hint=f"give another address with {flag} (0 takes a free port)",
        ) from problem
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
