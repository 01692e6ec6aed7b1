"""The quality gate: tables that are worse than plain popularity must not ship unnoticed.

Judges results only: stopping is left to the command. The metric is NDCG@k, paired with `default` on
the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from builder.comparison import DEFAULT, OURS, SLICE_TITLES, SliceResult, place_title, title
from builder.metrics import Interval

# Where a shop would notice first: customers it knows, and carts of customers it does not.
GATED_SLICES = ("warm", "cold_with_cart")

# A percentile bootstrap over fewer customers gives intervals that are far too narrow.
MIN_CUSTOMERS = 30

Outcome = Literal["better", "no difference", "worse", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One gated slice.

    Attributes:
        difference: NDCG@k minus that of `default`; None when not measured.
        sentence: the outcome in words, with its figures.
    """

    question: str
    slice_name: str
    outcome: Outcome
    n_examples: int
    difference: Interval | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the tables may ship.

    Attributes:
        passed: no gated slice is worse than `default`.
        reasons: why not, a sentence each; empty when passed.
        checks: every gated slice, those that were not measured too.
    """

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]


def judge(evaluation: Sequence[SliceResult]) -> Verdict:
    """Fail when ours is surely worse than `default` on a gated slice.

    Surely means that the whole 95 % interval of the paired difference lies below zero. A slice with
    too few customers is reported and cannot fail; gated slices that are missing are reported too.
    """
    results = [result for result in evaluation if result.slice_name in GATED_SLICES]
    seen = {result.slice_name for result in results}
    checks = (
        *(_check(result) for result in results),
        *(_missing(slice_name) for slice_name in GATED_SLICES if slice_name not in seen),
    )
    reasons = tuple(check.sentence for check in checks if check.outcome == "worse")
    return Verdict(passed=not reasons, reasons=reasons, checks=checks)


def _check(result: SliceResult) -> Check:
    ours, base = result.of(OURS), result.of(DEFAULT)
    place = place_title(result.question, result.slice_name)
    difference = ours.ndcg.difference if ours else None
    if difference is None or result.n_customers < MIN_CUSTOMERS:
        outcome: Outcome = "not measured"
        sentence = _too_little(result, has_both=ours is not None and base is not None)
        difference = None
    else:
        outcome = _outcome(difference)
        sentence = (
            f"{place}: NDCG@{result.k} is {_comparison(outcome)}, "
            f"{difference.value:+.4f} (95 % interval {difference.low:+.4f} to "
            f"{difference.high:+.4f}; {result.n_examples:,} examples)"
        )
    return Check(
        question=result.question,
        slice_name=result.slice_name,
        outcome=outcome,
        n_examples=result.n_examples,
        difference=difference,
        sentence=sentence,
    )


def _outcome(difference: Interval) -> Outcome:
    if difference.high < 0.0:
        return "worse"
    return "better" if difference.low > 0.0 else "no difference"


def _comparison(outcome: Outcome) -> str:
    if outcome == "no difference":
        return f"not different from {DEFAULT}"
    return f"{outcome} than {DEFAULT}"


def _too_little(result: SliceResult, *, has_both: bool) -> str:
    place = place_title(result.question, result.slice_name)
    if result.n_customers < MIN_CUSTOMERS:
        return (
            f"{place}: not measured: {result.n_customers} customers, "
            f"at least {MIN_CUSTOMERS} are needed"
        )
    missing = "" if has_both else f": both {OURS} and {DEFAULT} are needed"
    return f"{place}: not measured{missing}"


def _missing(slice_name: str) -> Check:
    return Check(
        question="",
        slice_name=slice_name,
        outcome="not measured",
        n_examples=0,
        difference=None,
        sentence=f"{title(slice_name, SLICE_TITLES)}: not measured: no examples",
    )
