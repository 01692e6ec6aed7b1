"""Contenders that bring a server of their own: Feast, models in a handler, nginx with files.

Each is asked in its own way for what the same request is about. They are not part of what Almanac
installs; where one is absent, the run goes on without it and says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import orjson

from bench import http_models
from bench.http_contenders import Contender
from bench.http_ground import SLOW, Ground, PeerMissing, customer_of, interpreter, run_apart
from bench.http_wire import on_the_wire
from bench.peers import nginx_files

PeerName: TypeAlias = Literal["feast", "model", "nginx", "scikit"]
_FEAST_FLAGS: Final = (
    # Not to be started anew after a thousand requests, which is its default.
    "--no-access-log --workers 1 --max-requests 0 --max-requests-jitter 0"
)


def peer(name: PeerName, ground: Ground) -> tuple[Contender, str]:
    """A contender, ready to be started, and the name of its server.

    Raises:
        PeerMissing: it is not installed.
        ServerFailed: it could not be prepared.
    """
    prepare: dict[PeerName, Callable[[Ground], tuple[Contender, str]]] = {
        "feast": _feast,
        "model": http_models.model,
        "nginx": _nginx,
        "scikit": http_models.scikit,
    }
    return prepare[name](ground)


def _nginx(ground: Ground) -> tuple[Contender, str]:
    program = shutil.which("nginx")
    if program is None:
        raise PeerMissing("nginx is not installed", hint="apt-get install nginx (Debian, Ubuntu)")
    # The worker of an nginx that root starts is somebody else, who may not look into our folder.
    ground.folder.chmod(0o755)
    folder = ground.folder / "nginx"
    nginx_files.write_lists(folder, ground.lists())
    contender = Contender(
        name="nginx",
        starts=lambda port: nginx_files.command(program, folder, port),
        wire=lambda body: nginx_files.request(customer_of(body)),
        right_answer=ground.list_for,
    )
    return contender, "files"


def _feast(ground: Ground) -> tuple[Contender, str]:
    python = interpreter("feast")
    if ground.socket is None:
        raise PeerMissing("Feast stands on Redis, which takes no part", hint="drop --without redis")
    folder, lists = ground.folder / "feast", ground.folder / "lists.jsonl"
    with lists.open("wb") as file:
        for name, ready in ground.lists():
            file.write(orjson.dumps({"customer_id": name, "offers": ready.decode()}) + b"\n")
    run_apart(python, "feast_repo.py", folder, ground.socket, lists)
    feast = str(Path(python).with_name("feast"))

    def wire(body: bytes) -> bytes:
        asked = {
            "feature_service": "offers",
            # Vectors computed in advance are found under full names only (Feast 0.67).
            "full_feature_names": True,
            "entities": {"customer_id": [customer_of(body) or nginx_files.POPULAR]},
        }
        return on_the_wire(orjson.dumps(asked), path="/get-online-features")

    contender = Contender(
        name="feast",
        starts=lambda port: [
            *(feast, "-c", str(folder), "serve", "--host", "127.0.0.1", "--port", str(port)),
            *_FEAST_FLAGS.split(),
        ],
        env={"FEAST_USAGE": "False", "PYTHONPATH": ""},
        wire=wire,
        essence=_feature,
        right_answer=ground.list_for,
        asks_redis=True,
        slower=SLOW,
    )
    return contender, "gunicorn"


def _feature(answer: bytes) -> bytes:
    """The list inside Feast's answer."""
    told = orjson.loads(answer)
    place = told["metadata"]["feature_names"].index("ready__offers")
    return str(told["results"][place]["values"][0]).encode()
