"""Counting: what goes in comes out, and nothing a caller invents makes it grow."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.cells import (
    BUCKETS_US,
    FINE_NS,
    MAX_PLACEMENTS,
    OTHER,
    ROW_CELLS,
    TIERS,
    blank_rows,
    row_of,
)
from edge.counters import Counters, bounded_placements, extended
from edge.totals import Totals, percentile_us

durations = st.lists(st.integers(0, 200_000_000), max_size=50)


@given(per_worker=st.lists(durations, min_size=1, max_size=3))
def test_buckets_hold_what_was_observed(per_worker: list[list[int]]) -> None:
    """Cumulated buckets over all workers equal a count by hand; the sum is exact."""
    cells = blank_rows(len(per_worker))
    rows = [row_of(cells, slot) for slot in range(len(per_worker))]
    for row, taken in zip(rows, per_worker, strict=True):
        counters = Counters(row, ("default",))
        for took_ns in taken:
            counters.decided("default", "context", took_ns)

    totals = Totals([row.tolist() for row in rows], ("default",))
    everything = [took_ns for taken in per_worker for took_ns in taken]

    for bound_s, count in totals.buckets:
        assert count == sum(took_ns <= bound_s * 1e9 for took_ns in everything)
    assert totals.decide_s == sum(everything) / 1e9
    assert totals.decisions == ({("default", "context"): len(everything)} if everything else {})


@given(took_ns=st.integers(0, FINE_NS[-1]))
def test_a_percentile_is_within_an_eighth_of_its_bucket(took_ns: int) -> None:
    counters = Counters(blank_rows(), ())
    counters.decided("default", "prior", took_ns)
    bounds_us = (0, *BUCKETS_US)
    widest_us = max((high - low) / 8 for low, high in pairwise(bounds_us) if took_ns <= high * 1000)

    found = percentile_us(Totals([counters.row.tolist()], ()).fine, 0.5)

    assert found is not None
    assert 0 <= found - took_ns / 1000 <= widest_us + 0.001


def test_no_decisions_have_no_percentile() -> None:
    assert percentile_us(Totals([blank_rows().tolist()], ()).fine, 0.99) is None


def test_invented_placements_share_one_cell() -> None:
    counters = Counters(blank_rows(), bounded_placements(["checkout", "*"]))
    for name in ("checkout", "default", "made up", "made up too", "*"):
        counters.decided(name, "prior", 1)

    totals = Totals([counters.row.tolist()], bounded_placements(["checkout"]))

    assert totals.decisions == {
        ("checkout", "prior"): 1,
        ("default", "prior"): 1,
        (OTHER, "prior"): 3,
    }


def test_a_placement_that_is_named_later_takes_no_counts_over() -> None:
    """What was counted as other stays so, or a counter would fall when a snapshot changes."""
    named = bounded_placements(["checkout"])
    more = extended(named, ["home"])
    counters = Counters(blank_rows(), named)
    counters.decided("home", "prior", 1)
    counters.name_placements(more)
    counters.decided("home", "context", 1)
    counters.decided("made up", "prior", 1)

    totals = Totals([counters.row.tolist()], more)

    assert totals.decisions == {("home", "context"): 1, (OTHER, "prior"): 2}


def test_the_most_placements_fit_in_a_row() -> None:
    names = bounded_placements(f"place-{number:03d}" for number in range(100))
    counters = Counters(blank_rows(), names)
    for name in (*names, "one more"):
        for tier in TIERS:
            counters.decided(name, tier, 1)

    assert len(names) == MAX_PLACEMENTS
    assert len(counters.row) == ROW_CELLS
    assert set(Totals([counters.row.tolist()], names).decisions.values()) == {1}


def test_statuses_are_counted_and_flights_end() -> None:
    counters = Counters(blank_rows())
    for status in (200, 200, 304, 418, 0):
        counters.arrived()
        counters.answered(status)

    totals = Totals([counters.row.tolist()], ())

    assert totals.codes == {"200": 2, "304": 1, "other": 1}
    assert totals.in_flight == 0


def test_safe_answers_are_counted_as_damage() -> None:
    counters = Counters(blank_rows())
    counters.decided("default", "safe", 1)

    assert Totals([counters.row.tolist()], ()).damaged == 1
