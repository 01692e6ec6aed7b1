"""A soak: a node changes over again and again under load, and every answer is checked.

All of it is real: keys, store, `almanac serve` with its workers and its sync process, and callers
in a process of their own who never stop. What they are answered must be, byte for byte, what the
snapshot that the answer names gives in this process; what one changed over to meanwhile is no
excuse. Memory, mappings and open files of the node's processes are counted after each swap.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import msgspec

from bench.http_requests import checkable_bodies
from bench.http_wire import on_the_wire
from bench.soak_load import Callers, Expected, Heard
from bench.soak_node import Held, Node, OwnStore
from bench.synthetic import SECRET, Shape, write_synthetic
from index.decide import decide
from index.encode import decision_json
from index.request import Request
from index.shipping.channel import Target
from index.snapshot import open_snapshot
from index.wording import many

N_SNAPSHOTS: Final = 3
_N_QUESTIONS: Final = 97
_BRAND: Final = "bench"
_CLOSED_S: Final = 3.0
_LOOKING_ON: Final = 19
_SHAPE: Final = Shape(n_customers=2000, n_offers=2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPlan:
    """What a soak does.

    Attributes:
        swaps: how often the channel is announced.
        workers: the node's.
        seconds_between: from one swap to the next announcement.
        rate: requests per second.
        connections: over how many connections.
        shape: of the snapshots.
    """

    swaps: int = 300
    workers: int = 2
    seconds_between: float = 2.0
    rate: int = 200
    connections: int = 8
    shape: Shape = _SHAPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What came of it.

    Attributes:
        plan: what was done.
        heard: what the callers were answered.
        announced_ns: when each swap was announced, by `perf_counter_ns`.
        served_ns: when the node said that all workers had changed over.
        held: what the node's processes held before the first swap and after each, by name.
        leaked: retired snapshots that stayed mapped.
        restarts: workers that had to be replaced.
        outcomes: how swaps ended, by word.
    """

    plan: SoakPlan
    heard: Heard
    announced_ns: list[int]
    served_ns: list[int]
    held: list[dict[str, Held]]
    leaked: int
    restarts: int
    outcomes: dict[str, int]


def soak(folder: Path, plan: SoakPlan, tell: Callable[[str], None] = lambda _: None) -> Soak:
    """Run it in an empty folder.

    Raises:
        NodeFailed: the node did not start, or did not come to serve what was announced.
    """
    bodies = checkable_bodies(plan.shape, _N_QUESTIONS)
    store = OwnStore(folder / "store", _BRAND)
    targets, expected = _published(store, folder, plan.shape, bodies)
    store.announce(targets[0])
    words = ("--brand", _BRAND, "--workers", str(plan.workers), "--poll-s", "0.2", "--watch-s", "0")
    announced_ns, served_ns, held = [], [], []
    with ExitStack() as stack:
        node = stack.enter_context(Node(folder, store, SECRET, words))
        node.wait_for(targets[0].snapshot_id, 1)
        callers = stack.enter_context(
            Callers(
                node.port,
                [on_the_wire(body) for body in bodies],
                expected,
                rate=plan.rate,
                connections=plan.connections,
            )
        )
        # From here on this process only looks on: it must not stand in anybody's way.
        os.setpriority(os.PRIO_PROCESS, 0, _LOOKING_ON)
        tell(f"{many(plan.workers, 'worker')} for {many(plan.rate, 'request')} per second")
        time.sleep(max(plan.seconds_between, _CLOSED_S))
        held.append(node.held())
        for number in range(1, plan.swaps + 1):
            target = targets[number % len(targets)]
            announced_ns.append(perf_counter_ns())
            store.announce(target)
            node.wait_for(target.snapshot_id, number + 1)
            served_ns.append(perf_counter_ns())
            time.sleep(plan.seconds_between)
            held.append(node.held())
            if number % max(1, plan.swaps // 10) == 0:
                tell(many(number, "swap"))
        # What retired last is closed after its grace: what is mapped then stays mapped.
        time.sleep(_CLOSED_S)
        held[-1] = node.held()
        status = node.status()
    assert callers.heard is not None
    return Soak(
        plan=plan,
        heard=callers.heard,
        announced_ns=announced_ns,
        served_ns=served_ns,
        held=held,
        leaked=int(status["leaked"]),
        restarts=sum(int(worker["restarts"]) for worker in status["workers"]),
        outcomes={str(word): int(n) for word, n in status["swaps"].items()},
    )


def _published(
    store: OwnStore, folder: Path, shape: Shape, bodies: Sequence[bytes]
) -> tuple[list[Target], Expected]:
    """Snapshots of one shop, drawn differently; they share what does not depend on the draw."""
    targets: list[Target] = []
    expected: dict[str, list[bytes]] = {}
    for number in range(N_SNAPSHOTS):
        directory = folder / f"snapshot-{number}"
        write_synthetic(directory, replace(shape, seed=shape.seed + number))
        target = store.publish(directory)
        targets.append(target)
        expected[target.snapshot_id] = _answers(directory, bodies)
    return targets, expected


def _answers(directory: Path, bodies: Sequence[bytes]) -> list[bytes]:
    with open_snapshot(directory, SECRET) as opened:
        requests = [msgspec.json.decode(body, type=Request) for body in bodies]
        return [decision_json(decide(opened, request)) for request in requests]
