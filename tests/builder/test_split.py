"""Cuts: slices follow each other, never overlap, and lie where there is data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import DataGate, UsageError
from builder.split import (
    DAY_US,
    HELD_OUT_UNITS,
    MIN_FINAL_ORDERS,
    STRANGER_SHARE,
    Cut,
    Plan,
    make_plan,
)

YEAR_US = 365 * DAY_US
MOMENTS = st.integers(-YEAR_US, 60 * YEAR_US)
PLANS = st.fixed_dictionaries(
    {
        "slice_days": st.integers(1, 400),
        "holdout_share": st.floats(0, 0.5),
        "orders_after": st.sampled_from([0, MIN_FINAL_ORDERS - 1, MIN_FINAL_ORDERS, 10**9]),
    }
)


def plan(
    *,
    days: int = 100,
    as_of_day: int | None = None,
    orders_after: int = 0,
    test_start_day: int | None = None,
) -> Plan:
    """A plan for so many days of data from 1970 on, with slices of ten days."""
    return make_plan(
        first_us=0,
        last_us=days * DAY_US - 1,
        as_of_us=None if as_of_day is None else as_of_day * DAY_US,
        orders_after=orders_after,
        slice_days=10,
        holdout_share=0.1,
        test_start_us=None if test_start_day is None else test_start_day * DAY_US,
    )


def bounds(made: Plan) -> list[float]:
    """Bounds of the slices, in days: tables, weights, figures."""
    moments = (made.weights.until_us, made.weights_until_us, made.measured_until_us)
    assert made.measured.until_us == made.weights_until_us
    return [moment / DAY_US for moment in moments]


@given(st.tuples(MOMENTS, MOMENTS).map(sorted), PLANS, st.none() | MOMENTS)
def test_slices_follow_each_other_and_lie_where_there_is_data(
    ends: list[int], settings: dict[str, int], as_of_us: int | None
) -> None:
    first_us, last_us = ends
    end_us = last_us + 1 if as_of_us is None else as_of_us
    if end_us <= first_us:
        return
    settings |= {"orders_after": 0} if end_us > last_us else {}
    made = make_plan(first_us=first_us, last_us=last_us, as_of_us=as_of_us, **settings)

    assert made.weights.until_us < made.weights_until_us
    assert made.weights_until_us == made.measured.until_us < made.measured_until_us
    assert first_us - 1 <= made.weights.until_us
    assert made.measured_until_us <= last_us + 1
    assert made.shipped.until_us == end_us
    if made.is_rehearsal:
        assert made.measured_until_us <= end_us
    else:
        assert made.measured == made.shipped


@given(st.tuples(MOMENTS, MOMENTS).map(sorted), PLANS)
def test_tables_keep_half_of_the_history(ends: list[int], settings: dict[str, int]) -> None:
    first_us, last_us = ends
    made = make_plan(first_us=first_us, last_us=last_us, as_of_us=None, **settings)
    history_us = last_us + 1 - first_us

    assert made.measured.until_us - first_us >= 0.7 * history_us - 1
    assert made.weights.until_us - first_us >= 0.3 * history_us - 2


def test_without_a_moment_the_last_two_slices_are_learned_from_and_measured() -> None:
    made = plan()

    assert bounds(made) == [80, 90, 100]
    assert made.is_rehearsal
    assert made.shipped == Cut(until_us=100 * DAY_US, holdout_share=0.0)


def test_with_enough_orders_after_it_the_shipped_tables_are_measured() -> None:
    made = plan(as_of_day=70, orders_after=MIN_FINAL_ORDERS)

    assert bounds(made) == [60, 70, 100]
    assert not made.is_rehearsal
    assert made.shipped == made.measured == Cut(until_us=70 * DAY_US, holdout_share=0.1)


def test_with_too_few_orders_after_it_a_rehearsal_sees_nothing_later() -> None:
    made = plan(as_of_day=70, orders_after=MIN_FINAL_ORDERS - 1)

    assert bounds(made) == [50, 60, 70]
    assert made.is_rehearsal
    assert made.shipped.until_us == 70 * DAY_US


def test_a_moment_long_after_the_last_event_moves_no_slice() -> None:
    made = plan(as_of_day=1000)

    assert bounds(made) == bounds(plan())
    assert made.shipped.until_us == 1000 * DAY_US


def test_the_brand_may_say_where_the_final_slice_starts() -> None:
    assert bounds(plan(test_start_day=95)) == [85, 95, 100]


@pytest.mark.parametrize("day", [-1, 0, 100, 2000])
def test_a_final_slice_outside_of_the_data_is_refused(day: int) -> None:
    with pytest.raises(UsageError, match="test_start"):
        plan(test_start_day=day)


def test_nothing_before_the_moment_is_refused() -> None:
    with pytest.raises(DataGate, match="no accepted event"):
        plan(as_of_day=0)


def test_weights_are_learned_from_more_strangers_than_are_held_out_for_good() -> None:
    made = plan()

    assert made.measured.n_held_out == HELD_OUT_UNITS // 10
    assert made.weights.n_held_out == HELD_OUT_UNITS // 10 + STRANGER_SHARE * HELD_OUT_UNITS
    assert made.shipped.n_held_out == 0
