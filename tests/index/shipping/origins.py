"""Stores for tests: a real S3 server, a small web server that can lie, wrappers that misbehave."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from index.shipping.local_store import LocalStore
from index.shipping.store import Blob

ACCESS_KEY, SECRET_KEY = "AKTEST", "a secret of the tests"
DEADLINE_S = 60


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Answers:
    """What a web server has, and how it errs: `lie` may change each answer to a GET."""

    folder: Path
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    lie: Callable[[bytes], bytes] = bytes
    endless: bool = False
    cut_after: int | None = None
    ignores_range: bool = False
    status: int | None = None
    address: str = ""


@contextmanager
def web_server(folder: Path) -> Iterator[Answers]:
    """Serves a folder with Range and ETag on a free port of this machine."""
    answers = Answers(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            asked_range = self.headers["Range"]
            answers.asked.append((self.path, asked_range))
            if answers.status is not None:
                return self.plain(answers.status)
            path = answers.folder / self.path.lstrip("/")
            if not path.is_file():
                return self.plain(404)
            whole = path.read_bytes()
            if asked_range and not answers.ignores_range:
                first, last = map(int, asked_range.removeprefix("bytes=").split("-"))
                part = whole[first : last + 1]
                self.send_response(206)
                end = first + len(part) - 1
                self.send_header("Content-Range", f"bytes {first}-{end}/{len(whole)}")
            else:
                part = whole
                self.send_response(200)
            self.send_header("ETag", f'"{digest(whole)[:16]}"')
            if answers.endless:
                return self.forever()
            part = answers.lie(part)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body and answers.cut_after is not None:
                self.wfile.write(part[: answers.cut_after])
                self.close_connection = True
            elif body:
                self.wfile.write(part)
            return None

        def plain(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def forever(self) -> None:
            self.close_connection = True
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                pass  # the reader has had enough

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        answers.address = address
        yield answers


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Errs:
    """How a bucket in memory errs, in ways that a sound server shows only in a race.

    Attributes:
        conflicts: how many conditional writes it will answer with 409, nothing written.
        lost_answers: how many writes it will carry out and then answer with 500.
    """

    conflicts: int = 0
    lost_answers: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def bucket_server(*, honours_conditions: bool) -> Iterator[Errs]:
    """A bucket in memory; whether `If-Match` and `If-None-Match` mean anything to it is said."""
    blobs: dict[str, bytes] = {}
    errs = Errs()

    def etag(data: bytes | None) -> str | None:
        return None if data is None else f'"{hashlib.md5(data).hexdigest()}"'

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            there = blobs.get(self.path)
            wants, wants_none = self.headers["If-Match"], self.headers["If-None-Match"]
            if errs.conflicts and (wants or wants_none):
                errs.conflicts -= 1
                return self.end(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
            fails = (wants is not None and wants != etag(there)) or (
                wants_none is not None and there is not None
            )
            if honours_conditions and fails:
                return self.end(412)
            blobs[self.path] = data
            if errs.lost_answers:
                errs.lost_answers -= 1
                return self.end(500)
            return self.end(200, tag=etag(data))

        def do_GET(self) -> None:
            data = blobs.get(self.path)
            if data is None:
                return self.end(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return self.end(200, data, tag=etag(data))

        def do_DELETE(self) -> None:
            blobs.pop(self.path, None)
            self.end(204)

        def do_POST(self) -> None:  # what obstore deletes by
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            bucket = self.path.partition("?")[0].rstrip("/")
            keys = re.findall("<Key>(.*?)</Key>", body)
            for key in keys:
                blobs.pop(f"{bucket}/{key}", None)
            told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self.end(200, f"<DeleteResult>{told}</DeleteResult>".encode())

        def end(self, status: int, body: bytes = b"", tag: str | None = None) -> None:
            self.send_response(status)
            if tag:
                self.send_header("ETag", tag)
            self.send_header("Last-Modified", "Sat, 28 Nov 2026 00:00:00 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        errs.settings = settings(address)
        yield errs


@contextmanager
def s3_server(weed: Path, folder: Path) -> Iterator[Mapping[str, str]]:
    """SeaweedFS with one key, on free ports of this machine; yields the settings to reach it."""
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config, data = folder / "s3.json", folder / "data"
    config.write_text(json.dumps({"identities": [identity]}))
    data.mkdir()
    names = ["master", "volume", "filer", "s3"]
    flags = [*(f"{name}.port" for name in names), *(f"{name}.port.grpc" for name in names)]
    ports = free_ports(len(flags) + 3)
    command = [
        str(weed),
        "server",
        "-filer",
        "-s3",
        "-master.telemetry=false",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={data}",
        f"-s3.config={config}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        f"-debug.port={ports[-1]}",
        f"-s3.port.iceberg={ports[-2]}",
        f"-s3.port.lance={ports[-3]}",
        *(f"-{flag}={port}" for flag, port in zip(flags, ports, strict=False)),
    ]
    endpoint = f"http://127.0.0.1:{ports[names.index('s3')]}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: _answers(endpoint), server)
        yield settings(endpoint)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def settings(endpoint: str, secret: str = SECRET_KEY) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
    }


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not happened():
        assert process.poll() is None, "the process ended too early"
        assert time.monotonic() < give_up, "nothing happened in time"
        time.sleep(0.02)


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code == 403  # it is up, and asks who we are
    except OSError:
        return False
    return True


class Careless(LocalStore):
    """Accepts every write, whatever its condition."""

    def create(self, key: str, data: bytes) -> bool:
        self.delete(key)
        return super().create(key, data)

    def replace(self, key: str, data: bytes, *, expected: str | None) -> str:
        found = self.read(key, limit=1 << 20).token if self.head(key) is not None else None
        return super().replace(key, data, expected=found)


class Watched(LocalStore):
    """Counts what is asked of it, and may change what it answers."""

    def __init__(self, folder: Path, change: Callable[[int, bytes], bytes] | None = None) -> None:
        super().__init__(folder)
        self.asked: list[tuple[str, int, int]] = []
        self._change = change

    def read(self, key: str, *, limit: int) -> Blob:
        self.asked.append((key, 0, limit))
        return super().read(key, limit=limit)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.asked.append((key, start, length))
        data = super().read_range(key, start, length)
        return self._change(start, data) if self._change else data
