"""Verdicts: shown harm fails, harm ruled out passes, and of nothing nothing is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.shipping.verdict import Margins, Window, difference, judge

GOOD = Window(
    n_nodes=4,
    requests=40_000,
    errors=4,
    empty=40,
    by_tier={"individual": 30_000, "context": 10_000},
    p99_us=(80.0, 90.0, 100.0, 110.0),
    scores=(40_000, 0.0, 40_000.0),
)


def verdict_of(guard: str, new: Window, control: Window | None) -> str:
    (found,) = [one.verdict for one in judge(new, control).findings if one.guard == guard]
    return found


def test_alike_and_many_pass() -> None:
    judged = judge(GOOD, GOOD)

    assert judged.verdict == "pass"
    assert {one.verdict for one in judged.findings} == {"pass"}


@pytest.mark.parametrize(
    ("guard", "changes"),
    [
        ("errors", {"errors": 400}),
        ("empty answers", {"empty": 2000}),
        ("deaths", {"deaths": 3}),
        ("tier context", {"by_tier": {"individual": 20_000, "context": 20_000}}),
        ("tier safe", {"by_tier": {"individual": 30_000, "context": 7_000, "safe": 3000}}),
        ("p99", {"p99_us": (80.0, 300.0, 300.0, 300.0)}),
        ("score", {"scores": (40_000, 80_000.0, 200_000.0)}),
    ],
)
def test_shown_harm_fails_and_is_told(guard: str, changes: dict[str, Any]) -> None:
    judged = judge(replace(GOOD, **changes), GOOD)

    assert judged.verdict == "fail"
    assert verdict_of(guard, replace(GOOD, **changes), GOOD) == "fail"
    assert guard.partition(" ")[0] in judged.reasons() or guard == "deaths"


def test_no_data_is_no_pass() -> None:
    """Case 39."""
    for new, control in (
        (Window(), GOOD),
        (GOOD, Window()),
        (Window(), Window()),
        (Window(), None),
    ):
        assert judge(new, control).verdict == "inconclusive"


def test_few_requests_are_no_pass_and_one_error_among_them_no_failure() -> None:
    few = Window(n_nodes=1, requests=20, by_tier={"context": 20}, p99_us=(50.0,))

    assert judge(few, GOOD).verdict != "pass"
    assert verdict_of("errors", replace(few, errors=1), GOOD) == "inconclusive"


def test_what_befalls_everybody_speaks_against_nobody() -> None:
    bad_hour = replace(GOOD, errors=800, empty=2000, p99_us=(900.0,) * 4, deaths=8)

    assert judge(bad_hour, bad_hour).verdict == "pass"
    assert verdict_of("errors", bad_hour, GOOD) == "fail"


def test_one_death_waits_and_three_fail() -> None:
    found = [verdict_of("deaths", replace(GOOD, deaths=n), GOOD) for n in range(5)]

    assert found == ["pass", "inconclusive", "inconclusive", "fail", "fail"]


def test_without_control_errors_empties_and_deaths_alone_are_judged() -> None:
    judged = judge(GOOD, None)

    assert [one.guard for one in judged.findings] == ["errors", "empty answers", "deaths"]
    assert judged.verdict == "pass"
    assert judge(replace(GOOD, errors=1000), None).verdict == "fail"


def test_the_interval_is_newcombes() -> None:
    """His example: 56 of 70 against 48 of 80, at 95 %: 0.0524 to 0.3339."""
    assert difference((56, 70), (48, 80), 1.959964) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@given(errors=st.lists(st.integers(0, 40_000), min_size=2, max_size=6), control=st.integers(0, 900))
def test_more_errors_are_never_judged_milder(errors: list[int], control: int) -> None:
    order = ("pass", "inconclusive", "fail")
    beside = replace(GOOD, errors=control)
    grave = [
        order.index(verdict_of("errors", replace(GOOD, errors=n), beside)) for n in sorted(errors)
    ]

    assert all(one <= other for one, other in pairwise(grave))


@given(
    share=st.floats(0, 0.5),
    base=st.floats(0, 0.5),
    n=st.integers(10, 2000),
    times=st.integers(2, 9),
)
def test_more_of_the_same_never_turns_a_verdict_round(
    share: float, base: float, n: int, times: int
) -> None:
    def told(factor: int) -> str:
        sides = [
            Window(n_nodes=1, requests=n * factor, errors=int(n * one) * factor)
            for one in (share, base)
        ]
        return verdict_of("errors", *sides)

    assert (told(1), told(times)) not in {("pass", "fail"), ("fail", "pass")}


def test_margins_are_the_callers() -> None:
    worse = replace(GOOD, errors=400)

    assert judge(worse, GOOD, Margins(errors=0.05)).verdict == "pass"
