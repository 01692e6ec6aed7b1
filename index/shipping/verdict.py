"""Whether nodes on a new snapshot do worse than those on the last good one: yes, no, or not known.

Both are looked at in the same window, so that what befalls everybody (a busy hour, a broken shop
page) speaks against nobody. A guard fails when harm above its margin is shown, passes when harm
above it is ruled out, and is inconclusive otherwise: few requests, or none, never pass.

Sources: Newcombe (1998), *Interval estimation for the difference between independent proportions*
(method 10, from Wilson's intervals); to judge a canary against controls of the same time is the
practice of Kayenta and Argo Rollouts. Intervals are of 99.8 %, since it is looked at many times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist, median
from typing import Final, Literal

Verdict = Literal["pass", "fail", "inconclusive"]

_Z: Final = NormalDist().inv_cdf(0.999)
_GRAVITY: Final[tuple[Verdict, ...]] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How much worse is no harm yet.

    Attributes:
        errors: share of requests that end with a status of 500 or above.
        empty: share of decisions that offer nothing.
        tier: share of decisions that any tier has more, or less, than under control.
        p99: the nodes' median p99 over that of control; above twice the excess it fails.
        score: mean score, in standard deviations under control, upwards or downwards.
        deaths: workers that died; more than so many more than under control, for as many nodes,
            fail.
        decisions: fewer on either side say nothing of p99.
    """

    errors: float = 0.005
    empty: float = 0.02
    tier: float = 0.05
    p99: float = 1.5
    score: float = 1.0
    deaths: int = 2
    decisions: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What some nodes answered in one window.

    Attributes:
        n_nodes: how many nodes.
        requests: answered, whatever the status.
        errors: of them, with a status of 500 or above.
        empty: decisions that offered nothing.
        by_tier: decisions by tier.
        p99_us: of each node that decided anything, microseconds.
        scores: number, sum and sum of squares of first offers' scores.
        deaths: workers that died.
    """

    n_nodes: int = 0
    requests: int = 0
    errors: int = 0
    empty: int = 0
    by_tier: Mapping[str, int] = field(default_factory=dict)
    p99_us: tuple[float, ...] = ()
    scores: tuple[int, float, float] = (0, 0.0, 0.0)
    deaths: int = 0

    @property
    def decisions(self) -> int:
        """Decisions of all tiers."""
        return sum(self.by_tier.values())

    @classmethod
    def of(cls, parts: Sequence[Window]) -> Window:
        """The windows of several nodes as one."""
        by_tier: Counter[str] = Counter()
        for part in parts:
            by_tier.update(part.by_tier)
        return cls(
            n_nodes=sum(part.n_nodes for part in parts),
            requests=sum(part.requests for part in parts),
            errors=sum(part.errors for part in parts),
            empty=sum(part.empty for part in parts),
            by_tier=by_tier,
            p99_us=tuple(p99 for part in parts for p99 in part.p99_us),
            scores=(
                sum(part.scores[0] for part in parts),
                sum(part.scores[1] for part in parts),
                sum(part.scores[2] for part in parts),
            ),
            deaths=sum(part.deaths for part in parts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one guard says, and from which figures."""

    guard: str
    verdict: Verdict
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What all guards say together: the gravest of them.

    Attributes:
        verdict: `fail` if any guard fails, else `inconclusive` if any is.
        findings: of every guard.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]

    def guards(self) -> str:
        """Names of the guards that decided."""
        return ", ".join(one.guard for one in self.findings if one.verdict == self.verdict)

    def reasons(self) -> str:
        """What the guards say that decided, in one line."""
        return "; ".join(one.told for one in self.findings if one.verdict == self.verdict)


def judge(new: Window, control: Window | None, margins: Margins | None = None) -> Judgement:
    """Compare nodes on a new snapshot with control nodes in the same window.

    Args:
        new: of the nodes on the new snapshot.
        control: of those on the last good one; None where every node has the new one. Then errors,
            empty answers and deaths are judged by their margins alone, and nothing else is.
        margins: how much worse is no harm yet.
    """
    margins = margins or Margins()
    findings = tuple(_findings(new, control, margins))
    verdicts = {one.verdict for one in findings}
    return Judgement(verdict=next(one for one in _GRAVITY if one in verdicts), findings=findings)


def _findings(new: Window, control: Window | None, margins: Margins) -> Iterator[Finding]:
    against = Window() if control is None else control
    alone = control is None
    yield _share(
        "errors",
        (new.errors, new.requests),
        (against.errors, against.requests),
        margins.errors,
        alone=alone,
    )
    yield _share(
        "empty answers",
        (new.empty, new.decisions),
        (against.empty, against.decisions),
        margins.empty,
        alone=alone,
    )
    yield _deaths(new, against, margins)
    if control is None:
        return
    for tier in sorted({*new.by_tier, *control.by_tier}):
        yield _tier(tier, new, control, margins.tier)
    yield _p99(new, control, margins)
    yield _score(new, control, margins.score)


def _share(
    guard: str, new: tuple[int, int], control: tuple[int, int], margin: float, *, alone: bool
) -> Finding:
    low, high = _wilson(*new) if alone else difference(new, control)
    verdict: Verdict = "fail" if low > margin else "pass" if high <= margin else "inconclusive"
    beside = "" if alone else f" against {_told(*control)}"
    return Finding(guard=guard, verdict=verdict, told=f"{guard} {_told(*new)}{beside}")


def _tier(tier: str, new: Window, control: Window, margin: float) -> Finding:
    ours = (new.by_tier.get(tier, 0), new.decisions)
    theirs = (control.by_tier.get(tier, 0), control.decisions)
    low, high = difference(ours, theirs)
    verdict: Verdict = "inconclusive"
    if low > margin or high < -margin:
        verdict = "fail"
    elif -margin <= low and high <= margin:
        verdict = "pass"
    guard = f"tier {tier}"
    return Finding(
        guard=guard, verdict=verdict, told=f"{guard} {_told(*ours)} against {_told(*theirs)}"
    )


def _deaths(new: Window, control: Window, margins: Margins) -> Finding:
    expected = control.deaths * new.n_nodes / control.n_nodes if control.n_nodes else 0.0
    more = new.deaths - expected
    verdict: Verdict = "fail" if more > margins.deaths else "inconclusive" if more > 0 else "pass"
    told = f"{new.deaths} workers died on {new.n_nodes} nodes"
    if control.n_nodes:
        told += f" against {control.deaths} on {control.n_nodes}"
    if not new.n_nodes:
        verdict, told = "inconclusive", "no node of the ring was heard of"
    return Finding(guard="deaths", verdict=verdict, told=told)


def _p99(new: Window, control: Window, margins: Margins) -> Finding:
    if min(new.decisions, control.decisions) < margins.decisions:
        told = f"p99 of {new.decisions:,} against {control.decisions:,} decisions says little"
        return Finding(guard="p99", verdict="inconclusive", told=told)
    ours, theirs = median(new.p99_us), median(control.p99_us)
    worse = ours / theirs
    verdict: Verdict = "inconclusive"
    if worse <= margins.p99:
        verdict = "pass"
    elif worse > 2 * margins.p99 - 1:
        verdict = "fail"
    return Finding(guard="p99", verdict=verdict, told=f"p99 {ours:.0f} µs against {theirs:.0f} µs")


def _score(new: Window, control: Window, margin: float) -> Finding:
    (n, mean, spread), (m, base, width) = _moments(*new.scores), _moments(*control.scores)
    if not n or not m:
        return Finding(guard="score", verdict="inconclusive", told="no scores to compare")
    # Where all scores of control are alike, any other is as far off as can be.
    unit = width or 1e-9
    off, error = abs(mean - base) / unit, _Z * sqrt(spread**2 / n + width**2 / m) / unit
    verdict: Verdict = "inconclusive"
    if off - error > margin:
        verdict = "fail"
    elif off + error <= margin:
        verdict = "pass"
    return Finding(guard="score", verdict=verdict, told=f"score {mean:.3f} against {base:.3f}")


def _moments(n: int, total: float, squares: float) -> tuple[int, float, float]:
    mean = total / n if n else 0.0
    return n, mean, sqrt(max(squares / n - mean**2, 0.0)) if n else 0.0


def _wilson(k: int, n: int, z: float = _Z) -> tuple[float, float]:
    """Interval of a share; all of [0, 1] without data."""
    if not n:
        return 0.0, 1.0
    share, grown = k / n, z**2 / n
    middle = (share + grown / 2) / (1 + grown)
    half = z * sqrt(share * (1 - share) / n + grown / (4 * n)) / (1 + grown)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def difference(
    new: tuple[int, int], control: tuple[int, int], z: float = _Z
) -> tuple[float, float]:
    """Interval of how much higher the first share is than the second; [-1, 1] without data.

    Args:
        new: how many, of how many.
        control: the same.
        z: how many standard errors the interval reaches to either side.
    """
    if not new[1] or not control[1]:
        return -1.0, 1.0
    (low, high), (base_low, base_high) = _wilson(*new, z), _wilson(*control, z)
    share, base = new[0] / new[1], control[0] / control[1]
    return (
        share - base - sqrt((share - low) ** 2 + (base_high - base) ** 2),
        share - base + sqrt((high - share) ** 2 + (base - base_low) ** 2),
    )


def _told(k: int, n: int) -> str:
    return f"{k / n:.2%} of {n:,}" if n else "unknown: none"
