"""A limit on bytes per second, kept by waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_MOST_CREDIT_S: Final = 1.0


class Pace:
    """Spreads bytes over time; one may be shared by everything that a node fetches in turn.

    Time that was not used is credited up to one second. Not to be shared by threads.

    Args:
        bytes_per_s: the limit, more than 0.
        clock: seconds that only grow.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        bytes_per_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def took(self, n_bytes: int) -> None:
        """Count bytes that came, and wait until there would have been time for them."""
        now = self._clock()
        self._free_at = max(self._free_at, now - _MOST_CREDIT_S) + n_bytes / self._bytes_per_s
        if self._free_at > now:
            self._sleep(self._free_at - now)
