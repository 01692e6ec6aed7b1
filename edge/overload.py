"""What is done when more is asked than can be answered: cheaper answers first, then refusals.

The queue is measured, not assumed. One loop answers; what waits is what the loop finds when it
looks at its sockets again, so the time between two looks (a *turn*) is how long callers stand in
line. A turn begins with the first request in it, admitted or not, or with what a batch goes on
with. A burst makes one long turn and is gone in the next; a queue that stands makes every turn
long. So, as CoDel does (Nichols and Jacobson, 2012), the shortest turn of a window decides: above
the target, the pressure rises, else it falls. Nothing here knows a rate, a number of cores, or what
a decision costs.

The pressure is a number from 0 to 3. Between two levels, so many answers are of the higher one as
its fraction says, evenly spread. Besides, each request is seen by how long it stood in line itself:
so the queue has a bound, in time, also within one turn in which thousands came at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from time import perf_counter_ns
from typing import Final

import msgspec

from edge.answered import Answered, HeaderList, lines_of
from edge.counters import Counters
from edge.problems import PROBLEM_JSON, Problem
from index.request import Ceiling

CEILINGS: Final[tuple[Ceiling | None, ...]] = (None, "context", "prior")
"""By level, the highest tier of an answer; past the last, requests are refused."""
REFUSED: Final = len(CEILINGS)
AT_MOST: Final = "almanac.at_most"
"""Where a request's scope says which ceiling it was given."""

_WINDOW_NS: Final = 25_000_000
_RISE: Final = 0.125
_FALL: Final = 0.25
"""By how much the pressure changes in a window; it falls faster, since peaks end suddenly."""
_MOST_AT_ONCE: Final = 1.0
"""For a turn that took many windows."""
_CHEAPER: Final = (2, 4)
"""Waits of a single request, in targets, from which on it gets context, and prior."""
_LIMIT: Final = 8
"""The queue's bound, in targets: while it stands, who has waited so long is refused."""
_GONE: Final = 50
"""And after a stall, who has waited so long: nobody listens any more."""
_EMPTY_NS: Final = 1_000_000
"""A loop that sleeps this long between two turns had nothing left to do."""
_NO_TURN_YET: Final = 1 << 62

_BODY: Final = msgspec.json.encode(
    Problem(
        type="urn:almanac:problem:overloaded",
        title=HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        detail="More is asked than can be answered now; ask again after Retry-After, which is in "
        "whole seconds, or after as many microseconds as X-Retry-After-Us says.",
    )
)
_LINES: Final = lines_of(
    (
        (b"content-type", PROBLEM_JSON),
        (b"content-length", b"%d" % len(_BODY)),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"1"),
    )
)


class Admission:
    """Says of each request, before anything is done for it, how good an answer there is time for.

    Args:
        counters: this process's cells.
        target_ms: how long callers may stand in line, milliseconds, before answers get cheaper.
        clock: nanoseconds that only rise.
    """

    __slots__ = (
        "_began_ns",
        "_carried",
        "_cheaper_ns",
        "_clock",
        "_counters",
        "_gone_ns",
        "_last_ns",
        "_least_ns",
        "_limit_ns",
        "_loop",
        "_pressure",
        "_relaxing",
        "_stands",
        "_target_ns",
        "_turned_ns",
        "_window_ns",
    )

    def __init__(
        self,
        counters: Counters,
        *,
        target_ms: float,
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._target_ns = int(target_ms * 1e6)
        self._cheaper_ns = tuple(times * self._target_ns for times in _CHEAPER)
        self._limit_ns = _LIMIT * self._target_ns
        self._gone_ns = _GONE * self._target_ns
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pressure = self._carried = 0.0
        self._stands = False
        self._relaxing: asyncio.TimerHandle | None = None
        self._began_ns = self._turned_ns = self._last_ns = self._least_ns = 0
        self._window_ns = clock()

    def level(self) -> int:
        """The level of a request that begins now, counted: an index of `CEILINGS`, or `REFUSED`."""
        now_ns, loop = self._clock(), asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin_turn(now_ns, loop)
        # It came at some time during the turn before this one: on average, in its middle.
        in_line_ns = now_ns - self._began_ns + self._last_ns // 2
        level = self._shared_out() if self._pressure else 0
        if in_line_ns > self._cheaper_ns[0]:
            limits_ns = (*self._cheaper_ns, self._limit_ns if self._stands else self._gone_ns)
            level = max(level, sum(in_line_ns > limit_ns for limit_ns in limits_ns))
        self._counters.admitted(level, in_line_ns)
        return level

    def busy(self) -> None:
        """Begin a turn with what needs no admission: whoever comes behind it waits as well."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin_turn(self._clock(), loop)

    def refusal(self, headers: HeaderList) -> Answered:
        """503, counted, and after which time there will be an answer, as far as can be told.

        Args:
            headers: further headers of the answer.
        """
        self._counters.at_once(HTTPStatus.SERVICE_UNAVAILABLE)
        more = lines_of([(b"x-retry-after-us", b"%d" % self._wait_us()), *headers])
        return Answered(503, _LINES + more, _BODY)

    def _begin_turn(self, now_ns: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._began_ns = loop, now_ns
        # Called when the loop has been through all that it found when it looked at its sockets.
        loop.call_soon(self._end_turn)
        self._look_back(now_ns)

    def _look_back(self, now_ns: int) -> None:
        """When the window is over, change the pressure by what was the shortest turn in it."""
        # What the last turn leaves for the loop to tidy up grows with it, and is no sleep.
        if now_ns - self._turned_ns > _EMPTY_NS + self._last_ns // 8:
            self._last_ns = self._least_ns = 0
        n_windows = (now_ns - self._window_ns) // _WINDOW_NS
        if n_windows:
            self._press(n_windows)
            self._window_ns, self._least_ns = now_ns, _NO_TURN_YET

    def _press(self, n_windows: int) -> None:
        """Up or down, once for each window that went by."""
        stands = self._least_ns > self._target_ns
        if not stands:
            change = -_FALL * n_windows
        elif self._stands:
            change = min(_RISE * n_windows, _MOST_AT_ONCE)
        else:
            change = _RISE  # one long turn may have been a stall: the next one tells
        self._stands = stands
        self._pressure = min(max(self._pressure + change, 0.0), float(REFUSED))
        self._counters.pressed(self._pressure)
        if self._pressure:
            self._relax_soon()

    def _relax_soon(self) -> None:
        if self._relaxing is None:
            loop = asyncio.get_running_loop()
            self._relaxing = loop.call_later(2 * _WINDOW_NS / 1e9, self._relax)

    def _relax(self) -> None:
        """Let the pressure fall where nothing is asked any more."""
        self._relaxing = None
        if self._loop is None:
            self._look_back(self._clock())
        if self._pressure:
            self._relax_soon()

    def _end_turn(self) -> None:
        self._loop = None
        self._turned_ns = self._clock()
        self._last_ns = self._turned_ns - self._began_ns
        self._least_ns = min(self._least_ns, self._last_ns)

    def _shared_out(self) -> int:
        """The pressure as a level, such that levels are on average what it is."""
        self._carried += self._pressure
        level = int(self._carried)
        self._carried -= level
        return level

    def _wait_us(self) -> int:
        """Until answers are given again, if the queue is gone from now on; a window at least."""
        n_windows = ceil((self._pressure - (REFUSED - 1)) / _FALL)
        return max(n_windows, 1) * _WINDOW_NS // 1000
