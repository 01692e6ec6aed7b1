"""A real `almanac serve` in a process of its own, as tests see it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any

import httpx2
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
TRUSTS_NOBODY = SSLContext(PROTOCOL_TLS_CLIENT)
"""For clients of edges, which speak no TLS: to read all authorities takes as long as 30 answers."""


class Edge:
    """One supervisor with two workers on free ports, unless flags say otherwise.

    It takes its time: where other work holds a test up, answers must not become cheaper for that.
    """

    def __init__(self, **flags: object) -> None:
        usual = {"port": 0, "admin_port": 0, "workers": 2, "log_format": "json"}
        flags = usual | {"queue_target_ms": 10_000} | flags
        words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "almanac", "serve", *words],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()

    def event(self, name: str) -> dict[str, Any]:
        """The first log event of this name, waited for."""
        with self._said:
            assert self._said.wait_for(lambda: self._find(name), PATIENCE_S), self.lines
            found = self._find(name)
        assert found is not None
        return found

    def _find(self, name: str) -> dict[str, Any] | None:
        events = (json.loads(line) for line in self.lines if line.startswith("{"))
        return next((event for event in events if event["event"] == name), None)

    @property
    def url(self) -> str:
        return str(self.event("serving")["url"])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def console(self) -> str:
        return str(self.event("serving")["console"])

    def status(self) -> dict[str, Any]:
        """What the console shows."""
        # Asked a thousand times while something is waited for: with no client to make each time.
        connection = HTTPConnection(self.console.rpartition("//")[2], timeout=PATIENCE_S)
        try:
            connection.request("GET", "/status.json")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return found

    def answered(self) -> Counter[str]:
        """How often each status was answered so far."""
        return Counter(self.status()["requests"]["codes"])

    def beside_workers(self) -> list[int]:
        """Processes of our code that the supervisor keeps besides its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        workers = {worker["pid"] for worker in self.status()["workers"]}
        return [
            child
            for child in map(int, children.split())
            if child not in workers and b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> tuple[int, str]:
        """Exit code and everything that was logged, waited for."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code, "".join(self.lines)

    def kill(self) -> None:
        self.process.kill()
        self.ended()
        assert self.process.stderr is not None
        self.process.stderr.close()


StartEdge = Callable[..., Edge]


def limit_files(monkeypatch: pytest.MonkeyPatch, folder: Path, limit: str) -> None:
    """Let edges be started with another limit of open files: flags of `ulimit`."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nulimit {limit}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))


def get(url: str) -> httpx2.Response:
    """An answer over a connection of its own."""
    return httpx2.get(url, verify=TRUSTS_NOBODY, timeout=PATIENCE_S)


def post(url: str, **words: Any) -> httpx2.Response:
    """Likewise."""
    return httpx2.post(url, verify=TRUSTS_NOBODY, timeout=PATIENCE_S, **words)


def called(edge: Edge) -> socket.socket:
    """A connection to the edge."""
    return socket.create_connection(("127.0.0.1", edge.port), PATIENCE_S)


def read_all(caller: socket.socket) -> bytes:
    """All that is said until the other side hangs up."""
    received = b""
    while piece := caller.recv(65536):
        received += piece
    return received


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds.

    It is asked less and less often: who answers has better things to do meanwhile.
    """
    began = time.monotonic()
    while not holds():
        waited_s = time.monotonic() - began
        assert waited_s < PATIENCE_S, "it never came to hold"
        time.sleep(min(0.02 + waited_s / 10, 0.2))
