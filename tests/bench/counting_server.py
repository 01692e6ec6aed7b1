"""A tiny HTTP server that counts what it was asked and misbehaves on request."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Self

_FROM = b'HTTP/1.1 200 OK\r\nx-snapshot-id: %b\r\ncontent-length: 19\r\n\r\n{"snapshot_id":"%b"}'
_ANSWERS = {
    b"fine": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{1}",
    b"refuse": b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
    b"last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{1}",
    b"endless": b"HTTP/1.1 200 OK\r\n\r\n{1}",
    b"double": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{1}{2}",
    b"vanish": b"",
    b"from a": _FROM % (b"a", b"a"),
    b"says b": _FROM % (b"b", b"a"),
    b"of another": _FROM % (b"z", b"z"),
}


def request(body: bytes) -> bytes:
    """A request that asks for one of the behaviours."""
    return b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class CountingServer:
    """Answers in a thread of its own; `asked` counts the bodies."""

    def __init__(self) -> None:
        self.asked: Counter[bytes] = Counter()
        self.connections = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        # Who asked may not have hung up yet; a socket that is left open fails some later test.
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.rpartition(b":")[2]))
                self.asked[body] += 1
                if body == b"pieces":
                    for at in range(len(_ANSWERS[b"fine"])):
                        writer.write(_ANSWERS[b"fine"][at : at + 1])
                        await writer.drain()
                        await asyncio.sleep(0)
                    continue
                writer.write(_ANSWERS[body])
                await writer.drain()
                if body in (b"last", b"vanish"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
