"""A fleet that nobody has to rent: requests, a balancer, nodes, workers, and what goes wrong.

Requests come at given moments. The balancer gives each to a node, the kernel of that node to one
of its workers, and a worker answers one after another in the order they came. How long a worker is
busy is drawn from measured times. A node that is lost takes with it what it had under way, and
what the balancer still sends it until the loss is noticed; no request is tried again. Where no node
is left, every request fails. A swap stops every worker for a while, which is worse than what a node
does: it opens a snapshot beside the one that answers.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Balancer: TypeAlias = Literal["random", "least-connections"]
Seconds: TypeAlias = NDArray[np.float64]
BALANCERS: Final[tuple[Balancer, ...]] = ("random", "least-connections")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """How long a request keeps a worker busy.

    Attributes:
        alone_s: shape (samples,), of a worker that had nothing to do and was woken.
        crowded: what part of that it takes where others were waiting already: nobody is woken.
        around_s: what passes outside of the worker, on the way to it and back.
    """

    alone_s: Seconds
    crowded: float
    around_s: float

    @property
    def crowded_s(self) -> float:
        """What a request takes on average of a worker that always has something to do."""
        return float(self.alone_s.mean()) * self.crowded


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Nodes behind a balancer.

    Attributes:
        nodes: how many.
        workers: of each.
        balancer: `random`, or the node with the fewest requests under way.
    """

    nodes: int
    workers: int
    balancer: Balancer = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong, in seconds since the first moment.

    Attributes:
        lost_at_s: when node 0 ends; never by default.
        noticed_s: how long the balancer goes on sending to it.
        swap_at_s: when all workers change over; never by default.
        swap_s: how long each answers nothing then.
    """

    lost_at_s: float = inf
    noticed_s: float = 0.0
    swap_at_s: float = inf
    swap_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of every request.

    Attributes:
        latency_s: shape (requests,), from the moment it came; NaN where it was lost.
        busy_s: shape (nodes,), how long each node's workers were busy together.
    """

    latency_s: Seconds
    busy_s: Seconds

    @property
    def lost(self) -> int:
        """Requests without an answer."""
        return int(np.count_nonzero(np.isnan(self.latency_s)))


def simulate(
    fleet: Fleet,
    arrivals_s: Seconds,
    times: ServiceTimes,
    *,
    seed: int,
    trouble: Trouble | None = None,
) -> Outcome:
    """Let requests come to a fleet.

    Args:
        fleet: who answers.
        arrivals_s: shape (requests,), rising.
        times: how long each answer keeps a worker.
        seed: of all draws.
        trouble: what goes wrong; nothing by default.
    """
    state = _State(fleet, trouble or Trouble())
    rng = np.random.default_rng(seed)
    n = len(arrivals_s)
    busy_s = rng.choice(times.alone_s, n).tolist()
    node_draws = rng.random(n).tolist()
    worker_draws = rng.integers(0, fleet.workers, n).tolist()
    crowded, around_s = times.crowded, times.around_s
    latency_s = np.full(n, nan)
    for number, now_s in enumerate(arrivals_s.tolist()):
        node = state.pick(now_s, node_draws[number])
        if node is None:
            continue
        done_s = state.serve(node, worker_draws[number], now_s, busy_s[number], crowded)
        if done_s is not None:
            latency_s[number] = done_s - now_s + around_s
    return Outcome(latency_s=latency_s, busy_s=np.array(state.busy_s))


class _State:
    def __init__(self, fleet: Fleet, trouble: Trouble) -> None:
        self._fleet = fleet
        self._trouble = trouble
        self._free_s = [[0.0] * fleet.workers for _ in range(fleet.nodes)]
        self._swapped = [[False] * fleet.workers for _ in range(fleet.nodes)]
        self._under_way: list[list[float]] = [[] for _ in range(fleet.nodes)]
        self._counts = fleet.balancer == "least-connections"
        self._all: Sequence[int] = range(fleet.nodes)
        self._left: Sequence[int] = range(1, fleet.nodes)
        self.busy_s = [0.0] * fleet.nodes

    def pick(self, now_s: float, draw: float) -> int | None:
        """The node that the balancer chooses at a moment; equals are told apart by a draw.

        None where it knows of none that is left.
        """
        known_lost = now_s >= self._trouble.lost_at_s + self._trouble.noticed_s
        nodes = self._left if known_lost else self._all
        if not nodes:
            return None
        if not self._counts:
            return nodes[int(draw * len(nodes))]
        fewest, best = inf, []
        for node in nodes:
            under_way = self._under_way[node]
            while under_way and under_way[0] <= now_s:
                heapq.heappop(under_way)
            if len(under_way) < fewest:
                fewest, best = len(under_way), [node]
            elif len(under_way) == fewest:
                best.append(node)
        return best[int(draw * len(best))]

    def serve(
        self, node: int, worker: int, now_s: float, busy_s: float, crowded: float
    ) -> float | None:
        """When a worker is done with a request; None where the node is lost before."""
        trouble, free = self._trouble, self._free_s[node]
        lost_at_s = trouble.lost_at_s if node == 0 else inf
        if now_s >= lost_at_s:
            return None
        start_s = max(now_s, free[worker])
        if start_s >= trouble.swap_at_s and not self._swapped[node][worker]:
            self._swapped[node][worker] = True
            start_s = max(now_s, max(free[worker], trouble.swap_at_s) + trouble.swap_s)
        if start_s > now_s:
            busy_s *= crowded
        done_s = start_s + busy_s
        free[worker] = done_s
        if self._counts:
            heapq.heappush(self._under_way[node], done_s)
        if done_s > lost_at_s:
            return None
        self.busy_s[node] += busy_s
        return done_s
