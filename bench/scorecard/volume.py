"""The shop's real volume: one of its own days, order by order as they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load.schedule import replayed
from bench.percentiles import as_ms
from bench.scorecard.courses import course_of, hours_of
from bench.scorecard.judging import in_digits, judge
from bench.scorecard.lines import Line, Table, worst
from bench.scorecard.peak import phase_figures
from bench.scorecard.questions import Questions
from bench.scorecard.runs import Run, Service, run
from bench.scorecard.sla import Sla
from index.wording import many

_KEPT: Final = 20_000
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day of the shop.

    Attributes:
        name: its date, in the shop's time zone.
        questions: its orders.
        n_days: how many days there are to choose from.
    """

    name: str
    questions: Questions
    n_days: int

    @property
    def lack(self) -> str | None:
        """Why there is no course to replay; None where orders came at several moments."""
        if len(self.questions) == 1:
            return f"{self.name} has one order"
        if np.ptp(self.questions.ts_us):
            return None
        return f"{self.name} has its orders at one moment"

    def speed_in(self, seconds: float) -> float:
        """Times real time, so that it takes so long."""
        return float(np.ptp(self.questions.ts_us)) / 1e6 / seconds


def busiest_day(questions: Questions, zone: tzinfo) -> Day:
    """The day with most orders.

    Args:
        questions: orders of some days; not none.
        zone: of the shop's clock, by which days of 23 and 25 hours are days too.
    """
    return _day(questions, zone, rank=-1)


def usual_day(questions: Questions, zone: tzinfo) -> Day:
    """The day with as many orders as the median one."""
    return _day(questions, zone, rank=None)


def days_asked_about(ts_us: NDArray[np.int64], since_us: int, zone: tzinfo) -> float:
    """Days of the stretch that orders are from: one at least, and whole ones where dates are told.

    Args:
        ts_us: int64, shape (orders,), rising: when each came; not none.
        since_us: where the stretch begins, UTC microseconds; it ends with the last order.
        zone: of the shop's clock.
    """
    moments = [_local(one, zone) for one in np.unique(ts_us).tolist()]
    if any(at.time() != time.min for at in moments):
        return max(float(ts_us[-1] - since_us) / _DAY_US, 1.0)
    # A date stands for all of its day, the last one too; one that had begun is none of them.
    since = _local(since_us, zone)
    n_begun = 0 if since.time() == time.min else 1
    return float(moments[-1].toordinal() - since.toordinal() - n_begun + 1)


def _local(moment_us: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment_us // 1_000_000, zone)


def _day(questions: Questions, zone: tzinfo, rank: int | None) -> Day:
    days = np.array([_local(one, zone).toordinal() for one in questions.ts_us.tolist()])
    numbers, counts = np.unique(days, return_counts=True)
    order = np.argsort(counts, kind="stable")
    chosen = numbers[order[len(order) // 2 if rank is None else rank]]
    return Day(
        name=date.fromordinal(int(chosen)).isoformat(),
        questions=questions.at(np.flatnonzero(days == chosen)),
        n_days=len(numbers),
    )


def volume_lines(
    service: Service, day: Day, slas: Sequence[Sla], *, speed: float, command: str
) -> tuple[list[Line], list[Run]]:
    """Replay a day and hold the promises of waits and errors against it.

    Args:
        service: whom to ask.
        day: which; it lacks nothing.
        slas: what was promised; each limit must hold here too, whatever load it is for.
        speed: times real time.
        command: what repeats it.
    """
    plan = replayed(day.questions.ts_us, speed)
    n = len(plan)
    kept = np.arange(n) % -(-n // _KEPT) == 0
    found = run("volume", service, day.questions, plan, np.arange(n), kept)
    tightest = _tightest(slas)
    judged = [
        judge(
            sla,
            found.samples,
            np.ones(n, dtype=bool),
            distrust=found.distrust,
            place=f"the day’s own pace, {_pace(speed)}",
        )
        for sla in tightest
    ]
    verdict = worst([one.verdict for one in judged])
    limits = [sla.limit / 1e3 for sla in tightest if sla.is_wait]
    sentences = dict.fromkeys(one.sentence for one in judged)
    line = Line(
        part="volume",
        title=f"{day.name}, its {n:,} orders as they came",
        verdict=verdict,
        sentence=" ".join(sentences),
        command=command,
        evidence=(
            course_of(found, min(limits, default=None), hours_of(found)),
            phase_figures(
                found,
                f"The median day by orders of the {many(day.n_days, 'day')} after the tables’"
                f" moment, replayed {_pace(speed)}; phases are tenths of its span, in UTC.",
            ),
            *_kinds(found),
        ),
        run=(found.name,),
    )
    return [line], [found]


def _pace(speed: float) -> str:
    return "in real time" if speed == 1.0 else f"at {in_digits(speed)} times real time"


def _tightest(slas: Sequence[Sla]) -> list[Sla]:
    """Of each metric the lowest limit, waits first."""
    found: dict[str, Sla] = {}
    for sla in sorted(slas, key=lambda one: (not one.is_wait, one.limit)):
        found.setdefault(sla.metric, sla)
    return list(found.values())


def _kinds(found: Run) -> list[Table]:
    kinds = found.summary["kinds"]
    rows = [
        [
            name,
            f"{kind['requests']:,}",
            f"{sum(kind['errors'].values()):,}",
            as_ms(kind["latency"]["p50_us"]),
            as_ms(kind["latency"]["max_us"]),
        ]
        for name, kind in kinds.items()
    ]
    return [
        Table(
            caption="By how much the orders before the tables’ moment tell of who ordered: three or"
            " more, one or two, none.",
            header=["customers", "requests", "errors", "p50 ms", "max ms"],
            rows=rows,
        )
    ]
