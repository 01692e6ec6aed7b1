"""How a peak trial ended: what was done to the node, what became of requests, the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.http_answers import LOST
from bench.load.driver import REFUSED
from bench.scorecard.answers import Read
from bench.scorecard.lines import FAILED, NOT_MEASURED, PASSED, Verdict
from bench.scorecard.runs import Run
from index.wording import many

WORKERS: Final = 2


@dataclass(slots=True)
class Happened:
    """What was done to the node, and when, in seconds since the replay began.

    Attributes:
        marks: each with a word.
        commands: as they were run.
        killed: process id of the worker.
        workers: process ids that were ready at the end.
        taken_away_s: when the overlay's command had ended; None if it never did.
        problem: what went wrong with doing it; None for nothing.
    """

    marks: list[tuple[float, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    killed: int = 0
    workers: list[int] = field(default_factory=list)
    taken_away_s: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the requests.

    Attributes:
        n: requests.
        n_broken: those whose connection broke under way, which a client asks again.
        n_lost: without a good answer, those that were asked again and had one left out.
        by_snapshot: answers that name each snapshot.
        n_strange: answers that name none of those that were announced.
        n_shown: answers with the offer that was taken away.
        n_after: answers to who asked when all of it was over.
        n_after_first: those of them that are not from the new snapshot.
        n_after_shown: those of them that still hold the offer.
        last_due_s: when the last request was due.
        swapped_at_s: when the first answer came from the new snapshot; None for never.
        last_shown_s: when the last answer came that held the offer; None where none ever did.
    """

    n: int
    n_broken: int
    n_lost: int
    by_snapshot: dict[str, int]
    n_strange: int
    n_shown: int
    n_after: int
    n_after_first: int
    n_after_shown: int
    last_due_s: float
    swapped_at_s: float | None
    last_shown_s: float | None


def is_broken(found: Run) -> NDArray[np.bool_]:
    """Requests whose connection broke before they were answered: what `kill -9` does to them."""
    return np.isin(found.samples.statuses, (LOST, REFUSED))


def counted(
    found: Run, ids: tuple[str, str], offer_id: str, *, n_mended: int, after: Mapping[int, Read]
) -> Counts:
    """Count what the answers say.

    Args:
        found: the run, with all its answers.
        ids: of the snapshots that were announced, the first and the second.
        offer_id: that the overlay took away.
        n_mended: how many of those that broke had an answer when they were asked again.
        after: answers to who asked when all of it was over.
    """
    samples, answers = found.samples, found.answers
    names = Counter(answer.snapshot_id for answer in answers.values())
    from_second = [one for one, answer in answers.items() if answer.snapshot_id == ids[1]]
    shown = [one for one, answer in answers.items() if offer_id in answer.offers]
    return Counts(
        n=len(samples.due_ns),
        n_broken=int(np.count_nonzero(is_broken(found))),
        n_lost=int(np.count_nonzero(~samples.good)) - n_mended,
        by_snapshot={name: names[name] for name in ids},
        n_strange=sum(n for name, n in names.items() if name not in ids),
        n_shown=len(shown),
        n_after=len(after),
        n_after_first=sum(one.snapshot_id != ids[1] for one in after.values()),
        n_after_shown=sum(offer_id in one.offers for one in after.values()),
        last_due_s=float(samples.due_ns[-1]) / 1e9,
        swapped_at_s=min((float(samples.done_ns[one]) / 1e9 for one in from_second), default=None),
        last_shown_s=max((float(samples.done_ns[one]) / 1e9 for one in shown), default=None),
    )


def judged(counts: Counts, happened: Happened) -> tuple[Verdict, list[str]]:
    """Whether nothing was lost, and all that did not go as it should.

    Where the day was over before all of it was done, that nothing was lost says nothing.
    """
    wrong = []
    if happened.problem is not None:
        wrong.append(f"the trial itself failed: {happened.problem}")
    if counts.n_lost:
        wrong.append(f"{counts.n_lost:,} of {many(counts.n, 'request')} had no good answer")
    if counts.n_strange:
        strange = many(counts.n_strange, "answer names", "answers name")
        wrong.append(f"{strange} a snapshot that nobody announced")
    if counts.n_after_first or not counts.n_after:
        wrong.append("the new snapshot did not come to answer everyone")
    if counts.n_after_shown:
        wrong.append(
            f"{many(counts.n_after_shown, 'answer')} held the offer long after it was taken away"
        )
    if len(happened.workers) < WORKERS or happened.killed in happened.workers:
        wrong.append("the killed worker was not replaced")
    if wrong:
        return FAILED, wrong
    done_s = happened.taken_away_s
    if counts.swapped_at_s is None or done_s is None or done_s > counts.last_due_s:
        return NOT_MEASURED, ["the day was over before all was done: give it more --day-seconds"]
    return PASSED, []
