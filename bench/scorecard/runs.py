"""Runs of the open loop: what is asked of whom, until one may be believed, and what is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.load.drive import drive
from bench.load.driver import Work
from bench.load.figures import summary_of
from bench.load.samples import Samples, gathered
from bench.load.schedule import Ints, Schedule
from bench.load.target import Target
from bench.scorecard.answers import Read, read_answers
from bench.scorecard.questions import KIND_NAMES, Questions
from index.wording import many

TRIES: Final = 2
LEAST_TIMEOUT_MS: Final = 5000
_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Whom to ask, and from where.

    Attributes:
        name: as the page calls it.
        target: its address.
        path: where ids stand in its answers.
        cores: where the driver runs; anywhere when empty.
        connections: at most so many at once.
        timeout_ms: a request is given up so long after it was due.
    """

    name: str
    target: Target
    path: str
    cores: tuple[int, ...] = ()
    connections: int = 64
    timeout_ms: int = LEAST_TIMEOUT_MS

    def work(
        self,
        questions: Questions,
        due_ns: Ints,
        which: Ints,
        kept: NDArray[np.bool_] | None = None,
    ) -> Work:
        """What the driver is to do."""
        return Work(
            target=self.target,
            wire=[self.target.request(body, stays=True) for body in questions.bodies],
            due_ns=due_ns,
            which=which,
            connections=self.connections,
            timeout_ns=self.timeout_ms * 1_000_000,
            kept=kept,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it is judged.

    Attributes:
        name: in the scorecard's file.
        samples: of every request.
        which: int64, the question of each request.
        answers: those that were kept, by request.
        summary: figures, with the driver's verdict.
        distrust: why it may not be believed; None where it may.
        tries: how often it was run, this one included.
    """

    name: str
    samples: Samples
    which: Ints
    answers: dict[int, Read]
    summary: dict[str, Any]
    distrust: str | None
    tries: int

    def phase(self, number: int) -> NDArray[np.bool_]:
        """Which requests are of a phase."""
        return np.equal(self.samples.phase, number)

    def by_question(self, number: int) -> dict[int, Read]:
        """Good answers of a phase that were read, by the question."""
        inside = self.phase(number) & self.samples.good
        return {
            int(self.which[request]): answer
            for request, answer in self.answers.items()
            if inside[request]
        }

    def kept(self) -> dict[str, Any]:
        """What is kept of it: the summary, and each request's moments in microseconds."""
        samples = self.samples
        return {
            "tries": self.tries,
            "distrust": self.distrust,
            **self.summary,
            "samples": {
                "due_us": (samples.due_ns // 1000).tolist(),
                "waited_us": (samples.latency_ns // 1000).tolist(),
                "status": samples.statuses.tolist(),
                "phase": samples.phase.tolist(),
            },
        }


def run(  # noqa: PLR0917  # a run, and what it is made of
    name: str,
    service: Service,
    questions: Questions,
    plan: Schedule,
    which: Ints,
    kept: NDArray[np.bool_] | None = None,
    *,
    tries: int = TRIES,
) -> Run:
    """Follow a schedule, again where the driver was in the way.

    A run is never repeated for what it found: the first whose driver kept its schedule counts, and
    the last one where none did.

    Args:
        name: of the run.
        service: whom to ask.
        questions: what can be asked.
        plan: when.
        which: int64, shape (requests,), which question each time.
        kept: bool, shape (requests,), whose answers are kept.
        tries: at most so many runs.
    """
    work = service.work(questions, plan.due_ns, which, kept)
    attempt = 0
    while True:
        attempt += 1
        say(f"{name}: {many(len(plan), 'request')} in {plan.seconds:.0f} s")
        found = run_once(name, service, work, plan, questions, tries=attempt)
        if found.summary["verdict"]["is_trusted"] or attempt == tries:
            return found
        say(f"{name}: {found.distrust} Again.")
        sleep(_PAUSE_S)


def run_once(
    name: str,
    service: Service,
    work: Work,
    plan: Schedule,
    questions: Questions,
    *,
    tries: int = 1,
    on_begin: Callable[[int], None] | None = None,
) -> Run:
    """Follow a schedule once.

    Args:
        name: of the run.
        service: whom to ask.
        work: of `Service.work`, for the plan.
        plan: when.
        questions: what can be asked.
        tries: how often it was run, this one included.
        on_begin: see `bench.load.drive.drive`.
    """
    traces, host = drive(work, cores=service.cores, on_begin=on_begin)
    samples = gathered(plan, KIND_NAMES, questions.kind[work.which], traces)
    summary = summary_of(samples, traces, host)
    verdict = summary["verdict"]
    # One driver: its requests are numbered as all are.
    answers = read_answers(traces[0].answers, service.path)
    distrust = _without_offers(answers, samples, service.path)
    if not verdict["is_trusted"]:
        distrust = _sentence(verdict["reasons"])
    return Run(
        name=name,
        samples=samples,
        which=work.which,
        answers=answers,
        summary=summary,
        distrust=distrust,
        tries=tries,
    )


def _without_offers(answers: Mapping[int, Read], samples: Samples, path: str) -> str | None:
    """Why good answers may be none: an error with status 200 is as fast as one likes."""
    good = [answer for request, answer in answers.items() if samples.good[request]]
    if not good or any(answer.offers for answer in good):
        return None
    read = many(len(good), "answer that was", "answers that were")
    return f"None of {read} read holds an offer where {path} leads."


def _sentence(reasons: Sequence[str]) -> str:
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"The driver was the bottleneck: {reasons[0]}{more}."


def say(what: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(f"scorecard: {what}\n")
    sys.stderr.flush()
