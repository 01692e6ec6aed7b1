"""What was promised: `p99<1ms at 5x`, read into figures that can be compared.

A promise is a metric, a limit and a load. Metrics are percentiles of the waiting time (`p50`,
`p90`, `p99`, `p99.9`), the longest wait (`max`) and the share of requests without a good answer
(`errors`). A load is a multiple of the base rate, 1× where none is named; `of volume` makes the
base the shop's own: orders per second of its average day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Metric: TypeAlias = Literal["p50", "p90", "p99", "p99.9", "max", "errors"]
PERCENTILE_OF: Final[dict[str, float]] = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
_UNITS_US: Final = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_WORDS: Final = re.compile(
    r"(?P<metric>p50|p90|p99|p99\.9|max|errors)\s*<\s*(?P<limit>\d+(?:\.\d+)?)\s*"
    r"(?P<unit>us|µs|ms|s|%)"
    r"(?:\s+at\s+(?P<times>\d+(?:\.\d+)?)\s*[x×](?P<volume>\s+of\s+volume)?)?"
)


class NoSla(Exception):
    """It is no promise that can be measured."""

    exit_code = 2
    hint = (
        "write it as 'p99<1ms at 5x', 'errors<0.1% at 10x', several joined by commas; what is"
        f" promised is {', '.join(get_args(Metric)[:-1])} or {get_args(Metric)[-1]}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """One promise.

    Attributes:
        metric: what is measured.
        limit: below which it has to stay: microseconds of a wait, a share of one of errors.
        times: at which multiple of the base rate.
        of_volume: the base rate is the shop's own.
    """

    metric: Metric
    limit: float
    times: float = 1.0
    of_volume: bool = False

    @property
    def is_wait(self) -> bool:
        """Whether it is about waiting times."""
        return self.metric != "errors"

    @property
    def text(self) -> str:
        """The promise as it can be given again.

        >>> parsed_slas(["p99<0.5s, errors < 0.10% at 10x"])[0].text
        'p99<500ms at 1x'
        """
        limit = f"{self.limit / 1e3:.10g}ms" if self.is_wait else f"{self.limit * 100:.10g}%"
        volume = " of volume" if self.of_volume else ""
        return f"{self.metric}<{limit} at {self.times:g}x{volume}"


def parsed_slas(texts: Sequence[str]) -> tuple[Sla, ...]:
    """Promises as they were written, each once.

    Args:
        texts: each holds one or several, joined by commas.

    Raises:
        NoSla: one is none, or bases differ.
    """
    found = [
        _parsed(part.strip())
        for text in texts
        for part in text.strip().removesuffix(",").split(",")
    ]
    if len({sla.of_volume for sla in found}) > 1:
        raise NoSla("some promises are of the shop's volume and some are not: one base for all")
    return tuple(dict.fromkeys(found))


def _parsed(text: str) -> Sla:
    words = _WORDS.fullmatch(text.lower())
    if words is None:
        raise NoSla(f"{text!r} is no promise")
    is_errors = words["metric"] == "errors"
    if is_errors != (words["unit"] == "%"):
        raise NoSla(f"{text!r}: errors are given in %, waits in us, ms or s")
    limit = float(words["limit"]) * (0.01 if is_errors else _UNITS_US.get(words["unit"], 1.0))
    times = float(words["times"] or 1.0)
    if is_errors and limit > 1:
        raise NoSla(f"{text!r}: no more than 100% of the requests can fail")
    if limit <= 0 or times <= 0:
        raise NoSla(f"{text!r}: nothing is below 0, and nobody comes at 0×")
    metric: Metric = words["metric"]  # type: ignore[assignment]
    return Sla(metric=metric, limit=limit, times=times, of_volume=words["volume"] is not None)
