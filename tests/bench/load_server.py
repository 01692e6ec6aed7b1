"""A server in a process of its own, one thread, that stalls or misbehaves when it is told to.

Run as a program it tells its address on standard output, and what it was asked when its input ends.
It does one thing after the other on purpose: while it stalls nobody is answered.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load.target import Target, target_of

_ANSWERS = {
    "refuse": b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
    "last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{1}",
    "endless": b"HTTP/1.1 200 OK\r\n\r\n{1}",
}


@dataclass(slots=True)
class Served:
    """A running server.

    Attributes:
        target: where it is reached.
        asked: how often it got each body, once it ended.
        connections: how many it accepted, once it ended.
    """

    target: Target
    asked: dict[str, int] = field(default_factory=dict)
    connections: int = 0


@contextmanager
def load_server(
    unix: Path | None = None, fine: str = "{1}", full: int | None = None
) -> Iterator[Served]:
    """The server while it runs; its counts are known afterwards.

    Args:
        unix: the socket to listen on; TCP by default.
        fine: what it answers where the body is no word it knows.
        full: so many of those answers, and after them an empty list; None for ever.
    """
    command = [sys.executable, "-m", "tests.bench.load_server", str(unix or ""), fine]
    command += [] if full is None else [str(full)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        served = Served(target_of(f"http://127.0.0.1:{port}/ask", unix))
        try:
            yield served
        finally:
            process.stdin.close()
            told = json.loads(process.stdout.read())
            served.asked, served.connections = told["asked"], told["connections"]


class _Server:
    def __init__(self, listener: socket.socket, fine: bytes, full: float) -> None:
        self._fine = _ok(fine)
        self._full = full
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}

    def run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self.connections += 1
                    self._received[connection] = b""
                    self._selector.register(connection, selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self._close(connection)
            return
        received = self._received[connection] + data
        head, end, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0]) if end else 1
        if len(body) < length:
            self._received[connection] = received
            return
        self._received[connection] = b""
        self._answer(connection, body.decode(), closes=b"connection: close" in head)

    def _answer(self, connection: socket.socket, body: str, *, closes: bool) -> None:
        self.asked[body] += 1
        if body == "never":
            return
        if body.startswith("stall "):
            time.sleep(float(body.split()[1]))
        if body != "vanish":
            fine = self._fine if self.asked.total() <= self._full else _ok(b'{"offers": []}')
            connection.sendall(_ANSWERS.get(body, fine))
        if closes or body in {"vanish", "last"}:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._received[connection]
        connection.close()


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _tell(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _main() -> None:
    path = sys.argv[1]
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as listener:
        listener.bind(path or ("127.0.0.1", 0))
        listener.listen(512)
        _tell(0 if path else listener.getsockname()[1])
        server = _Server(listener, sys.argv[2].encode(), float((*sys.argv, "inf")[3]))
        server.run()
    _tell({"asked": server.asked, "connections": server.connections})


if __name__ == "__main__":
    _main()
