"""Buckets for tests: those of a real S3 server, and one in memory that errs on demand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from index.shipping.store import open_store
from index.shipping.store_errors import Unreachable
from tests.index.shipping.processes import wait_until
from tests.index.shipping.web_servers import serving

ACCESS_KEY, SECRET_KEY = "AKTEST", "a secret of the tests"


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
        wait_until(lambda: _makes_bucket(endpoint), server)
        yield settings(endpoint)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


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
    blobs: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def bucket_server(*, honours_conditions: bool) -> Iterator[Errs]:
    """A bucket in memory; whether `If-Match` and `If-None-Match` mean anything to it is said."""
    errs = Errs()

    class Handler(_Bucket):
        pass

    Handler.errs, Handler.honours_conditions = errs, honours_conditions
    with serving(Handler) as address:
        errs.settings = settings(address)
        yield errs


class _Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    errs: Errs
    honours_conditions: bool

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        there = self.errs.blobs.get(self.path)
        if self.errs.conflicts and (self.headers["If-Match"] or self.headers["If-None-Match"]):
            self.errs.conflicts -= 1
            self.end(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
        elif self.honours_conditions and not self.condition_holds(there):
            self.end(412)
        else:
            self.errs.blobs[self.path] = data
            if self.errs.lost_answers:
                self.errs.lost_answers -= 1
                self.end(500)
            else:
                self.end(200, tag=_etag(data))

    def do_GET(self) -> None:
        data = self.errs.blobs.get(self.path)
        if data is None:
            self.end(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.end(200, data, tag=_etag(data))

    def do_POST(self) -> None:  # what obstore deletes by
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        bucket = self.path.partition("?")[0].rstrip("/")
        keys = re.findall("<Key>(.*?)</Key>", body)
        for key in keys:
            self.errs.blobs.pop(f"{bucket}/{key}", None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self.end(200, f"<DeleteResult>{told}</DeleteResult>".encode())

    def condition_holds(self, there: bytes | None) -> bool:
        wants, wants_none = self.headers["If-Match"], self.headers["If-None-Match"]
        if wants_none is not None and there is not None:
            return False
        return wants is None or (there is not None and wants == _etag(there))

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


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


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


def _makes_bucket(endpoint: str) -> bool:
    """The first write makes the bucket, once the server has room for it."""
    try:
        open_store("s3://tests/", environ=settings(endpoint)).create("made", b"")
    except Unreachable:
        return False
    return True


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code == 403  # it is up, and asks who we are
    except OSError:
        return False
    return True
