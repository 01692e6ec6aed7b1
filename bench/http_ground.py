"""What contenders with a server of their own are prepared from, and what prepares them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.http_contenders import ready_list
from bench.http_processes import ServerFailed
from bench.peers import nginx_files
from bench.synthetic import Shape, customer_id, item_id
from index.generation import Generation

Csr: TypeAlias = dict[str, Any]
"""Arrays of a sparse matrix: `indptr`, `indices`, and `values` where they are not all 1."""
INTERPRETER: Final = "ALMANAC_BENCH_PEERS"
"""Environment variable: the Python that has what Feast and the models need."""
SCRIPTS: Final = Path(__file__).parent / "peers"
SLOW: Final = 10
"""How many times fewer requests a slow contender gets in a turn."""
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
        return ready_list(self.generation, customer_of(body))

    def catalogue(self) -> list[dict[str, Any]]:
        """What an answer says of each offer, by row."""
        found = []
        with self.generation.reading() as reader:
            for row in range(self.generation.model.n_offers):
                offer = reader.stored_offer(row)
                assert offer is not None
                found.append({"offer_id": offer.offer_id, **orjson.loads(b"{%b}" % offer.fragment)})
        return found

    def histories(self) -> Csr:
        """What each customer took: customers × offers."""
        rows = []
        with self.generation.reading() as reader:
            for number in range(self.shape.n_customers):
                key = self.generation.key_of(customer_id(number))
                assert key is not None
                record = reader.customer(key)
                assert record is not None
                rows.append(record.history.copy())
        return _csr(rows)

    def items(self) -> tuple[Csr, NDArray[np.float64]]:
        """What goes with each item, with its log-lift (items × offers), and prices in cents."""
        rows, values, prices = [], [], []
        with self.generation.reading() as reader:
            for number in range(self.shape.n_offers):
                item = reader.item(item_id(number))
                assert item is not None
                rows.append(item.rows.copy())
                values.append(item.values.copy())
                prices.append(float(item.price_cents))
        return _csr(rows) | {"values": np.concatenate(values)}, np.array(prices)


def customer_of(body: bytes) -> str | None:
    """Whom a body asks for; None for a stranger."""
    found: str | None = orjson.loads(body).get("customer_id")
    return found


def interpreter(*modules: str) -> str:
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


def run_apart(python: str, script: str, *words: Path) -> None:
    """Run one of `SCRIPTS` to its end, by another interpreter.

    Raises:
        ServerFailed: it failed.
    """
    command = [python, str(SCRIPTS / script), *map(str, words)]
    env = {**os.environ, "PYTHONPATH": "", "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    if told.returncode:
        raise ServerFailed(f"{' '.join(command)} failed", hint=told.stderr.strip()[-2000:])


def _csr(rows: Sequence[NDArray[np.uint32]]) -> Csr:
    return {
        "indices": np.concatenate(rows).astype(np.int32),
        "indptr": np.cumsum([0, *map(len, rows)]).astype(np.int32),
    }
