"""One process that opens one snapshot, as a worker does when it changes over: what that takes.

`python -m bench.scale_probe WARM SNAPSHOT CUSTOMERS OFFERS CALLS` prints JSON. The process has
served a small snapshot before, so that what is timed is the large one, not Python's first steps.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from bench.shoppers import busy_request, known_customer
from bench.synthetic import SECRET, Shape
from edge.memory import memory_of
from index.answer import answer
from index.generation import Generation
from index.request import Request
from index.snapshot import open_snapshot
from index.warm import warm_up

CART_ITEMS: Final = 3
_WARM_UP: Final = 300
_read = msgspec.json.Decoder(Request)


def probe(warm: Path, snapshot: Path, shape: Shape, calls: int) -> dict[str, Any]:
    """Serve one snapshot, then open another and ask it.

    Args:
        warm: a small snapshot with the same offers.
        snapshot: the one to be measured.
        shape: of its shop.
        calls: timed decisions, each of another customer.

    Returns:
        `open_ms`, `warm_ms` of what the edge asks a snapshot before anybody else does, `first_us`
        of the first decision after that and `p50_us` of the rest, JSON included, and
        `private_bytes` of the whole process, with only this snapshot open.
    """
    with open_snapshot(warm, SECRET) as generation:
        for request in _requests(shape, _WARM_UP, seed=1):
            _timed(generation, msgspec.json.encode(request))
    bodies = [
        msgspec.json.encode(request) for request in _requests(shape, calls + 1, seed=os.getpid())
    ]
    began_ns = perf_counter_ns()
    with open_snapshot(snapshot, SECRET) as generation:
        opened_ns = perf_counter_ns()
        warm_up(generation)
        warm_ns = perf_counter_ns()
        times = np.array([_timed(generation, body) for body in bodies])
        memory = memory_of(os.getpid())
    assert memory is not None
    return {
        "open_ms": (opened_ns - began_ns) / 1e6,
        "warm_ms": (warm_ns - opened_ns) / 1e6,
        "first_us": int(times[0]) / 1e3,
        "p50_us": float(np.median(times[1:])) / 1e3,
        "p99_us": float(np.percentile(times[1:], 99)) / 1e3,
        "private_bytes": memory.private,
    }


def _requests(shape: Shape, n: int, seed: int) -> list[Request]:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, shape.n_customers, n).tolist()
    return [
        busy_request(rng, shape, known_customer(number, thin=False, shape=shape), CART_ITEMS)
        for number in numbers
    ]


def _timed(generation: Generation, body: bytes) -> int:
    request = _read.decode(body)
    began_ns = perf_counter_ns()
    answer(generation, request)
    return perf_counter_ns() - began_ns


if __name__ == "__main__":
    _warm, _snapshot, _customers, _offers, _calls = sys.argv[1:]
    _shape = Shape(n_customers=int(_customers), n_offers=int(_offers))
    sys.stdout.buffer.write(orjson.dumps(probe(Path(_warm), Path(_snapshot), _shape, int(_calls))))
