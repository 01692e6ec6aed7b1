"""The verb `almanac demo`: real orders, built, served and asked, in one command."""

from __future__ import annotations

import json as json_module
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from builder.cli import build
from builder.demo_inputs import write_inputs, write_personas
from builder.effort import Effort

AS_OF: Final = "2017-12-01"
_READY_WITHIN_S: Final = 60.0
_CART: Final = ("1029743", "1106523")


def demo(
    *,
    out: Path = Path("demo-data"),
    no_serve: bool = False,
    effort: Effort = "quick",
    port: int = 8080,
    json: bool = False,
) -> int | None:
    """Build a snapshot from real public orders, serve it and show an answer.

    Example: almanac demo --no-serve

    Parameters
    ----------
    out
        Folder for input, snapshot and report; an older demo in it is replaced.
    no_serve
        Stop after the build.
    effort
        How much is spent on learning; the others take longer and find a little more.
    port
        Where to serve.
    json
        Print the build's result as JSON.
    """
    out.mkdir(parents=True, exist_ok=True)
    events_path, items_path, config_path = write_inputs(out)
    snapshot_dir = out / "snapshot"
    shutil.rmtree(snapshot_dir, ignore_errors=True)
    secret_path = out / "brand.key"
    if not secret_path.exists():
        secret_path.write_text("complete-journey-demo-secret\n")
    build(
        events=[str(events_path)],
        items=[str(items_path)],
        config=config_path,
        out=snapshot_dir,
        as_of=AS_OF,
        effort=effort,
        secret_file=secret_path,
        json=json,
    )
    if no_serve:
        return None
    personas_path = out / "personas.json"
    secret = secret_path.read_bytes().strip()
    customer_id, *_ = write_personas(events_path, personas_path, secret, as_of=AS_OF)
    flags = ["--secret-file", str(secret_path), "--personas", str(personas_path)]
    return _serve(snapshot_dir, port, [*flags, "--storefront"], customer_id)


def _serve(snapshot_dir: Path, port: int, flags: list[str], customer_id: str) -> int:
    command = [sys.executable, "-m", "almanac", "serve", "--snapshot", str(snapshot_dir)]
    server = subprocess.Popen([*command, "--port", str(port), *flags])
    try:
        if _becomes_ready(server, port):
            _show_an_answer(port, customer_id)
        return server.wait()
    except KeyboardInterrupt:
        # The terminal sends the interrupt to the server too; it finishes what is in flight.
        return server.wait()
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait()


def _becomes_ready(server: subprocess.Popen[bytes], port: int) -> bool:
    until_s = time.monotonic() + _READY_WITHIN_S
    while server.poll() is None and time.monotonic() < until_s:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def _show_an_answer(port: int, customer_id: str) -> None:
    """Ask what a storefront would ask at checkout, and print the question with its answer."""
    url = f"http://127.0.0.1:{port}/v1/offers"
    question = {
        "placement": "checkout",
        "customer_id": customer_id,
        "k": 3,
        "context": {"store": "367"},
        "cart": [{"item_id": item_id} for item_id in _CART],
    }
    body = json_module.dumps(question)
    request = urllib.request.Request(
        url, data=body.encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - our own server
        answer = json_module.loads(response.read())
        timing = response.headers.get("server-timing", "")
    print(f"\n$ curl -s {url} -H 'content-type: application/json' -d '{body}'")
    print(json_module.dumps(answer, indent=2, ensure_ascii=False))
    print(f"server-timing: {timing}")
    print(f"\nstorefront: http://127.0.0.1:{port}/   (Ctrl-C stops)", flush=True)
