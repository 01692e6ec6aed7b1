"""A small web server for tests, which can lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.index.shipping.origins import digest


@dataclass
class Answers:
    """What a web server has, and how it errs: `lie` may change each answer to a GET."""

    folder: Path
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    lie: Callable[[bytes], bytes] = bytes
    endless: bool = False
    tells_length: bool = True
    bytes_sent: int = 0
    cut_after: int | None = None
    ignores_range: bool = False
    status: int | None = None
    address: str = ""


@contextmanager
def web_server(folder: Path) -> Iterator[Answers]:
    """Serves a folder with Range and ETag on a free port of this machine."""
    answers = Answers(folder)

    class Handler(_Files):
        pass

    Handler.answers = answers
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


class _Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: Answers

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.answers.asked.append((self.path, self.headers["Range"]))
        path = self.answers.folder / self.path.lstrip("/")
        if self.answers.status is not None or not path.is_file():
            self.send_response(self.answers.status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        part = self.begin(path.read_bytes())
        if self.answers.endless:
            self.send_without_end()
            return
        part = self.answers.lie(part)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part[: self.answers.cut_after])
        self.close_connection = self.answers.cut_after is not None

    def begin(self, whole: bytes) -> bytes:
        """Send the first headers, and say which part of the file is to follow."""
        asked = self.headers["Range"]
        part = whole
        if asked and not self.answers.ignores_range:
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            part = whole[first : last + 1]
            self.send_response(206)
            told = f"bytes {first}-{first + len(part) - 1}/{len(whole)}"
            self.send_header("Content-Range", told)
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{digest(whole)[:16]}"')
        return part

    def send_without_end(self) -> None:
        self.close_connection = True
        self.send_header("Connection", "close")
        if self.answers.tells_length:
            self.send_header("Content-Length", str(1 << 50))
        self.end_headers()
        with suppress(OSError):  # until the reader has had enough
            while True:
                self.wfile.write(bytes(1 << 16))
                self.answers.bytes_sent += 1 << 16

    def log_message(self, *_: object) -> None:
        pass
