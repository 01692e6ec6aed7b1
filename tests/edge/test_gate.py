"""The gate by a clock of the test's own: when answers get cheaper, and when all is well again.

The loop is a real one; only the time that passes in it is told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edge.counters import Counters, Totals, blank_rows
from edge.overload import REFUSED, Gate

MS = 1_000_000


class Told:
    """A gate of 10 ms whose clock stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now_ns = 10**9
        self.counters = Counters(blank_rows())
        self.gate = Gate(self.counters, target_ms=10, clock=lambda: self.now_ns)

    @property
    def totals(self) -> Totals:
        return Totals([self.counters.row.tolist()], ())

    async def turn(self, n_requests: int, each_ms: float, *, sleep_ms: float = 0) -> list[int]:
        """The levels of requests that the loop finds in one look, and what it sleeps afterwards."""
        levels = []
        for _ in range(n_requests):
            levels.append(self.gate.level())
            self.now_ns += int(each_ms * MS)
        await asyncio.sleep(0)
        self.now_ns += int(sleep_ms * MS)
        return levels


def told(test: Callable[[Told], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await test(Told())

    asyncio.run(run())


def test_short_turns_are_never_degraded() -> None:
    async def test(here: Told) -> None:
        for _ in range(500):
            assert await here.turn(9, 1) == [0] * 9
        assert here.totals.pressure == 0

    told(test)


def test_bursts_that_are_gone_in_the_next_turn_are_not_degraded() -> None:
    """Twice the target, again and again, but the loop sleeps in between: no queue stands."""

    async def test(here: Told) -> None:
        for _ in range(100):
            assert await here.turn(20, 1, sleep_ms=20) == [0] * 20

    told(test)


def test_a_queue_that_stands_gets_cheaper_answers_then_refusals() -> None:
    """The pressure only rises, from whole answers to refusals alone; no level is left out."""

    async def test(here: Told) -> None:
        seen, pressures = [], []
        for _ in range(100):
            seen.append(await here.turn(15, 1))
            pressures.append(here.totals.pressure)

        assert seen[0] == [0] * 15
        assert seen[-1] == [REFUSED] * 15
        assert {level for levels in seen for level in levels} == {0, 1, 2, 3}
        assert pressures == sorted(pressures)
        assert pressures[-1] == REFUSED

    told(test)


def test_requests_share_out_a_pressure_between_two_levels() -> None:
    async def test(here: Told) -> None:
        while here.totals.pressure < 1.25:
            await here.turn(15, 1)
        assert here.totals.pressure == 1.25

        shares = Counter(await here.turn(8, 0))

        assert shares == {1: 6, 2: 2}

    told(test)


@pytest.mark.parametrize("how", ["short turns", "silence"])
def test_within_a_second_all_is_well_again(how: str) -> None:
    """24 steps of 25 ms from the worst, whether little is asked or nothing."""

    async def test(here: Told) -> None:
        while here.totals.pressure < REFUSED:
            await here.turn(15, 1)
        began_ns = here.now_ns
        if how == "silence":
            here.now_ns += 625 * MS
        while here.now_ns < began_ns + 625 * MS:
            await here.turn(1, 1, sleep_ms=4)

        assert await here.turn(9, 1) == [0] * 9
        assert here.totals.pressure == 0

    told(test)


def test_the_pressure_falls_where_nobody_asks() -> None:
    """By a timer of the loop, so that whoever looks at metrics is not told of yesterday's peak."""

    async def test(here: Told) -> None:
        while here.totals.pressure < REFUSED:
            await here.turn(15, 1)
        here.now_ns += 700 * MS
        for _ in range(1000):
            await asyncio.sleep(0.01 if here.totals.pressure else 0)

        assert here.totals.pressure == 0

    told(test)


def test_who_stood_in_line_for_long_gets_a_cheaper_answer_at_once() -> None:
    """What a stall leaves behind is answered fast, whatever was the case before it."""

    async def test(here: Told) -> None:
        assert await here.turn(4, 20.1) == [0, 1, 1, 2]
        assert (await here.turn(300, 1))[-1] == REFUSED

    told(test)


def test_a_stall_is_no_queue() -> None:
    """One long turn raises the pressure by a step at most, and the next one tells better."""

    async def test(here: Told) -> None:
        for _ in range(30):
            await here.turn(1, 1)
        await here.turn(1, 500)
        pressures = []
        for _ in range(30):
            await here.turn(1, 1)
            pressures.append(here.totals.pressure)

        assert max(pressures) <= 0.125
        assert pressures[-1] == 0

    told(test)


def test_every_request_is_counted_with_its_level_and_its_time_in_line() -> None:
    """Half of the turn before, in which it came, and what it waited in its own."""

    async def test(here: Told) -> None:
        await here.turn(3, 4)
        await here.turn(1, 1)

        assert here.totals.levels == {"full": 4, "context": 0, "prior": 0, "refused": 0}
        assert here.totals.queued_s == pytest.approx(0.004 + 0.008 + 0.006)
        assert [count for _, count in here.totals.queue_buckets] == [1, 1, 2, *[4] * 8]

    told(test)


def test_a_refusal_says_when_to_come_again() -> None:
    """Whole seconds, as the standard has it, and microseconds until there are prior answers."""

    async def test(here: Told) -> None:
        while here.totals.pressure < REFUSED:
            await here.turn(15, 1)
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        await here.gate.refuse(send, [(b"vary", b"Origin")])

        headers = dict(said[0]["headers"])
        assert said[0]["status"] == 503
        assert headers[b"retry-after"] == b"1"
        assert headers[b"x-retry-after-us"] == b"200000"
        assert headers[b"vary"] == b"Origin"
        assert len(said[1]["body"]) == int(headers[b"content-length"])

    told(test)
