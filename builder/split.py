"""Where time is cut: what tables see, what weights are learned on, what is measured.

Splits are by time, never at random: tables from the past, weights from a later slice, the report's
numbers from a still later one that nothing was tuned on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from builder.errors import DataGate, UsageError

DAY_US: Final = 86_400_000_000
HELD_OUT_UNITS: Final = 10_000
MIN_FINAL_ORDERS: Final = 200
"""With fewer orders after the tables' end a rehearsal tells more than the shipped tables could."""

STRANGER_SHARE: Final = 0.2
"""Customers, besides the held-out ones, that the tables of the weight cut do not know.

Weights for strangers need customers of whom nothing is in any table: someone whose own orders are
in the rows of their store or of what they bought together looks more predictable than a stranger.
"""

_MIN_HISTORY_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which events may be seen.

    Attributes:
        until_us: events before this moment, UTC microseconds.
        holdout_share: customers kept out entirely, as a share in [0, 1]: those whose key's low half
            modulo 10,000 is below it (for guests: the order key).
    """

    until_us: int
    holdout_share: float

    @property
    def n_held_out(self) -> int:
        """Buckets, of `HELD_OUT_UNITS`, that are kept out."""
        return round(self.holdout_share * HELD_OUT_UNITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cuts of one build.

    Attributes:
        weights: tables that weights are learned on see this; weights come from the slice after it,
            from the customers it knows and from strangers to it that are not held out for good.
        weights_until_us: end of that slice.
        measured: tables that the final numbers are about see this.
        measured_until_us: end of the final slice.
        shipped: what the shipped tables see.
        is_rehearsal: the measured tables are not the shipped ones, which know more.
    """

    weights: Cut
    weights_until_us: int
    measured: Cut
    measured_until_us: int
    shipped: Cut
    is_rehearsal: bool


def make_plan(
    *,
    first_us: int,
    last_us: int,
    as_of_us: int | None,
    orders_after: int,
    slice_days: int,
    holdout_share: float,
    test_start_us: int | None = None,
) -> Plan:
    """Choose the cuts.

    When enough orders lie after `as_of_us`, the shipped tables themselves are measured on them, and
    the held-out customers stay out of what ships. Otherwise tables are rehearsed a slice earlier,
    measured, and made again from everything, held-out customers too.

    Args:
        first_us: first accepted event.
        last_us: last accepted event.
        as_of_us: the moment the tables shall stand for; None for the end of the data.
        orders_after: orders at or after `as_of_us`.
        slice_days: length of the weight slice and the final slice; shortened for short histories.
        holdout_share: share of customers kept out.
        test_start_us: start of a rehearsal's final slice.

    Raises:
        DataGate: nothing happened before `as_of_us`.
        UsageError: `test_start_us` leaves nothing to learn from or to measure.
    """
    end_us = last_us + 1 if as_of_us is None else as_of_us
    if first_us >= end_us:
        raise DataGate(
            "no accepted event lies before the moment the tables shall stand for",
            hint="give a later --as-of, or more events",
        )
    if as_of_us is not None and orders_after >= MIN_FINAL_ORDERS:
        return plan_around(
            first_us=first_us,
            last_us=last_us,
            cut=Cut(until_us=end_us, holdout_share=holdout_share),
            slice_days=slice_days,
        )
    # Tables may stand for a moment long after the last event; nothing can be measured there.
    seen_us = min(end_us, last_us + 1)
    final_us = test_start_us
    if final_us is None:
        final_us = _slice_start(first_us, seen_us, slice_days, n_slices=2)
    elif not first_us < final_us < seen_us:
        raise UsageError(
            "evaluation.test_start does not lie between the first event and the end of what may be"
            " seen",
            hint="give another one, or none: then it is the last slice_days",
        )
    weights_us = _slice_start(first_us, final_us, slice_days, n_slices=1)
    return Plan(
        weights=Cut(until_us=weights_us, holdout_share=holdout_share + STRANGER_SHARE),
        weights_until_us=final_us,
        measured=Cut(until_us=final_us, holdout_share=holdout_share),
        measured_until_us=seen_us,
        shipped=Cut(until_us=end_us, holdout_share=0.0),
        is_rehearsal=True,
    )


def plan_around(*, first_us: int, last_us: int, cut: Cut, slice_days: int) -> Plan:
    """The cuts of tables that are measured themselves, on all events after their cut.

    Args:
        first_us: first accepted event.
        last_us: last accepted event, at or after the cut.
        cut: of the tables that ship.
        slice_days: length of the weight slice; shortened for short histories.
    """
    weights_us = _slice_start(first_us, cut.until_us, slice_days, n_slices=1)
    return Plan(
        weights=Cut(until_us=weights_us, holdout_share=cut.holdout_share + STRANGER_SHARE),
        weights_until_us=cut.until_us,
        measured=cut,
        measured_until_us=last_us + 1,
        shipped=cut,
        is_rehearsal=False,
    )


def _slice_start(first_us: int, end_us: int, slice_days: int, *, n_slices: int) -> int:
    """Start of the last slice; slices never take more than half of the history together."""
    longest_us = int((end_us - first_us) * _MIN_HISTORY_SHARE / n_slices)
    return end_us - min(slice_days * DAY_US, max(longest_us, 1))
