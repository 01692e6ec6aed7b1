"""What a service can do at most: the rate that multiples are taken of where none is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from bench.load.drive import drive
from bench.load.driver import GARBLED
from bench.load.samples import failures, in_words
from bench.load.schedule import Ints
from bench.load.verdict import BUSY_SHARE
from bench.scorecard.questions import Questions
from bench.scorecard.runs import Service
from index.wording import many

SHARE: Final = 0.12
"""The base rate by default: then 5× is 60 % of what the service can do, and 10× more than that."""
CLOSED_CONNECTIONS: Final = 16
_WARM: Final = 500
_REQUESTS: Final = 5000
FEW: Final = 8
_TIMEOUT_NS: Final = 60_000_000_000


class NoAnswers(Exception):
    """The service gave no good answers, so there is no rate to take a share of.

    Args:
        url: that was asked.
        statuses: int64, shape (requests,), what came.
    """

    exit_code = 75

    def __init__(self, url: str, statuses: Ints) -> None:
        n_good = np.count_nonzero(statuses == 200)
        came = in_words(failures(statuses))
        super().__init__(
            f"{url}: {n_good:,} of {many(len(statuses), 'request')} had a good answer: {came}"
        )
        self.hint = "is it the right address, and does the request fit?"
        if (statuses == GARBLED).any():
            self.hint = "answers need a content-length: put a proxy in between that adds it"


class Most(NamedTuple):
    """What was answered at most: good answers a second, and how busy the driver was meanwhile."""

    per_s: float
    driver_busy: float

    @property
    def sentence(self) -> str:
        """What 1× is, and where that comes from."""
        told = (
            f"1× is {self.per_s * SHARE:,.0f} requests a second: {SHARE:.0%} of the"
            f" {self.per_s:,.0f} a second that the service answered at most, with"
            f" {CLOSED_CONNECTIONS} callers."
        )
        if self.driver_busy <= BUSY_SHARE:
            return told
        return (
            f"{told} The driver was busy for {self.driver_busy:.0%} of that time: the service alone"
            " may do more."
        )


def ask_a_few(service: Service, questions: Questions) -> None:
    """Find out whether anybody answers, before time is spent on measuring nothing.

    Raises:
        NoAnswers: none of them had a good answer.
    """
    work = service.work(questions, np.zeros(FEW, np.int64), np.arange(FEW) % len(questions))
    (trace,), _ = drive(work, cores=service.cores)
    if not (trace.statuses == 200).any():
        raise NoAnswers(service.target.url, trace.statuses)


def most_of(service: Service, questions: Questions) -> Most:
    """What is answered where 16 callers ask again as soon as they are answered.

    Raises:
        NoAnswers: fewer than half of the answers were good.
    """
    _asked_at_once(service, questions, _WARM)
    return _asked_at_once(service, questions, _REQUESTS)


def _asked_at_once(service: Service, questions: Questions, n: int) -> Most:
    """All are due at once and wait for a connection: a closed loop with the open one's driver."""
    work = replace(
        service.work(questions, np.zeros(n, dtype=np.int64), np.arange(n) % len(questions)),
        connections=CLOSED_CONNECTIONS,
        timeout_ns=_TIMEOUT_NS,
    )
    (trace,), _ = drive(work, cores=service.cores)
    n_good = int(np.count_nonzero(trace.statuses == 200))
    if n_good < n / 2:
        raise NoAnswers(service.target.url, trace.statuses)
    return Most(
        per_s=n_good / (int(trace.done_ns.max()) / 1e9),
        driver_busy=trace.busy_ns / trace.wall_ns,
    )
