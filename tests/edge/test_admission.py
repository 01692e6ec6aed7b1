"""Admission by a clock of the test's own: when answers get cheaper, and when all is well again.

The loop is a real one; only the time that passes in it is told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from starlette.types import Receive, Scope, Send

from edge.cells import blank_rows
from edge.counters import Counters
from edge.middleware import route, wrapped
from edge.overload import REFUSED, Admission
from edge.totals import Totals

MS = 1_000_000


class Told:
    """A target of 10 ms whose clock stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now_ns = 10**9
        self.counters = Counters(blank_rows())
        self.admission = Admission(self.counters, target_ms=10, clock=lambda: self.now_ns)

    @property
    def totals(self) -> Totals:
        return Totals([self.counters.row.tolist()], ())

    async def turn(self, n_requests: int, each_ms: float, *, sleep_ms: float = 0) -> list[int]:
        """The levels of requests that the loop finds in one look, and what it sleeps afterwards."""
        levels = []
        for _ in range(n_requests):
            levels.append(self.admission.level())
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
    """12 windows of 25 ms from the worst, whether little is asked or nothing."""

    async def test(here: Told) -> None:
        while here.totals.pressure < REFUSED:
            await here.turn(15, 1)
        began_ns = here.now_ns
        if how == "silence":
            here.now_ns += 325 * MS
        while here.now_ns < began_ns + 325 * MS:
            await here.turn(1, 1, sleep_ms=4)

        assert await here.turn(9, 1) == [0] * 9
        assert here.totals.pressure == 0

    told(test)


def test_the_pressure_falls_where_nobody_asks() -> None:
    """By a timer of the loop, so that whoever looks at metrics is not told of yesterday's peak."""

    async def test(here: Told) -> None:
        while here.totals.pressure < REFUSED:
            await here.turn(15, 1)
        here.now_ns += 400 * MS
        for _ in range(1000):
            await asyncio.sleep(0.01 if here.totals.pressure else 0)

        assert here.totals.pressure == 0

    told(test)


def test_who_stood_in_line_for_long_gets_a_cheaper_answer_at_once() -> None:
    """What a stall leaves behind is answered fast, whatever was the case before it."""

    async def test(here: Told) -> None:
        assert await here.turn(4, 20.1) == [0, 1, 2, 2]
        assert (await here.turn(600, 1))[-1] == REFUSED

    told(test)


def test_who_waited_behind_what_needs_no_admission_has_waited() -> None:
    """Such as a look at the health: it is not counted itself, but it begins the turn."""

    async def test(here: Told) -> None:
        async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
            here.now_ns += 21 * MS
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def nobody(*_: object) -> Any:
            pass

        app = wrapped(
            [route("/livez", {"GET": slow})],
            origins=(),
            counters=here.counters,
            admission=here.admission,
        )
        for path in ("/livez", "/v1/offers"):
            await app(
                {"type": "http", "method": "GET", "path": path, "headers": []}, nobody, nobody
            )

        assert here.totals.levels == {"full": 0, "context": 1, "prior": 0, "refused": 0}
        assert here.totals.queued_s == pytest.approx(0.021)

    told(test)


def test_while_a_queue_stands_nobody_waits_longer_than_its_bound() -> None:
    """Within one turn, whatever the pressure is: 80 ms and then refusals."""

    async def test(here: Told) -> None:
        for _ in range(3):
            await here.turn(15, 2)
        assert here.totals.pressure < 1

        levels = await here.turn(300, 1)

        # Half of the turn before counts: the wait is 15 ms for the first, 80 ms for the 66th.
        assert levels.index(REFUSED) == 66
        assert set(levels[66:]) == {REFUSED}
        assert set(levels[26:66]) == {2}

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


@pytest.mark.parametrize("rate", [5_500, 8_000, 12_000])
def test_a_peak_is_answered_as_far_as_there_is_time(rate: int) -> None:
    """Two seconds of more than the 5,000 whole answers a second that this process could give.

    800 requests a second come before and after. Nobody waits longer than twice the bound, also of
    those who came while the line grew; little more is refused than would have to be if all others
    had the cheapest answers; and a second after the peak all is well.
    """
    draw = np.random.default_rng(1)
    ends_ns = np.cumsum([0, *(np.array([1, 2, 1.5]) * 1e9)])
    due_ns = np.sort(
        np.concatenate(
            [
                draw.uniform(begin, end, int(per_s * (end - begin) / 1e9))
                for begin, end, per_s in zip(
                    ends_ns[:-1], ends_ns[1:], (800, rate, 800), strict=True
                )
            ]
        )
    )
    reading_ns, costs_ns = 40_000, (160_000, 140_000, 120_000, 25_000)
    levels, waits_ns = np.zeros(len(due_ns), int), np.zeros(len(due_ns))

    async def test(here: Told) -> None:
        origin_ns, answered = here.now_ns, 0
        while answered < len(due_ns):
            found = int(np.searchsorted(due_ns, here.now_ns - origin_ns, side="right"))
            here.now_ns += 20_000 + reading_ns * (found - answered)
            await asyncio.sleep(0)
            if found == answered:
                here.now_ns = max(here.now_ns, origin_ns + int(due_ns[answered]) + 1)
            for number in range(answered, found):
                levels[number] = here.admission.level()
                here.now_ns += costs_ns[levels[number]]
                waits_ns[number] = here.now_ns - origin_ns - due_ns[number]
            answered = found

    told(test)

    needed_ns, spared_ns = rate * (reading_ns + costs_ns[2]), rate * (costs_ns[2] - costs_ns[3])
    wanted = max(0.0, (needed_ns - 1e9) / spared_ns)
    peak, after = (due_ns >= ends_ns[1]) & (due_ns < ends_ns[2]), due_ns >= ends_ns[2] + 1e9
    assert not levels[due_ns < ends_ns[1]].any()
    assert waits_ns.max() < 2 * 80 * MS
    assert wanted - 0.05 < (levels[peak] == REFUSED).mean() < wanted + 0.1
    assert not levels[after].any()


def test_a_refusal_says_when_to_come_again() -> None:
    """Whole seconds, as the standard has it, and microseconds until there are prior answers."""

    async def test(here: Told) -> None:
        while here.totals.pressure < REFUSED:
            await here.turn(15, 1)
        refused = here.admission.refusal([(b"vary", b"Origin")])

        headers = dict(refused.headers)
        assert refused.status == 503
        assert headers[b"retry-after"] == b"1"
        assert headers[b"x-retry-after-us"] == b"100000"
        assert headers[b"vary"] == b"Origin"
        assert len(refused.body) == int(headers[b"content-length"])

    told(test)
