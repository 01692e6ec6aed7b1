"""A fleet drill: six nodes, a snapshot that lost its customers, and nobody who notices.

Everything is real: keys, store, nodes as processes on loopback, callers that never stop, and
`almanac rollout` at the wheel. The bad snapshot is whole, signed and proved; only that it knows a
hundredth of the customers, as if a partition had been missing. Its ring answers from context where
the others answer personally, in the same minute, and so it is revoked.

`python -m bench.drill` (or `make drill`) prints the story with times and ends with 0 if no caller
saw an error, no answer came from a snapshot outside its ring, and all nodes are back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

from bench.synthetic import SECRET, Shape, customer_id, write_synthetic
from index.wording import many

N_NODES: Final = 6
N_CUSTOMERS: Final = 2000
RINGS: Final = "17,34,50,100"
_PATIENCE_S: Final = 120.0
_ROLLED_BACK: Final = 7
_BRAND: Final = "bench"


class Story:
    """Lines with the time since the beginning."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def tell(self, line: str) -> None:
        """Print a line."""
        sys.stdout.write(f"{time.monotonic() - self._began_s:7.1f} s  {line}\n")
        sys.stdout.flush()


class Fleet:
    """Nodes as processes, each with a folder and a listener of its own.

    Args:
        folder: below it everything lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.consoles: list[str] = []
        self.ports: list[int] = []

    def command(self, *words: object) -> list[str]:
        """A command line of almanac."""
        return [sys.executable, "-m", "almanac", *map(str, words)]

    def run(self, *words: object, code: int = 0) -> str:
        """Run an operator's command on the store."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, cwd=self._folder
        )
        if done.returncode != code:
            raise SystemExit(f"almanac {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def node(self, number: int) -> Iterator[None]:
        """A node while it runs; it answers when this begins."""
        log = (self._folder / f"node-{number}.log").open("w+b")
        words = (
            *("serve", "--store", "store", "--brand", _BRAND, "--port", 0, "--admin-port", 0),
            *("--state-dir", f"node-{number}", "--node-id", f"node-{number}", "--workers", 1),
            *("--root", "keys/trust/1.root.json", "--secret-file", "secret", "--poll-s", 1),
            *("--node-key", *self._folder.glob("keys/keys/node-*.pem")),
            # Six nodes on a few cores: it is not the answers' cost that is being told.
            *("--spread-s", 1, "--watch-s", 5, "--queue-target-ms", 10_000, "--log-format", "json"),
        )
        process = subprocess.Popen(self.command(*words), stderr=log, cwd=self._folder)
        try:
            told = _waited(lambda: _event(self._folder / f"node-{number}.log", "serving"))
            self.consoles.append(told["console"])
            self.ports.append(int(told["url"].rpartition(":")[2]))
            yield
        finally:
            process.terminate()
            process.wait()
            log.close()

    def serving(self) -> dict[str, str]:
        """What each node answers from."""
        return {
            f"node-{number}": _get(console, "/status.json")["snapshot"]["snapshot_id"]
            for number, console in enumerate(self.consoles)
        }


class Callers:
    """One caller for each node, asking for one customer after the other.

    Args:
        ports: of the nodes.
    """

    def __init__(self, ports: list[int]) -> None:
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._ask, args=(port,)) for port in ports]

    def _ask(self, port: int) -> None:
        connection, number = HTTPConnection("127.0.0.1", port, timeout=30), 0
        while not self._stop.is_set():
            number = (number + 1) % N_CUSTOMERS
            body = json.dumps({"customer_id": customer_id(number), "k": 5})
            try:
                connection.request("POST", "/v1/offers", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                told = json.loads(answer.read())
            except (OSError, HTTPException, ValueError) as problem:
                self.failures.append(repr(problem))
                connection.close()
                continue
            if answer.status == 200:
                self.answers[told["snapshot_id"]] += 1
            else:
                self.failures.append(str(told))
            time.sleep(0.01)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def drill(folder: Path) -> bool:
    """Play the story in an empty folder; whether it ended well."""
    story, fleet = Story(), Fleet(folder)
    (folder / "secret").write_bytes(SECRET)
    write_synthetic(folder / "good", Shape(n_customers=N_CUSTOMERS, n_offers=2000))
    write_synthetic(folder / "bad", Shape(n_customers=N_CUSTOMERS // 100, n_offers=2000))
    fleet.run("keys", "init", "keys")
    place = ("--store", "store", "--brand", _BRAND, "--keys", "keys")
    ids = [
        str(json.loads((folder / name / "manifest.json").read_bytes())["snapshot_id"])
        for name in ("good", "bad")
    ]
    good, bad = ids
    for name in ("good", "bad"):
        fleet.run("publish", name, "--store", "store", "--keys", "keys")
    fleet.run("announce", good, *place)
    story.tell(f"announced {good}, the good one, to all nodes")
    with ExitStack() as nodes:
        for number in range(N_NODES):
            nodes.enter_context(fleet.node(number))
        fleet.run("confirm", *place)
        story.tell(f"{N_NODES} nodes serve it; it is called good")
        with Callers(fleet.ports) as callers:
            time.sleep(5)
            fleet.run("announce", bad, *place, "--ring", "17%")
            story.tell(f"announced {bad}, which lost its customers, to a first ring of 17 %")
            flags = ("--rings", RINGS, "--bake-s", 10, "--patience-s", 300, "--every-s", 2)
            at_the_wheel = subprocess.Popen(
                fleet.command("rollout", *place, *flags),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=folder,
            )
            assert at_the_wheel.stdout is not None
            reached: set[str] = set()
            for line in at_the_wheel.stdout:
                story.tell(f"  rollout: {line.strip()}")
                reached |= {node for node, name in fleet.serving().items() if name == bad}
            code = at_the_wheel.wait()
            story.tell(f"rollout ended with {code}; it had reached {many(len(reached), 'node')}")
            _waited(lambda: set(fleet.serving().values()) == {good})
            story.tell(f"all {N_NODES} nodes answer from {good} again")
            sys.stdout.write(fleet.run("status", *place))
            time.sleep(2)
        answers = ", ".join(f"{n:,} from {name}" for name, n in callers.answers.most_common())
        story.tell(f"callers had {answers}, and {many(len(callers.failures), 'error')}")
    well = code == _ROLLED_BACK and 0 < len(reached) < N_NODES and not callers.failures
    story.tell("ended well" if well else f"ENDED BADLY {callers.failures[:3]}")
    return well


def _event(log: Path, name: str) -> dict[str, Any] | None:
    for line in log.read_text().splitlines():
        if line.startswith("{") and (told := json.loads(line))["event"] == name:
            return dict(told)
    return None


def _get(url: str, path: str) -> Any:
    host, _, port = url.rpartition("//")[2].rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def _waited(found: Callable[[], Any]) -> Any:
    until = time.monotonic() + _PATIENCE_S
    while not (told := found()):
        if time.monotonic() > until:
            raise SystemExit("a node did not come to what was waited for")
        time.sleep(0.2)
    return told


if __name__ == "__main__":
    with TemporaryDirectory(prefix="almanac-drill-") as place:
        sys.exit(0 if drill(Path(place)) else 1)
