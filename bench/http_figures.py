"""Figures of a run over HTTP: pure functions of its turns and raw samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.http_contenders import EDGE, EDGE_ASGI, EDGE_HEADS, NO_OP, REDIS
from bench.http_load import Lap
from bench.http_open import NO_ANSWER, OpenTurn, open_figures, open_samples, per_answer_us
from bench.percentiles import percentiles_us

_UNDER_ANY: Final = (EDGE, EDGE_HEADS, EDGE_ASGI, NO_OP, REDIS)
"""Contenders that run under servers of the edge's, and are compared there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One service's lap, and what it cost.

    Attributes:
        contender: whose.
        server: under which.
        connections: asking at once.
        round: 1 for the first that counts.
        requests: sent.
        errors: without a good answer.
        cpu_ns: processor time of the service's own processes.
        redis_cpu_ns: processor time of redis-server meanwhile; 0 where it has no part.
        driver_cpu_ns: processor time of the driver.
        wall_ns: duration.
    """

    contender: str
    server: str
    connections: int
    round: int
    requests: int
    errors: int
    cpu_ns: int
    redis_cpu_ns: int
    driver_cpu_ns: int
    wall_ns: int

    @property
    def row(self) -> str:
        """Name of the row it belongs to."""
        return f"{self.contender} {self.server} {self.connections}"

    @property
    def good(self) -> int:
        """Requests with a good answer."""
        return self.requests - self.errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All turns of one run, their raw samples by row, those of the open loop, and facts."""

    turns: list[Turn]
    laps: dict[str, list[Lap]]
    at_rate: list[OpenTurn]
    facts: dict[str, Any]

    def samples(self) -> dict[str, NDArray[np.int64]]:
        """Raw nanoseconds by row; `NO_ANSWER` where there was none."""
        closed = {
            row: np.concatenate(
                [np.where(lap.statuses == 200, lap.nanoseconds, NO_ANSWER) for lap in laps]
            )
            for row, laps in self.laps.items()
        }
        return closed | open_samples(self.at_rate)


def summary_of(run: Run) -> dict[str, Any]:
    """Figures of every row, ratios of processor time, and each turn."""
    return {
        "facts": run.facts,
        "rows": {row: _figures(run, row) for row in run.laps},
        "at_rate": open_figures(run.at_rate),
        "cpu_ratios": cpu_ratios(run.turns),
        "turns": [asdict(turn) for turn in run.turns],
    }


def own_work_s(turns: Sequence[Turn], at_rate: Sequence[OpenTurn]) -> float:
    """Seconds of processor time that services, Redis and the driver took in all turns together."""
    closed_ns = sum(turn.cpu_ns + turn.redis_cpu_ns + turn.driver_cpu_ns for turn in turns)
    return (closed_ns + sum(turn.cpu_ns + turn.driver_cpu_ns for turn in at_rate)) / 1e9


def cpu_ratios(turns: Sequence[Turn]) -> dict[str, dict[str, float]]:
    """The edge's processor time per good answer in that of each other contender.

    Compared round by round under the same server, or under each of the edge's where the other
    brings its own; Redis counts together with its server. Who refuses at once is not cheap: what
    that costs is borne by the answers, and rounds without any are left out.

    Returns:
        By `edge SERVER / OTHER SERVER CONNECTIONS`: the median round's ratio, the lowest, the
        highest, and the throughput per core in that of the other: the median's reciprocal.
    """
    cost = {
        (turn.contender, turn.server, turn.connections, turn.round): (
            (turn.cpu_ns + turn.redis_cpu_ns) / turn.good
        )
        for turn in turns
        if turn.good
    }
    ours = sorted({turn.server for turn in turns if turn.contender == EDGE})
    ratios: dict[str, list[float]] = defaultdict(list)
    for (contender, server, connections, number), theirs in cost.items():
        for our_server in [server] if contender in _UNDER_ANY else ours:
            found = cost.get((EDGE, our_server, connections, number))
            if contender != EDGE and found is not None:
                name = f"edge {our_server} / {contender} {server} {connections}"
                ratios[name].append(found / theirs)
    return {
        name: {
            "median": round(float(np.median(found)), 3),
            "lowest": round(min(found), 3),
            "highest": round(max(found), 3),
            "times_per_core": round(1 / float(np.median(found)), 3),
        }
        for name, found in ratios.items()
    }


def _figures(run: Run, row: str) -> Mapping[str, Any]:
    turns = [turn for turn in run.turns if turn.row == row]
    n_good = sum(turn.good for turn in turns)
    wall_ns = sum(turn.wall_ns for turn in turns)
    cpu_ns = sum(turn.cpu_ns for turn in turns)
    redis_ns = sum(turn.redis_cpu_ns for turn in turns)
    good = [lap.statuses == 200 for lap in run.laps[row]]
    times = [lap.nanoseconds[ok] for lap, ok in zip(run.laps[row], good, strict=True)]
    decided_us = np.concatenate(
        [lap.decided_us[ok] for lap, ok in zip(run.laps[row], good, strict=True)]
    )
    told = decided_us[~np.isnan(decided_us)]
    sizes = [lap.sizes[ok] for lap, ok in zip(run.laps[row], good, strict=True)]
    return {
        "cpu_us": per_answer_us(cpu_ns, n_good),
        "redis_cpu_us": per_answer_us(redis_ns, n_good),
        "cpu_together_us": per_answer_us(cpu_ns + redis_ns, n_good),
        "decide_p50_us": round(float(np.median(told)), 2) if len(told) else None,
        "per_second": round(sum(map(len, times)) / (wall_ns / 1e9), 1),
        "core_busy": round((cpu_ns + redis_ns) / wall_ns, 3),
        "driver_busy": round(sum(turn.driver_cpu_ns for turn in turns) / wall_ns, 3),
        "requests": sum(turn.requests for turn in turns),
        "errors": sum(turn.errors for turn in turns),
        "answer_bytes": round(float(np.concatenate(sizes).mean())) if any(map(len, sizes)) else 0,
        **percentiles_us(np.concatenate(times)),
    }
