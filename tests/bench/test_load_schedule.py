"""Schedules: how many requests, in which order, in which phase, by construction."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.schedule import (
    PARTS,
    SHAPES,
    Arrivals,
    ImpossibleSchedule,
    Phase,
    constant,
    ramp,
    replayed,
    scheduled,
    speed_for,
    spike,
    step,
)

RATES = st.floats(20.0, 2000.0)
SECONDS = st.floats(1.0, 20.0)
DAY_US = 86_400_000_000


def test_an_even_schedule_is_a_metronome() -> None:
    plan = scheduled(constant(4, 2), "even", 0)

    assert plan.due_ns.tolist() == [125_000_000 + 250_000_000 * number for number in range(8)]
    assert plan.phase.tolist() == [0] * 8
    assert plan.seconds == 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (constant, [600]),
        (step, [200, 1000, 200]),
        (spike, [270, 600, 270]),
        (ramp, [3, 9, 15, 21, 27, 33, 39, 45, 51, 57]),
    ],
)
def test_every_phase_gets_what_its_rate_and_length_say(
    shape: Callable[[float, float], tuple[Phase, ...]], expected: list[int]
) -> None:
    plan = scheduled(shape(20, 30), "even", 0)

    assert np.bincount(plan.phase).tolist() == expected
    assert [phase.expected for phase in plan.phases] == pytest.approx(expected)


def test_a_ramp_gets_denser_as_its_line_says() -> None:
    plan = scheduled(ramp(100, 10), "even", 0)

    # By the moment t, 5·t² requests have come: request number k is due at √((k + ½) / 5).
    due_s = np.sqrt((np.arange(500) + 0.5) / 5)
    assert plan.due_ns / 1e9 == pytest.approx(due_s, abs=1e-6)


@given(
    rate=RATES,
    seconds=SECONDS,
    shape=st.sampled_from(sorted(SHAPES)),
    arrivals=st.sampled_from(["poisson", "even"]),
    seed=st.integers(0, 2**31),
)
def test_moments_rise_and_lie_in_their_phases(
    rate: float, seconds: float, shape: str, arrivals: Arrivals, seed: int
) -> None:
    plan = scheduled(SHAPES[shape](rate, seconds), arrivals, seed)

    assert (np.diff(plan.due_ns) >= 0).all()
    assert (np.diff(plan.phase.astype(int)) >= 0).all()
    ends_s = np.cumsum([phase.seconds for phase in plan.phases])
    begins_s = np.concatenate([[0.0], ends_s[:-1]])
    due_s = plan.due_ns / 1e9
    assert (due_s >= begins_s[plan.phase] - 1e-6).all()
    assert (due_s <= ends_s[plan.phase] + 1e-6).all()
    assert plan.seconds == pytest.approx(seconds)


@given(rate=RATES, seconds=SECONDS, shape=st.sampled_from(sorted(SHAPES)))
def test_an_even_schedule_has_as_many_as_expected(rate: float, seconds: float, shape: str) -> None:
    phases = SHAPES[shape](rate, seconds)
    expected = sum(phase.expected for phase in phases)

    assert abs(len(scheduled(phases, "even", 0)) - expected) <= 0.5 + 1e-6


def test_a_poisson_schedule_has_the_mean_and_the_gaps_of_one() -> None:
    plan = scheduled(constant(1000, 40), "poisson", 7)
    gaps_s = np.diff(plan.due_ns) / 1e9

    # Four standard deviations of a Poisson count of 40,000.
    assert abs(len(plan) - 40_000) < 800
    # Gaps are exponential: their deviation is their mean, and a share of 1/e is longer than it.
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.03)
    assert (gaps_s > gaps_s.mean()).mean() == pytest.approx(np.exp(-1), abs=0.01)


def test_counts_of_poisson_seconds_vary_as_much_as_their_mean() -> None:
    plan = scheduled(constant(50, 2000), "poisson", 3)
    counts = np.bincount(plan.due_ns // 1_000_000_000, minlength=2000)

    assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_a_seed_decides_everything() -> None:
    first, again, other = (
        scheduled(spike(50, 10), "poisson", seed).due_ns.tolist() for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 10.0), (1e6, 1e6)])
def test_what_nobody_could_follow_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ImpossibleSchedule, match="the schedule asks for"):
        scheduled(constant(rate, seconds), "poisson", 1)


def test_a_draw_without_any_request_is_refused() -> None:
    with pytest.raises(ImpossibleSchedule, match="no request falls"):
        scheduled(constant(0.001, 1), "poisson", 1)


@given(
    ts_us=st.lists(st.integers(0, 40 * DAY_US), min_size=2, max_size=200, unique=True),
    speed=st.floats(0.5, 5000.0),
)
def test_a_replay_keeps_every_gap_at_its_speed(ts_us: list[int], speed: float) -> None:
    moments_us = np.sort(np.array(ts_us))

    plan = replayed(moments_us, speed)

    expected_ns = (moments_us - moments_us[0]) * 1000.0 / speed
    assert plan.due_ns == pytest.approx(expected_ns, abs=1.0)
    assert sum(phase.expected for phase in plan.phases) == pytest.approx(len(ts_us))
    counts = np.bincount(plan.phase, minlength=PARTS)
    assert counts == pytest.approx([phase.expected for phase in plan.phases])


def test_a_replay_s_parts_are_named_after_the_shop_s_own_time() -> None:
    begin_us = 1_512_086_400_000_000  # 2017-12-01T00:00Z
    hours = np.array([0, 0, 1, 9, 10])

    plan = replayed(begin_us + hours * 3_600_000_000, 3600.0)

    assert [phase.name for phase in plan.phases][:2] == ["2017-12-01T00:00", "2017-12-01T01:00"]
    assert plan.due_ns.tolist() == [0, 0, 10**9, 9 * 10**9, 10**10]
    assert plan.phase.tolist() == [0, 0, 1, 9, 9]


def test_parts_of_a_short_replay_have_names_of_their_own() -> None:
    begin_us = 1_512_086_400_000_000  # 2017-12-01T00:00Z

    plan = replayed(begin_us + np.array([0, 5_000_000]), 1.0)

    names = [phase.name for phase in plan.phases]
    assert names[:2] == ["2017-12-01T00:00:00.000", "2017-12-01T00:00:00.500"]
    assert len(set(names)) == PARTS


def test_a_daily_volume_is_a_speed() -> None:
    moments_us = np.sort(np.random.default_rng(5).integers(0, 30 * DAY_US, 3001))

    plan = replayed(moments_us, speed_for(moments_us, 1_000_000))

    assert 3000 / (plan.seconds / 86_400) == pytest.approx(1_000_000)


@pytest.mark.parametrize("moments", [[], [5], [5, 5, 5]])
def test_orders_at_one_moment_are_no_course(moments: list[int]) -> None:
    with pytest.raises(ImpossibleSchedule, match="at one moment"):
        replayed(np.array(moments, dtype=np.int64), 1.0)
    with pytest.raises(ImpossibleSchedule, match="at one moment"):
        speed_for(np.array(moments, dtype=np.int64), 100.0)


@pytest.mark.parametrize("speed", [0.0, -1.0, nan, inf, 1e300, 1e-300])
def test_a_replay_that_nobody_could_follow_is_refused(speed: float) -> None:
    with pytest.raises(ImpossibleSchedule, match="give another --speed or --scale"):
        replayed(np.array([0, 60_000_000]), speed)
