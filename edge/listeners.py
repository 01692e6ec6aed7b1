"""Listening sockets: one TCP address with a socket on it for every worker, and one file for all.

The kernel spreads connections evenly over sockets that share an address (SO_REUSEPORT); with one
socket for all, whoever wakes first takes most of them and keeps them alive. When a worker dies its
socket dies with it, so callers go to the others at once instead of waiting for a replacement.

A Unix socket can't be shared so: whoever calls there is taken by the first worker that has time.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from edge.errors import AddressTaken

BACKLOG: Final = 2048
"""Connections that the kernel keeps for a socket nobody has accepted from yet."""
_ACCEPTED_AT_ONCE: Final = 16
_PROBE_S: Final = 1.0


@contextmanager
def bound(host: str, port: int, *, flag: str) -> Iterator[socket.socket]:
    """A TCP socket that holds an address for this process and its children.

    It can't be had where somebody listens, nor where another edge is about to.

    Raises:
        AddressTaken: it can't be had.
    """
    with ExitStack() as held:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = held.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # Two who begin at once could both bind, as nobody listens before a snapshot is open;
            # a name that is no file is given to one of them, and goes with its process.
            name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            name.bind(f"\0almanac {url_of(listener)}")
        except OSError as problem:
            raise AddressTaken(
                f"{host}:{port} can't be listened on: {problem.strerror}",
                hint=f"give another address with {flag} (0 takes a free port)",
            ) from problem
        yield listener


def listener_at(held: socket.socket) -> socket.socket:
    """One more socket at the address of a held one, ready to listen."""
    listener = socket.socket(held.family, held.type, held.proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(held.getsockname())
    return listener


class UnixSocket:
    """A file that callers on this host connect to; gone when it is closed.

    Args:
        path: where. A socket that nobody listens on any more is replaced.
        mode: who may connect, as the file's permission bits.

    Raises:
        AddressTaken: somebody listens there, it is another kind of file, or it can't be made.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _nobody_else_in(path.parent):
                _remove_stale(path)
                self.socket.bind(str(path))
                path.chmod(mode)  # before it listens, so that nobody else gets in meanwhile
                self.socket.listen(BACKLOG)
                self._inode = path.stat().st_ino
        except BaseException as problem:
            self.socket.close()
            if isinstance(problem, OSError):
                raise AddressTaken(
                    f"{path} can't be listened on: {problem.strerror or problem}",
                    hint="give another path with --unix",
                ) from problem
            raise

    def close(self) -> None:
        """Be found no more. Workers answer whom they have accepted already."""
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _nobody_else_in(folder: Path) -> Iterator[None]:
    """Two who begin at once must not take each other's socket for a stale one."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(None, "it exists, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(None, "somebody listens there")


def several_times(listeners: Sequence[socket.socket]) -> list[socket.socket]:
    """Each socket under several descriptors, which take its place.

    A loop accepts one connection per descriptor each time it looks (libuv since 1.45), so those who
    call while turns are long would wait for as many turns as others called before them.
    """
    copies = [listener.dup() for listener in listeners for _ in range(_ACCEPTED_AT_ONCE)]
    for listener in listeners:
        listener.close()
    return copies


def url_of(listener: socket.socket) -> str:
    """Where a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
