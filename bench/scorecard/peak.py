"""The promise at peak: steps and a spike in the open loop, and what answers are worth meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load.report import phase_cells
from bench.load.schedule import Ints, Phase, Schedule, scheduled, spike
from bench.load.verdict import FEW
from bench.scorecard.answers import tier_shares
from bench.scorecard.courses import course_of
from bench.scorecard.emptied import held_to_rest
from bench.scorecard.judging import Judged, in_digits, judge, ms
from bench.scorecard.lines import FAILED, NOT_MEASURED, PASSED, Line, Table, Verdict
from bench.scorecard.quality import quality_line
from bench.scorecard.questions import Questions
from bench.scorecard.runs import Run, Service, run
from bench.scorecard.sla import Sla
from index.wording import begun, many

PEAK: Final = 5.0
SPIKE: Final = 10.0
_SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """What is asked of a peak.

    Attributes:
        slas: what was promised.
        rate: requests a second that 1× stands for.
        origin: where that rate comes from, a sentence.
        seconds: of the steps; the spike takes two thirds of it.
        command: what repeats it.
    """

    slas: Sequence[Sla]
    rate: float
    origin: str
    seconds: float
    command: str

    @property
    def levels(self) -> tuple[float, ...]:
        """Multiples that are held for a while: those that were promised, and 5×."""
        return tuple(sorted({PEAK, *(sla.times for sla in self.slas)} - {1.0, SPIKE}))


def peak_lines(
    service: Service, questions: Questions, peaks: Peaks
) -> tuple[list[Line], list[Run]]:
    """Run both, and judge every promise where its load was.

    Returns:
        A line for each promise, one for the spike and one for quality; and the runs.
    """
    steps = scheduled(_steps(peaks), "poisson", _SEED)
    which, kept = asked_alike(steps, len(questions))
    stepped = run("step", service, questions, steps, which, kept)
    shock = scheduled(spike(peaks.rate, peaks.seconds * 2 / 3), "poisson", _SEED + 1)
    which, kept = asked_alike(shock, len(questions))
    spiked = run("spike", service, questions, shock, which, kept)
    lines = [_promise(sla, peaks, stepped, spiked) for sla in peaks.slas]
    lines.append(_spike_line(peaks, spiked))
    lines.append(
        quality_line(
            questions,
            stepped,
            place=_place(PEAK, peaks),
            command=peaks.command,
            peak=1 + 2 * peaks.levels.index(PEAK),
        )
    )
    return lines, [stepped, spiked]


def asked_alike(plan: Schedule, n_questions: int) -> tuple[Ints, NDArray[np.bool_]]:
    """The same questions in every phase, and one answer to each kept, from all over the phase.

    Returns:
        int64, shape (requests,): which question each time; bool, likewise: whose answer is kept.
    """
    counts = np.bincount(plan.phase, minlength=len(plan.phases))
    pool = max(min(n_questions, int(counts.min())), 1)
    which = np.empty(len(plan), dtype=np.int64)
    kept = np.zeros(len(plan), dtype=bool)
    for number, count in enumerate(counts.tolist()):
        inside = plan.phase == number
        order = np.arange(count)
        which[inside] = order % pool
        kept[inside] = order // pool == (order % pool) % max(count // pool, 1)
    # All over the orders, not only the first of them.
    return which * (n_questions // pool), kept


def _steps(peaks: Peaks) -> tuple[Phase, ...]:
    loads = [1.0, *(load for level in peaks.levels for load in (level, 1.0))]
    names = [
        "1×",
        *(name for level in peaks.levels for name in (f"{level:g}×", f"1× after {level:g}×")),
    ]
    return tuple(
        Phase(
            name=name,
            seconds=peaks.seconds / len(loads),
            from_rate=peaks.rate * load,
            to_rate=peaks.rate * load,
        )
        for name, load in zip(names, loads, strict=True)
    )


def _place(times: float, peaks: Peaks) -> str:
    return f"{times:g}× ({in_digits(peaks.rate * times)} a second)"


def _promise(sla: Sla, peaks: Peaks, stepped: Run, spiked: Run) -> Line:
    found, number = stepped, 0
    if sla.times == SPIKE:
        found, number = spiked, 1
    elif sla.times != 1.0:
        number = 1 + 2 * peaks.levels.index(sla.times)
    place = _place(sla.times, peaks)
    judged = judge(sla, found.samples, found.phase(number), distrust=found.distrust, place=place)
    # The first steps are 1×, a higher load, and 1× again: the first is held to the third.
    verdict, sentence = held_to_rest(judged, found, number, place=place, rest=0 if number else 2)
    return Line(
        part="peak",
        title=sla.text,
        verdict=verdict,
        sentence=sentence,
        command=peaks.command,
        evidence=(
            *([course_of(found, sla.limit / 1e3)] if sla.is_wait else []),
            phase_figures(found, peaks.origin),
            *tier_table(found),
        ),
        is_promise=True,
        run=(found.name,),
    )


def _spike_line(peaks: Peaks, spiked: Run) -> Line:
    place = _place(SPIKE, peaks)
    n, n_bad = len(spiked.which), int(np.count_nonzero(~spiked.samples.good))
    verdict: Verdict = PASSED if n_bad == 0 else FAILED
    phases = spiked.summary["phases"]
    longest = max(phase["latency"]["max_us"] or 0.0 for phase in phases.values())
    sentence = (
        f"{n - n_bad:,} of {many(n, 'request')} had a good answer;"
        f" {phases['spike']['answered_per_s']:,.0f} of {phases['spike']['asked_per_s']:,.0f} a"
        f" second were answered in the spike, and the longest wait was {ms(longest)}."
    )
    n_spike = phases["spike"]["requests"]
    if not n_spike:
        verdict, sentence = NOT_MEASURED, f"No request fell into {place}."
    elif n_bad == 0 and n_spike < FEW:
        verdict = NOT_MEASURED
        sentence = f"{many(n_spike, 'request')} fell into {place}: it takes {FEW} to tell."
    if spiked.distrust is not None:
        verdict, sentence = NOT_MEASURED, spiked.distrust
    verdict, sentence = held_to_rest(Judged(verdict, sentence), spiked, 1, place=place)
    return Line(
        part="peak",
        title="A spike of 10×: everyone is answered",
        verdict=verdict,
        sentence=sentence,
        command=peaks.command,
        evidence=(course_of(spiked, None), phase_figures(spiked, peaks.origin)),
        run=(spiked.name,),
    )


def phase_figures(found: Run, origin: str) -> Table:
    """Figures of every phase of a run."""
    header, rows = phase_cells(found.summary["phases"])
    tries = "" if found.tries == 1 else f" Run {found.tries} times; this is the last."
    return Table(
        caption=f"{origin} {begun(found.summary['verdict']['sentence'])}.{tries}",
        header=header,
        rows=rows,
    )


def tier_table(found: Run) -> list[Table]:
    """Shares of tiers by phase; nothing where the service tells none."""
    phases = found.samples.phases
    by_phase: list[list[int]] = [[] for _ in phases]
    for request in found.answers:
        by_phase[int(found.samples.phase[request])].append(request)
    shares = [tier_shares([found.answers[one] for one in those]) for those in by_phase]
    tiers = sorted({tier for one in shares for tier in one})
    if not tiers:
        return []
    return [
        Table(
            caption="How much was known of those who asked, by tier of the answers that were read.",
            header=["load", "answers read", *tiers],
            rows=[
                [phase.name, f"{len(those):,}", *(f"{one.get(tier, 0.0):.1%}" for tier in tiers)]
                for phase, those, one in zip(phases, by_phase, shares, strict=True)
            ],
        )
    ]
