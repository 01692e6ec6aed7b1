"""Loads that are emitted in tests: small, known to the request, and hard on every language."""

from __future__ import annotations

import msgspec
import numpy as np

from bench.load.emit.load import Load
from bench.load.schedule import SHAPES, Phase, Schedule, replayed, scheduled
from bench.load.target import Target, target_of

URL = "http://127.0.0.1:8080/v1/offers"


def load_of(
    plan: Schedule, *, target: Target | None = None, stays: bool = True, timeout_ms: int = 1500
) -> Load:
    """Requests with all that could break a script: quotes, backslashes, other alphabets."""
    bodies = [
        msgspec.json.encode({"customer_id": f"c'\"\\{number} ${{x}} ü漢", "k": 3})
        for number in range(5)
    ]
    return Load(
        target=target or target_of(URL),
        schedule=plan,
        bodies=bodies,
        which=np.random.default_rng(2).integers(0, 5, len(plan)),
        connections=16,
        timeout_ms=timeout_ms,
        stays=stays,
    )


def steps(target: Target | None = None) -> Load:
    """Three phases of 2 s: 10, 50 and 10 requests a second."""
    return load_of(scheduled(SHAPES["step"](10, 6), "even", 0), target=target)


def brief(body: bytes, target: Target) -> Load:
    """Ten requests in half a second, all the same, in two phases."""
    phases = (
        Phase(name="first", seconds=0.25, from_rate=20, to_rate=20),
        Phase(name="then", seconds=0.25, from_rate=20, to_rate=20),
    )
    plan = scheduled(phases, "even", 0)
    return Load(
        target=target,
        schedule=plan,
        bodies=[body],
        which=np.zeros(len(plan), dtype=np.int64),
        connections=4,
        timeout_ms=2000,
    )


def year() -> Load:
    """Orders of a year as they came: less than one a minute, in parts of 3,153,600 s."""
    moments_us = np.linspace(0, 365 * 86_400_000_000, 4001).astype(np.int64)
    return load_of(replayed(moments_us, 1.0))


def by_phase(load: Load) -> list[list[bytes]]:
    """Bodies of each phase, as they are sent."""
    sent = load.sent()
    return [
        [sent[place] for place in np.flatnonzero(load.schedule.phase == number)]
        for number in range(len(load.schedule.phases))
    ]
