"""Whether a promise was kept: pure functions of samples, and of whether they may be believed."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.load.driver import GARBLED
from bench.load.samples import Samples
from bench.percentiles import BEYOND, percentiles_us
from bench.scorecard.lines import FAILED, NOT_MEASURED, PASSED, Verdict
from bench.scorecard.sla import PERCENTILE_OF, Sla
from builder.binomial import chance_of_at_most, enough
from index.wording import many

CHANCE: Final = 0.05
"""A promise that is not kept may look as if it were with no more than this."""
_IN_VAIN_NS: Final = 10**18
"""What a request without a good answer waited: longer than any promise, however soon it failed."""


class Judged(NamedTuple):
    """A verdict and the sentence that says why."""

    verdict: Verdict
    sentence: str


def judge(
    sla: Sla, samples: Samples, inside: NDArray[np.bool_], *, distrust: str | None, place: str
) -> Judged:
    """Hold a promise against the requests of one load.

    Args:
        sla: the promise.
        samples: of a run.
        inside: bool, which of the requests count.
        distrust: why the run may not be believed; None where it may.
        place: the load in words, as `5× (2,650 a second)`.
    """
    if distrust is not None:
        return Judged(NOT_MEASURED, distrust)
    n = int(np.count_nonzero(inside))
    statuses = samples.statuses[inside]
    if n == 0:
        return Judged(NOT_MEASURED, f"No request fell into {place}.")
    if (statuses == GARBLED).all():
        return Judged(
            NOT_MEASURED,
            f"None of {many(n, 'answer')} could be read: the driver needs a content-length.",
        )
    n_bad = int(np.count_nonzero(statuses != 200))
    if not sla.is_wait:
        return _judged_errors(sla, n, n_bad, place)
    if n_bad == n:
        return Judged(FAILED, f"None of {many(n, 'request')} had a good answer at {place}.")
    waits_ns = np.where(samples.good, samples.latency_ns, _IN_VAIN_NS)[inside]
    return _judged_wait(sla, waits_ns, n_bad, place)


def _judged_errors(sla: Sla, n: int, n_bad: int, place: str) -> Judged:
    told = (
        f"{n_bad:,} of {many(n, 'request')} had no good answer at {place}: {n_bad / n * 100:.3g} %,"
        f" promised below {sla.limit * 100:g} %."
    )
    if n_bad / n >= sla.limit:
        return Judged(FAILED, told)
    # A service whose share is at the limit has no more bad answers than these with this chance.
    if chance_of_at_most(n_bad, n, sla.limit) <= CHANCE:
        return Judged(PASSED, told)
    return Judged(
        NOT_MEASURED,
        f"{told} That is too few requests to be sure: with no more failures than that it takes"
        f" {enough(n_bad, sla.limit, CHANCE):,}.",
    )


def _judged_wait(sla: Sla, waits_ns: NDArray[np.int64], n_bad: int, place: str) -> Judged:
    n, promised = len(waits_ns), f"promised below {ms(sla.limit)}"
    figures = percentiles_us(waits_ns)
    found = figures[f"{sla.metric}_us"]
    if found is not None and found * 1e3 >= _IN_VAIN_NS:
        return Judged(
            FAILED,
            f"{n_bad:,} of {many(n, 'request')} had no good answer at {place}, so {sla.metric}"
            f" has no end, {promised}.",
        )
    if found is not None:
        return _compared(
            found,
            sla.limit,
            f"{sla.metric} was {ms(found)} at {place}, {promised}: {_times(found, sla.limit)}."
            f" {many(n, 'request')}.",
        )
    # Too few samples for a percentile, yet they may settle it.
    n_over = int(np.count_nonzero(waits_ns >= sla.limit * 1e3))
    share = PERCENTILE_OF[sla.metric] / 100
    in_vain = f", {n_bad:,} of them in vain," if n_bad else ""
    told = (
        f"{n_over:,} of {many(n, 'request')} waited {ms(sla.limit)} or longer{in_vain} at {place},"
        f" {promised}."
    )
    # Where the percentile is at the limit, each waits less with the chance `share`, and all do so
    # with its n-th power: of three requests that says nothing, of three hundred it does.
    if n_over == 0 and share**n <= CHANCE:
        return Judged(PASSED, told)
    if n_over > max(n * (1 - share), BEYOND):
        return Judged(FAILED, told)
    return Judged(NOT_MEASURED, f"{told} That is too few requests for {sla.metric}.")


def ms(microseconds: float) -> str:
    """Milliseconds with as many digits as mean something.

    >>> ms(830.0), ms(12_345.0), ms(1000.0), ms(1_657_000.0)
    ('0.83 ms', '12.3 ms', '1 ms', '1,660 ms')
    """
    return f"{in_digits(microseconds / 1e3, 3)} ms"


def in_digits(number: float, n: int = 4) -> str:
    """A number as people write it: so many digits that mean something, and no exponent.

    >>> in_digits(19_104.65), in_digits(3820.9), in_digits(0.00573)
    ('19,100', '3,821', '0.00573')
    """
    rounded = float(f"{number:.{n}g}")
    return f"{rounded:,.0f}" if rounded >= 1000 else f"{number:.{n}g}"


def _compared(found: float, limit: float, sentence: str) -> Judged:
    return Judged(PASSED if found < limit else FAILED, sentence)


def _times(found: float, limit: float) -> str:
    if found < limit:
        return f"{1 - found / limit:.0%} below it"
    return f"{in_digits(found / limit, 2)} times it"
