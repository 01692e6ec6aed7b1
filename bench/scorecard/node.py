"""A real node for the peak trial: a store, a channel, and `almanac serve --store` that follows it.

Nothing is signed (`--insecure`): the trial is about load, and who may say what is told elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from bench.http_processes import PATIENCE_S, ServerFailed, free_port, running
from bench.scorecard.serving import is_ready, shared_out

_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that answers.

    Attributes:
        brand: whose offers.
        store: folder of the store.
        port: where requests are answered.
        admin_port: where it tells how it is.
    """

    brand: str
    store: Path
    port: int
    admin_port: int

    def status(self) -> dict[str, Any]:
        """What its console shows.

        Raises:
            ServerFailed: it does not say.
        """
        connection = HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", "/status.json")
            told: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as problem:
            raise ServerFailed(f"the node's console does not answer: {problem!r}") from problem
        finally:
            connection.close()
        return told

    def workers(self) -> list[int]:
        """Process ids of the workers that are ready."""
        return [one["pid"] for one in self.status()["workers"] if one["ready"] and one["pid"]]

    def announce(self, snapshot_id: str) -> str:
        """Let all nodes serve a published snapshot; gives the command."""
        return self._change("announce", snapshot_id, "--ring", "100")

    def kill_offer(self, offer_id: str) -> str:
        """Let nobody be shown an offer; gives the command."""
        return self._change("overlay", "kill", offer_id, "--reason", "peak trial")

    def _change(self, *words: str) -> str:
        return operate(*words, "--store", str(self.store), "--brand", self.brand, "--insecure")


def operate(*words: str) -> str:
    """Run an operator's command; gives it as one would type it.

    Raises:
        ServerFailed: it did not end well.
    """
    command = [sys.executable, "-m", "almanac", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerFailed(
            f"almanac {' '.join(words)} ended with {done.returncode}", hint=done.stderr.strip()
        )
    return f"almanac {' '.join(words)}"


@contextmanager
def node_of(
    brand: str, snapshot_id: str, store: Path, secret: bytes, folder: Path, *, workers: int
) -> Iterator[Node]:
    """A node while it runs; it serves the snapshot, with all workers, when this begins.

    Args:
        brand: whose offers.
        snapshot_id: published, and announced here.
        store: folder of the store.
        secret: of the brand.
        folder: for the node's own folder, and where what it says is kept.
        workers: processes that answer.

    Raises:
        ServerFailed: it ended, or did not answer in time.
    """
    node = Node(brand=brand, store=store, port=free_port(), admin_port=free_port())
    node.announce(snapshot_id)
    command = [
        *(sys.executable, "-m", "almanac", "serve", "--store", str(store), "--brand", brand),
        *("--state-dir", str(folder / "node"), "--node-id", "trial", "--insecure"),
        *("--port", str(node.port), "--admin-port", str(node.admin_port)),
        *("--workers", str(workers), "--poll-s", "0.2", "--spread-s", "0", "--watch-s", "1"),
        *("--log-format", "json"),
    ]
    environment = {**os.environ, "ALMANAC_SECRET": secret.decode("utf-8", "surrogateescape")}
    with running(
        "node",
        command,
        answers=lambda: is_ready(node.port),
        folder=folder,
        env=environment,
        cores=shared_out()[1],
    ):
        deadline = monotonic() + PATIENCE_S
        while len(node.workers()) < workers:
            if monotonic() > deadline:
                raise ServerFailed("the node's workers did not become ready")
            sleep(_POLL_S)
        yield node
