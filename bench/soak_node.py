"""A node with a store of its own, for measuring: real keys, a signed channel, real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from edge.memory import memory_of
from index.shipping import channel_changes as changes
from index.shipping.channel import Target
from index.shipping.channel_store import read_channel, write_channel
from index.shipping.documents import ROLES
from index.shipping.names import root_key
from index.shipping.publish import publish, ready_snapshot
from index.shipping.root import make_root, seal_root
from index.shipping.signing import SigningKey
from index.shipping.store import open_store

PATIENCE_S: Final = 120.0
_CHANNEL: Final = "stable"
_LASTS: Final = timedelta(days=30)
_Found = TypeVar("_Found")


class NodeFailed(Exception):
    """The node did not come to what was waited for."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


class OwnStore:
    """A store in a folder with fresh keys, and one brand's channel in it.

    Args:
        folder: where the store will be.
        brand: whose.

    Attributes:
        folder: the store.
        root: file with the first root.
    """

    def __init__(self, folder: Path, brand: str) -> None:
        self.folder = folder
        self.root = folder / root_key(1)
        self._brand = brand
        self._store = open_store(folder)
        self._keys = {role: [SigningKey.generate()] for role in ROLES}
        now = datetime.now(UTC).replace(microsecond=0)
        public = {role: [key.public for key in keys] for role, keys in self._keys.items()}
        root = make_root(public, thresholds={}, version=1, issued_at=now, expires_at=now + _LASTS)
        self._store.create(root_key(1), seal_root(root, self._keys["root"]))

    def publish(self, directory: Path) -> Target:
        """Put a snapshot in; nobody is told."""
        readied = ready_snapshot(directory, self._keys["builder"])
        publish(self._store, readied)
        return readied.target

    def announce(self, target: Target) -> None:
        """Point all nodes at a snapshot; the first one ever is confirmed too."""
        now = datetime.now(UTC).replace(microsecond=0)
        stamp = changes.Stamp(now=now, expires_at=now + _LASTS, root_version=1)
        before = read_channel(self._store, self._brand, _CHANNEL, None)
        if before is None:
            after = changes.start_channel(self._brand, _CHANNEL, target, percent=100, stamp=stamp)
        else:
            after = changes.announce(before.channel, target, percent=100, stamp=stamp)
        write_channel(self._store, before, after, self._keys["release"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds.

    Attributes:
        private_bytes: memory that no other process could share.
        resident_bytes: all of its memory.
        mapped: snapshot files it has mapped, each once.
        descriptors: files, sockets and pipes it has open.
    """

    private_bytes: int
    resident_bytes: int
    mapped: int
    descriptors: int


class Node:
    """`almanac serve --store` in a process of its own, following an `OwnStore`.

    Args:
        folder: below it are the node's folder and its log.
        store: what it follows.
        secret: the brand's.
        words: further flags.
    """

    def __init__(self, folder: Path, store: OwnStore, secret: bytes, words: Sequence[str]) -> None:
        self._folder = folder
        self._log_path = folder / "node.log"
        secret_file = folder / "secret"
        secret_file.write_bytes(secret)
        self._command = [
            *(sys.executable, "-m", "almanac", "serve", "--store", str(store.folder)),
            *("--root", str(store.root), "--state-dir", str(folder / "node"), "--node-id", "soak"),
            *("--secret-file", str(secret_file), "--port", "0", "--admin-port", "0"),
            # Every answer is held against the whole decision: none may be a cheaper one.
            *("--spread-s", "0", "--queue-target-ms", "10000", "--log-format", "json", *words),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._console = ""
        self._told: list[dict[str, Any]] = []
        self._n_read = 0
        self.port = 0

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stderr=log, cwd=Path(__file__).parents[1]
            )
        try:
            told = self.waited("to serve", lambda: self.event("serving"))
        except BaseException:
            self._end()
            raise
        self._console = str(told["console"]).rpartition("//")[2]
        self.port = int(str(told["url"]).rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def status(self) -> dict[str, Any]:
        """What the console shows."""
        host, _, port = self._console.rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=PATIENCE_S)
        try:
            connection.request("GET", "/status.json")
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def wait_for(self, snapshot_id: str, n_swaps: int) -> None:
        """Wait until all workers answer from a snapshot.

        Args:
            snapshot_id: which.
            n_swaps: how many swaps there will have been by then.

        Raises:
            NodeFailed: it takes longer than `PATIENCE_S`.
        """

        def arrived() -> bool:
            # Told by the log: to be asked for its status would cost the node what is measured.
            swapped = [told for told in self._events() if told["event"] == "swapped"]
            return len(swapped) >= n_swaps and swapped[-1]["snapshot_id"] == snapshot_id

        self.waited(f"to serve {snapshot_id}", arrived)

    def held(self) -> dict[str, Held]:
        """What each worker holds, and the supervisor and what else belongs to it, by name."""
        assert self._process is not None
        workers = {
            worker["pid"]: f"worker {place}"
            for place, worker in enumerate(self.status()["workers"])
        }
        names = {self._process.pid: "supervisor"} | {
            pid: workers.get(pid, "sync")
            for pid in _children(self._process.pid)
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        }
        return {name: held for pid, name in names.items() if (held := _held(pid, self._folder))}

    def event(self, name: str) -> dict[str, Any] | None:
        """The first log event of this name."""
        return next((told for told in self._events() if told["event"] == name), None)

    def waited(self, what: str, found: Callable[[], _Found | None]) -> _Found:
        """Ask until there is an answer that holds.

        Raises:
            NodeFailed: the node ended, or there was none within `PATIENCE_S`.
        """
        assert self._process is not None
        until = time.monotonic() + PATIENCE_S
        while not (told := found()):
            if time.monotonic() > until or self._process.poll() is not None:
                tail = self._log_path.read_text().splitlines()[-5:]
                raise NodeFailed(f"the node did not come {what}", hint="\n".join(tail))
            time.sleep(0.05)
        return told

    def _events(self) -> list[dict[str, Any]]:
        with self._log_path.open() as log:
            log.seek(self._n_read)
            lines = log.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith("\n"):
                break  # the rest of it is still to come
            self._n_read += len(line.encode())
            if line.startswith("{"):
                self._told.append(json.loads(line))
        return self._told

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text().split()]


def _held(pid: int, folder: Path) -> Held | None:
    memory = memory_of(pid)
    if memory is None:
        return None
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        mapped = {line.split(maxsplit=5)[4] for line in lines if str(folder) in line}
        return Held(
            private_bytes=memory.private,
            resident_bytes=memory.resident,
            mapped=len(mapped),
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        )
    return None
