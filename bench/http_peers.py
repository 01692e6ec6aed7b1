"""Contenders that bring a server of their own: Feast, a model in its handler, nginx with files.

Each is asked in its own way for what the same request is about. They are not part of what Almanac
installs; where one is absent, the run goes on without it and says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import orjson

from bench.http_contenders import FLAGS, Contender, ready_list
from bench.http_processes import ServerFailed
from bench.http_requests import on_the_wire
from bench.peers import nginx_files
from bench.synthetic import Shape, customer_id
from index.generation import Generation

PeerName: TypeAlias = Literal["feast", "model", "nginx"]
INTERPRETER: Final = "ALMANAC_BENCH_PEERS"
"""Environment variable: the Python that has what Feast and the model need."""
_HERE: Final = Path(__file__).parent / "peers"
_SLOW: Final = 10
_FEAST_FLAGS: Final = (
    # Not to be started anew after a thousand requests, which is its default.
    "--no-access-log --workers 1 --max-requests 0 --max-requests-jitter 0"
)
_PATIENCE_S: Final = 900.0


class PeerMissing(Exception):
    """A contender can't take part here."""

    exit_code = 4

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What contenders are prepared from.

    Attributes:
        generation: the open snapshot whose lists they hold.
        shape: of its shop.
        folder: where they may write.
        socket: of redis-server; None where it takes no part.
    """

    generation: Generation
    shape: Shape
    folder: Path
    socket: Path | None

    def lists(self) -> Iterator[tuple[str, bytes]]:
        """The popular list and that of every customer, by name."""
        yield nginx_files.POPULAR, ready_list(self.generation, None)
        for number in range(self.shape.n_customers):
            customer = customer_id(number)
            yield customer, ready_list(self.generation, customer)

    def list_for(self, body: bytes) -> bytes:
        """The list that a body's customer has."""
        return ready_list(self.generation, _customer(body))


def peer(name: PeerName, ground: Ground) -> tuple[Contender, str]:
    """A contender, ready to be started, and the name of its server.

    Raises:
        PeerMissing: it is not installed.
        ServerFailed: it could not be prepared.
    """
    prepare: dict[PeerName, Callable[[Ground], tuple[Contender, str]]] = {
        "feast": _feast,
        "model": _model,
        "nginx": _nginx,
    }
    return prepare[name](ground)


def offers_in(answer: bytes) -> list[str]:
    """Ids of the offers of an answer, or of what is essential of it."""
    told = orjson.loads(answer)
    return [offer["offer_id"] for offer in told["offers"]] if isinstance(told, dict) else told


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
        wire=lambda body: nginx_files.request(_customer(body)),
        right_answer=ground.list_for,
    )
    return contender, "files"


def _feast(ground: Ground) -> tuple[Contender, str]:
    python = _interpreter("feast")
    if ground.socket is None:
        raise PeerMissing("Feast stands on Redis, which takes no part", hint="drop --without redis")
    folder, lists = ground.folder / "feast", ground.folder / "lists.jsonl"
    with lists.open("wb") as file:
        for name, ready in ground.lists():
            file.write(orjson.dumps({"customer_id": name, "offers": ready.decode()}) + b"\n")
    _run([python, str(_HERE / "feast_repo.py"), str(folder), str(ground.socket), str(lists)])
    feast = str(Path(python).with_name("feast"))

    def wire(body: bytes) -> bytes:
        asked = {
            "feature_service": "offers",
            # Vectors computed in advance are found under full names only (Feast 0.67).
            "full_feature_names": True,
            "entities": {"customer_id": [_customer(body) or nginx_files.POPULAR]},
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
        slower=_SLOW,
    )
    return contender, "gunicorn"


def _model(ground: Ground) -> tuple[Contender, str]:
    python = _interpreter("fastapi", "implicit")
    folder = ground.folder / "model"
    folder.mkdir()
    popular = offers_in(ready_list(ground.generation, None))
    catalogue = _catalogue(ground.generation)
    rows = {offer["offer_id"]: row for row, offer in enumerate(catalogue)}
    (folder / "catalogue.json").write_bytes(orjson.dumps(catalogue))
    (folder / "popular.json").write_bytes(orjson.dumps([rows[offer] for offer in popular]))
    np.savez(folder / "histories.npz", **_histories(ground))
    _run([python, str(_HERE / "fastapi_model.py"), str(folder)])
    with np.load(folder / "model.npz") as learned:
        customers, offers = learned["user_factors"], learned["item_factors"]

    def right_answer(body: bytes) -> bytes:
        asked = orjson.loads(body)
        cart = {line["item_id"] for line in asked["cart"]}
        customer = _customer(body)
        if customer is None:
            order = popular
        else:
            scores = offers @ customers[int(customer.rpartition("-")[2])]
            order = [catalogue[row]["offer_id"] for row in np.argsort(-scores, kind="stable")]
        return orjson.dumps([offer for offer in order if offer not in cart][: asked["k"]])

    contender = Contender(
        name="model",
        starts=lambda port: [
            *(python, "-m", "uvicorn", *FLAGS["uvicorn"].split(), "--factory"),
            *("--app-dir", str(_HERE), "--host", "127.0.0.1", "--port", str(port)),
            "fastapi_model:app",
        ],
        env={
            "ALMANAC_BENCH_MODEL": str(folder),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": "",
        },
        essence=lambda answer: orjson.dumps(offers_in(answer)),
        right_answer=right_answer,
        slower=_SLOW,
    )
    return contender, "uvicorn"


def _interpreter(*modules: str) -> str:
    """The Python of the heavy contenders.

    Raises:
        PeerMissing: there is none, or it lacks one of the modules.
    """
    python = os.environ.get(INTERPRETER, ".venv-peers/bin/python")
    hint = f"make peers, or name an interpreter that has them: {INTERPRETER}=/path/to/python"
    if shutil.which(python) is None:
        raise PeerMissing(
            f"there is no {python}, which would have {' and '.join(modules)}", hint=hint
        )
    # Names that are looked for, not imported: importing Feast takes ten seconds.
    found = f"import importlib.util as u; [u.find_spec(m) or exit(m) for m in {modules!r}]"
    told = subprocess.run([python, "-c", found], capture_output=True, text=True, check=False)
    if told.returncode:
        raise PeerMissing(f"{python} has no {told.stderr.strip()}", hint=hint)
    return str(Path(python).absolute())


def _run(command: list[str]) -> None:
    env = {**os.environ, "PYTHONPATH": "", "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    if told.returncode:
        raise ServerFailed(f"{' '.join(command)} failed", hint=told.stderr.strip()[-2000:])


def _catalogue(generation: Generation) -> list[dict[str, Any]]:
    """What an answer says of each offer, by row."""
    reader = generation.enter()
    try:
        found = []
        for row in range(generation.model.n_offers):
            offer = reader.stored_offer(row)
            assert offer is not None
            found.append({"offer_id": offer.offer_id, **orjson.loads(b"{%b}" % offer.fragment)})
        return found
    finally:
        generation.leave(reader)


def _histories(ground: Ground) -> dict[str, Any]:
    """What each customer took, as the parts of a CSR matrix of customers and offers."""
    reader = ground.generation.enter()
    try:
        rows = []
        for number in range(ground.shape.n_customers):
            key = ground.generation.key_of(customer_id(number))
            assert key is not None
            record = reader.customer(key)
            assert record is not None
            rows.append(record.history.copy())
    finally:
        ground.generation.leave(reader)
    return {
        "indices": np.concatenate(rows).astype(np.int32),
        "indptr": np.cumsum([0, *map(len, rows)]).astype(np.int32),
        "n_offers": ground.generation.model.n_offers,
    }


def _customer(body: bytes) -> str | None:
    found: str | None = orjson.loads(body).get("customer_id")
    return found


def _feature(answer: bytes) -> bytes:
    """The list inside Feast's answer."""
    told = orjson.loads(answer)
    place = told["metadata"]["feature_names"].index("ready__offers")
    return str(told["results"][place]["values"][0]).encode()
