"""Decisions in process, no HTTP: full decisions by tier and cart beside a bare LMDB get.

All contenders take turns within one run, a few hundred calls each, so that a slow minute of a
shared machine slows them alike. What is not measured here: parsing, JSON, sockets, and a cold disk.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.percentiles import percentiles_us
from bench.shoppers import busy_request, known_customer
from bench.synthetic import SECRET, Shape, customer_id, write_synthetic
from index.decide import decide
from index.generation import Generation
from index.layout import customer_key
from index.request import Request
from index.snapshot import open_snapshot

RAW: Final = "raw LMDB get"
CARTS: Final = (0, 3, 10)
_TURN: Final = 250
_REQUESTS: Final = 4000
_WARM_UP: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One thing that is called over and over.

    Attributes:
        name: as the report prints it.
        call: called with the number of the call.
    """

    name: str
    call: Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Times of one contender.

    Attributes:
        name: whose.
        nanoseconds: int64, one per call, the clock's own cost included.
        cpu_ns: processor time of all calls together.
    """

    name: str
    nanoseconds: NDArray[np.int64]
    cpu_ns: int

    def figures(self) -> dict[str, float | None]:
        """Percentiles in microseconds, and calls per second of processor time."""
        return {
            **percentiles_us(self.nanoseconds),
            "per_cpu_second": round(len(self.nanoseconds) / (self.cpu_ns / 1e9), 1),
        }


def measure_decisions(
    shapes: list[Shape], n_calls: int
) -> list[tuple[dict[str, Any], list[Samples]]]:
    """Write a snapshot of each shape, open all, and time all their contenders in turns.

    Args:
        shapes: how large; sizes take turns too, so that they can be compared.
        n_calls: timed calls of each contender.

    Returns:
        For each shape, facts about its snapshot and the samples.
    """
    with tempfile.TemporaryDirectory(prefix="almanac-bench-") as folder, ExitStack() as opened:
        facts = []
        contenders = []
        for place, shape in enumerate(shapes):
            path = Path(folder) / str(place)
            write_synthetic(path, shape)
            started_ns = perf_counter_ns()
            generation = opened.enter_context(open_snapshot(path, SECRET))
            facts.append(_facts(generation, shape, perf_counter_ns() - started_ns))
            contenders.append(list(_contenders(generation, shape)))
        samples = iter(_alternate([one for some in contenders for one in some], n_calls))
        return [
            (fact, [next(samples) for _ in some])
            for fact, some in zip(facts, contenders, strict=True)
        ]


def _facts(generation: Generation, shape: Shape, open_ns: int) -> dict[str, Any]:
    return {
        "customers": shape.n_customers,
        "offers": shape.n_offers,
        "bytes": sum(entry.size for entry in generation.manifest.files),
        "open_ms": round(open_ns / 1e6, 1),
    }


def _contenders(generation: Generation, shape: Shape) -> Iterator[Contender]:
    rng = np.random.default_rng(shape.seed + 1)
    numbers = rng.integers(0, shape.n_customers, _REQUESTS).tolist()
    keys = [customer_key(SECRET, customer_id(number)) for number in numbers]
    transaction = generation.customers[0].reader()
    yield Contender(name=RAW, call=lambda i: transaction.get(keys[i % _REQUESTS]))
    for n_cart in CARTS:
        individual = [
            busy_request(rng, shape, known_customer(number, thin=False, shape=shape), n_cart)
            for number in numbers
        ]
        yield _deciding(f"individual, {n_cart} cart items", generation, individual)
    thin = [
        busy_request(rng, shape, known_customer(number, thin=True, shape=shape), 3)
        for number in numbers
    ]
    yield _deciding("thin, 3 cart items", generation, thin)
    for n_cart in CARTS:
        strangers = [busy_request(rng, shape, None, n_cart) for _ in numbers]
        yield _deciding(f"context, {n_cart} cart items", generation, strangers)
    yield _deciding("prior", generation, [Request(k=10)])
    new_items = [busy_request(rng, shape, None, 1, new_item=True) for _ in numbers]
    yield _deciding("context, 1 new item (vector search)", generation, new_items)


def _deciding(name: str, generation: Generation, requests: list[Request]) -> Contender:
    n = len(requests)
    return Contender(name=name, call=lambda i: decide(generation, requests[i % n]))


def _alternate(contenders: list[Contender], n_calls: int) -> list[Samples]:
    times = [np.zeros(n_calls, dtype=np.int64) for _ in contenders]
    cpu = [0 for _ in contenders]
    for contender in contenders:
        for i in range(_WARM_UP):
            contender.call(i)
    with _no_collector():
        for start in range(0, n_calls, _TURN):
            stop = min(start + _TURN, n_calls)
            for place, contender in enumerate(contenders):
                cpu[place] += _turn(contender.call, times[place], start, stop)
    return [
        Samples(name=contender.name, nanoseconds=times[place], cpu_ns=cpu[place])
        for place, contender in enumerate(contenders)
    ]


def _turn(call: Callable[[int], object], times: NDArray[np.int64], start: int, stop: int) -> int:
    cpu_ns = process_time_ns()
    for i in range(start, stop):
        began = perf_counter_ns()
        call(i)
        times[i] = perf_counter_ns() - began
    return process_time_ns() - cpu_ns


@contextmanager
def _no_collector() -> Iterator[None]:
    """Freeze the collector as the edge does after loading."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
