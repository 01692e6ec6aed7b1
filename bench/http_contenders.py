"""Who is measured over HTTP, how each is started, and which answers are right.

Contenders that need more than Python and redis-server are in `bench.http_peers`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from bench.http_answers import parsed_answer
from bench.http_processes import Measured, ServerFailed, free_port, running
from bench.http_wire import on_the_wire, traced_on_the_wire
from bench.peers import noop, redis_lists
from bench.synthetic import SECRET, Shape, customer_id
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.request import Request

ServerName: TypeAlias = Literal["uvicorn", "granian"]
UVICORN: Final = "uvicorn"
SERVERS: Final[tuple[ServerName, ...]] = (UVICORN, "granian")
EDGE, NO_OP, REDIS = "edge", "no-op", "redis"
EDGE_ASGI = "edge-asgi"
"""The edge without its way past ASGI."""
EDGE_HEADS = "edge-heads"
"""The edge, asked over heads of which no two are the same."""

FLAGS: Final[Mapping[str, str]] = {
    "uvicorn": "--http httptools --loop uvloop --ws none --lifespan on --no-access-log "
    "--no-server-header --no-proxy-headers --timeout-keep-alive 75 --log-level warning",
    "granian": "--interface asgi --http 1 --no-ws --loop uvloop --workers 1 --runtime-threads 1 "
    "--log-level warning",
}
_DIRECT: Final = "edge.direct:DirectProtocol"
_LOAD_AT_ONCE: Final = 1000


class RedisMissing(Exception):
    """There is no redis-server to compare with."""

    exit_code = 4
    hint = "apt-get install redis-server (Debian, Ubuntu), or leave it out: --without redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One service, whatever serves it.

    Attributes:
        name: as the report prints it.
        right_answer: what it must answer to a body.
        factory: what makes its app, `module:function`, where it runs under any server.
        flags: by server, further flags of its own.
        starts: what starts it on a port, where it brings a server of its own.
        env: environment variables of its own.
        wire: the request that a body becomes, as it goes over the wire.
        essence: what of an answer must be right; all of it by default.
        asks_redis: redis-server works for it too.
        slower: its turns have so many times fewer requests.
    """

    name: str
    right_answer: Callable[[bytes], bytes]
    factory: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)
    starts: Callable[[int], Sequence[str]] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    wire: Callable[[bytes], bytes] = on_the_wire
    essence: Callable[[bytes], bytes] = bytes
    asks_redis: bool = False
    slower: int = 1


def edge(generation: Generation) -> Contender:
    """Our edge over an open snapshot."""
    return Contender(
        name=EDGE,
        factory="edge.app:from_environment",
        flags={UVICORN: f"--http {_DIRECT}"},
        env={
            "ALMANAC_EDGE_SNAPSHOT": str(generation.directory),
            # What is measured is whole answers, however slow the machine is.
            "ALMANAC_EDGE_QUEUE_TARGET_MS": "10000",
            "ALMANAC_SECRET": SECRET.decode(),
            "OMP_NUM_THREADS": "1",
        },
        right_answer=lambda body: decision_json(
            decide(generation, msgspec.json.decode(body, type=Request))
        ),
    )


def edge_over_asgi(generation: Generation) -> Contender:
    """The same, without its way past ASGI, which it has under uvicorn alone."""
    return replace(edge(generation), name=EDGE_ASGI, flags={})


def edge_with_new_heads(generation: Generation) -> Contender:
    """The edge, where no request has the head of an earlier one."""
    return replace(edge(generation), name=EDGE_HEADS, wire=traced_on_the_wire)


def no_op(answer: bytes, folder: Path) -> Contender:
    """An app that always gives this answer."""
    file = folder / "answer.json"
    file.write_bytes(answer)
    return Contender(
        name=NO_OP,
        factory="bench.peers.noop:app",
        env={noop.ANSWER: str(file)},
        right_answer=lambda _: answer,
    )


def redis_lists_of(generation: Generation, socket: Path) -> Contender:
    """The lists that `load_lists` put into Redis."""

    def right_answer(body: bytes) -> bytes:
        asked = msgspec.json.decode(body)
        return ready_list(generation, asked.get("customer_id"))

    return Contender(
        name=REDIS,
        factory="bench.peers.redis_lists:app",
        env={redis_lists.SOCKET: str(socket)},
        right_answer=right_answer,
        asks_redis=True,
    )


def ready_list(generation: Generation, customer: str | None) -> bytes:
    """What is computed in advance for a customer, or for everybody else: no cart, no moment."""
    return decision_json(decide(generation, Request(placement="checkout", customer_id=customer)))


def load_lists(generation: Generation, socket: Path, shape: Shape) -> None:
    """Put every customer's list and the popular one into Redis."""
    with Redis(unix_socket_path=str(socket)) as redis:
        redis.set(redis_lists.POPULAR, ready_list(generation, None))
        for start in range(0, shape.n_customers, _LOAD_AT_ONCE):
            batch = redis.pipeline(transaction=False)
            for number in range(start, min(start + _LOAD_AT_ONCE, shape.n_customers)):
                customer = customer_id(number)
                batch.set(redis_lists.list_key(customer), ready_list(generation, customer))
            batch.execute()


def redis_server(folder: Path, cores: Collection[int] = ()) -> AbstractContextManager[Measured]:
    """A redis-server of our own on the Unix socket `folder / "redis.sock"`, in memory only.

    Raises:
        RedisMissing: none is installed.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RedisMissing("redis-server is not installed, so there is nothing to compare with")
    socket = folder / "redis.sock"
    flags = f"--port 0 --unixsocket {socket} --dir {folder} --appendonly no --daemonize no"

    def answers() -> bool:
        try:
            with Redis(unix_socket_path=str(socket)) as redis:
                return bool(redis.ping())
        except RedisError:
            return False

    return running(
        "redis-server",
        [program, *flags.split(), "--save", ""],
        answers=answers,
        folder=folder,
        cores=cores,
    )


@contextmanager
def served(
    contender: Contender, server: str, *, folder: Path, cores: Collection[int] = ()
) -> Iterator[tuple[Measured, int]]:
    """A contender under a server with one worker, and its port.

    Args:
        contender: what answers.
        server: what serves it; only a name where the contender brings its own.
        folder: where what it says is kept.
        cores: where it may run; anywhere by default.

    Raises:
        ServerFailed: it did not start.
    """
    port = free_port()
    if contender.starts is not None:
        command = list(contender.starts(port))
    else:
        flags = f"{FLAGS[server]} {contender.flags.get(server, '')}"
        command = [sys.executable, "-m", server, *flags.split(), "--factory"]
        command += ["--host", "127.0.0.1", "--port", str(port), contender.factory]
    ours = {key: value for key, value in os.environ.items() if not key.startswith("ALMANAC_")}
    with running(
        f"{contender.name} {server}",
        command,
        answers=lambda: _answers(port, contender),
        folder=folder,
        env={**ours, **contender.env},
        cores=cores,
    ) as measured:
        yield measured, port


def check_answers(contender: Contender, port: int, bodies: Sequence[bytes]) -> None:
    """Compare what a service answers with what it must.

    Raises:
        ServerFailed: one answer is wrong.
    """
    for body in bodies:
        status, answer = exchange(port, contender.wire(body))
        if status != 200 or contender.essence(answer) != contender.right_answer(body):
            raise ServerFailed(
                f"{contender.name} answers {body.decode()} with {status} {answer[:200]!r}",
                hint="a wrong answer's cost means nothing, so nothing was measured",
            )


def ask(port: int, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a body, over a connection of its own."""
    return exchange(port, on_the_wire(body))


def exchange(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request as it goes over the wire.

    Raises:
        OSError: there was no whole answer.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        while (answer := parsed_answer(received)) is None:
            more = connection.recv(1 << 18)
            if not more:
                raise ConnectionResetError(f"port {port} hung up after {received[:200]!r}")
            received += more
    return answer.status, received[len(received) - answer.size :]


def http_facts(*, with_redis: bool) -> dict[str, str]:
    """Versions and flags of what serves."""
    names = ("granian", "hiredis", "httptools", "redis", "starlette", "uvicorn", "uvloop")
    facts = {name: version(name) for name in names}
    facts |= {f"flags of {server}": flags for server, flags in FLAGS.items()}
    program = shutil.which("redis-server")
    if with_redis and program is not None:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        facts["redis-server"] = told.stdout.strip()
    return facts


def _answers(port: int, contender: Contender) -> bool:
    try:
        return exchange(port, contender.wire(b"{}"))[0] == 200
    except OSError:
        return False
