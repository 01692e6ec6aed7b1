"""Listening sockets: one address, and a socket on it for every worker.

The kernel spreads connections evenly over sockets that share an address (SO_REUSEPORT); with one
socket for all, whoever wakes first takes most of them and keeps them alive. When a worker dies its
socket dies with it, so callers go to the others at once instead of waiting for a replacement.
"""

from __future__ import annotations

import socket

from edge.errors import AddressTaken


def bound(host: str, port: int, *, flag: str) -> socket.socket:
    """A TCP socket that holds an address for this process and its children.

    It can't be had where somebody listens, another edge included.

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


def listener_at(held: socket.socket) -> socket.socket:
    """One more socket at the address of a held one, ready to listen."""
    listener = socket.socket(held.family, held.type, held.proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(held.getsockname())
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
