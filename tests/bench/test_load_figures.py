"""Samples, figures and the verdict, on runs that are made up so that the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic_ns
from typing import Any

import numpy as np
import orjson
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from bench.http_answers import LOST
from bench.load.drive import Host
from bench.load.driver import NEVER, REFUSED, TIMED_OUT, Trace, Work, follow
from bench.load.figures import over_time, summary_of
from bench.load.report import load_text
from bench.load.samples import Samples, encoded, gathered
from bench.load.schedule import Schedule, constant, scheduled, step
from bench.load.verdict import verdict_on
from bench.percentiles import PERCENTILES, percentiles_us
from tests.bench.load_server import load_server

MS = 1_000_000
QUIET = Host(busy_share=0.5, stolen_share=0.0)
MIX = {"cart_items": {"p50": 3, "p90": 5, "max": 9}}


def trace_of(plan: Schedule, **changes: Any) -> Trace:
    """Each request was taken and sent when it was due, and answered half a millisecond later.

    Answers were read when they came.
    """
    due_ns = plan.due_ns
    trace = Trace(
        taken_ns=due_ns.copy(),
        idle_ns=due_ns * 5 // 6,
        sent_ns=due_ns.copy(),
        done_ns=due_ns + MS // 2,
        read_ns=changes.get("done_ns", due_ns + MS // 2),
        statuses=np.full(len(plan), 200),
        connects=8,
        cpu_ns=10**9,
        busy_ns=10**9,
        wall_ns=int(plan.seconds * 1e9),
    )
    return replace(trace, **changes)


def samples_of(plan: Schedule, *traces: Trace) -> Samples:
    kind = (np.arange(len(plan)) % 2).astype(np.uint8)
    return gathered(plan, ("known", "cold"), kind, traces)


@pytest.fixture
def plan() -> Schedule:
    return scheduled(step(100, 6), "even", 0)


def test_a_good_run_is_trusted_and_told_by_phase_kind_and_second(plan: Schedule) -> None:
    trace = trace_of(plan)

    summary = summary_of(samples_of(plan, trace), [trace], QUIET)

    assert summary["verdict"]["is_trusted"]
    phases = summary["phases"]
    assert {name: phase["requests"] for name, phase in phases.items()} == {
        "1×": 200,
        "5×": 1000,
        "1× again": 200,
    }
    assert phases["5×"]["asked_per_s"] == phases["5×"]["due_per_s"] == 500
    # The last request of a phase is due a millisecond before its end, so all answers are inside.
    assert phases["5×"]["answered_per_s"] == 500
    assert phases["5×"]["latency"]["p99_us"] == 500
    assert phases["1×"]["errors"] == {}
    assert {name: kind["requests"] for name, kind in summary["kinds"].items()} == {
        "known": 700,
        "cold": 700,
    }
    assert [second["due"] for second in summary["seconds"]] == [100, 100, 500, 500, 100, 100]
    assert summary["drivers"][0]["busy_us_per_request"] == round(1e6 / 1400, 2)
    assert orjson.loads(orjson.dumps(summary))["phases"] == phases
    assert load_text(summary | {"mix": MIX}).startswith("the driver kept its schedule")


def test_how_long_answers_lay_unread_is_told_of_each_driver(plan: Schedule) -> None:
    unread_ns = np.full(len(plan), 2 * MS)
    unread_ns[:50] = 3 * MS
    statuses = np.full(len(plan), 200)
    statuses[-1] = TIMED_OUT  # nothing came
    trace = trace_of(plan, read_ns=plan.due_ns + MS // 2 + unread_ns, statuses=statuses)

    samples = samples_of(plan, trace)
    summary = summary_of(samples, [trace, trace_of(plan)], QUIET)

    assert [driver["unread"]["p99_us"] for driver in summary["drivers"]] == [3000, None]
    told = load_text(summary | {"mix": MIX})
    assert "connections made, answers unread for 3.00 ms (p99)\ndriver 2:" in told
    assert "connections made, answers unread for – ms (p99)\nall cores" in told
    assert samples.arrays()["read_ns"].tolist() == samples.read_ns.tolist()


def test_answers_count_where_they_come_not_where_they_were_due(plan: Schedule) -> None:
    trace = trace_of(plan, done_ns=plan.due_ns + 2_000 * MS)

    phases = summary_of(samples_of(plan, trace), [trace], QUIET)["phases"]

    assert [phase["answered_per_s"] for phase in phases.values()] == [0, 100, 500]


def test_drivers_samples_come_back_in_the_order_they_were_due(plan: Schedule) -> None:
    whole = trace_of(plan)
    halves = [
        replace(
            whole,
            **{
                name: getattr(whole, name)[first::2]
                for name in ("taken_ns", "sent_ns", "done_ns", "read_ns", "statuses")
            },
        )
        for first in range(2)
    ]

    assert samples_of(plan, *halves).done_ns.tolist() == whole.done_ns.tolist()


def test_errors_are_counted_and_only_who_was_given_up_counts_as_waiting(plan: Schedule) -> None:
    statuses = np.full(len(plan), 200)
    statuses[:50] = [503] * 20 + [LOST] * 10 + [TIMED_OUT] * 20
    done_ns = plan.due_ns + MS
    done_ns[30:50] = plan.due_ns[30:50] + 5_000 * MS
    trace = trace_of(plan, statuses=statuses, done_ns=done_ns)

    samples = samples_of(plan, trace)
    figures = summary_of(samples, [trace], QUIET)["all"]

    assert figures["errors"] == {"503": 20, "lost": 10, "timed out": 20}
    assert np.count_nonzero(samples.timed) == len(plan) - 30
    assert figures["latency"]["max_us"] == 5_000_000
    assert over_time(samples)[0]["errors"] == 50


def test_a_service_that_answers_nobody_gets_no_verdict(plan: Schedule) -> None:
    statuses = np.full(len(plan), REFUSED)
    statuses[:20] = 503
    trace = trace_of(plan, statuses=statuses)

    summary = summary_of(samples_of(plan, trace), [trace], QUIET)

    assert summary["verdict"]["is_trusted"]
    assert not summary["verdict"]["is_given"]
    assert load_text(summary | {"mix": MIX}).startswith(
        "none of 1,400 requests was answered, no verdict: 1,380 × refused, 20 × 503\n"
    )


def test_a_verdict_tells_how_many_were_not_answered(plan: Schedule) -> None:
    statuses = np.full(len(plan), 200)
    statuses[:50] = [503] * 20 + [TIMED_OUT] * 30
    trace = trace_of(plan, statuses=statuses)

    verdict = verdict_on(samples_of(plan, trace), [trace], QUIET)

    assert verdict.is_given
    assert verdict.sentence == (
        "the driver kept its schedule: latencies are the service's;"
        " 1,350 of 1,400 answered (30 × timed out, 20 × 503)"
    )


def test_a_second_in_which_nothing_is_due_is_left_out() -> None:
    plan = Schedule(
        phases=constant(1, 3), due_ns=np.array([0, 2_500 * MS]), phase=np.zeros(2, dtype=np.uint8)
    )

    assert [row["second"] for row in over_time(samples_of(plan, trace_of(plan)))] == [0, 2]


def test_a_late_driver_gives_no_verdict(plan: Schedule) -> None:
    taken_ns = plan.due_ns.copy()
    taken_ns[:3] += 2 * MS  # of 200 in the first phase, and of 1400 in all
    trace = trace_of(plan, taken_ns=taken_ns, sent_ns=taken_ns, done_ns=taken_ns + MS)

    summary = summary_of(samples_of(plan, trace), [trace], QUIET)

    assert not summary["verdict"]["is_trusted"]
    assert summary["verdict"]["reasons"] == (
        "in phase 1× it got to 1.5% of the requests more than 1 ms late (at most 1%)",
    )
    assert summary["phases"]["1×"]["late"] == 3
    told = load_text(summary | {"mix": MIX})
    assert told.startswith("the driver was the bottleneck, no verdict: in phase 1×")


def test_a_share_is_told_so_that_it_is_seen_to_be_too_much() -> None:
    even = scheduled(constant(3000, 1), "even", 0)
    taken_ns = even.due_ns.copy()
    taken_ns[:31] += 2 * MS
    trace = trace_of(even, taken_ns=taken_ns, done_ns=taken_ns + MS, busy_ns=802 * MS)

    host = Host(busy_share=0.9, stolen_share=0.0504)
    verdict = verdict_on(samples_of(even, trace), [trace], host)

    assert verdict.reasons == (
        "in phase constant it got to 1.03% of the requests more than 1 ms late (at most 1%)",
        "driver 1 was busy for 80.2% of its time (at most 80%)",
        "the host gave 5.04% of the processors to other machines (at most 5%)",
    )


def test_phases_of_a_few_requests_are_judged_together() -> None:
    """One late request of eight says nothing of a driver; one in fifty of all of them does."""
    hours = tuple(replace(constant(4, 2)[0], name=f"hour {hour}") for hour in range(40))
    phase = np.repeat(np.arange(40, dtype=np.uint8), 8)
    few = Schedule(phases=hours, due_ns=np.arange(320) * 250 * MS, phase=phase)

    def told(n_late: int) -> tuple[str, ...]:
        taken_ns = few.due_ns.copy()
        taken_ns[:n_late] += 2 * MS
        trace = trace_of(few, taken_ns=taken_ns, sent_ns=taken_ns, done_ns=taken_ns + MS)
        return verdict_on(samples_of(few, trace), [trace], QUIET).reasons

    assert told(3) == ()
    (reason,) = told(7)
    assert reason.startswith("in phases of less than 100 requests it got to 2.2% of the requests")


def test_a_busy_driver_gives_no_verdict(plan: Schedule) -> None:
    idle, busy = trace_of(plan), trace_of(plan, busy_ns=int(0.81 * plan.seconds * 1e9))

    verdict = verdict_on(samples_of(plan, idle), [idle, busy], QUIET)

    assert verdict.reasons == ("driver 2 was busy for 81% of its time (at most 80%)",)


def test_a_driver_that_is_busy_in_one_phase_alone_gives_no_verdict(plan: Schedule) -> None:
    """Of the five-fold middle it had a twenty-fifth to spare, and half of the rest."""
    spare = np.where(plan.phase == 1, 0.04, 0.5)
    idle_ns = np.cumsum(np.diff(plan.due_ns, prepend=0) * spare).astype(np.int64)
    trace = trace_of(plan, idle_ns=idle_ns, busy_ns=int(0.63 * plan.seconds * 1e9))

    verdict = verdict_on(samples_of(plan, trace), [trace], QUIET)

    assert verdict.reasons == ("driver 1 was busy for 96% of phase 5× (at most 95%)",)


def test_a_host_that_is_elsewhere_gives_no_verdict(plan: Schedule) -> None:
    trace = trace_of(plan)

    verdict = verdict_on(samples_of(plan, trace), [trace], Host(busy_share=0.9, stolen_share=0.06))

    assert verdict.reasons == ("the host gave 6% of the processors to other machines (at most 5%)",)


def test_a_slow_service_is_not_the_driver_s_fault(plan: Schedule) -> None:
    sent_ns = plan.due_ns + 50 * MS
    sent_ns[7] = NEVER
    trace = trace_of(plan, sent_ns=sent_ns, done_ns=plan.due_ns + 60 * MS)

    samples = samples_of(plan, trace)
    verdict = verdict_on(samples, [trace], QUIET)

    assert verdict.is_trusted
    assert verdict.remarks[0].startswith("1,400 requests waited for one of the connections")
    assert samples.service_ns[6:9].tolist() == [10 * MS, 0, 10 * MS]


def test_a_driver_that_is_asked_for_too_much_says_so() -> None:
    plan = scheduled(constant(1e6, 0.01), "even", 0)
    with load_server() as server:
        work = Work(
            target=server.target,
            wire=[server.target.request(b"fine", stays=True)],
            due_ns=plan.due_ns,
            which=np.zeros(len(plan), dtype=np.int64),
            connections=64,
        )
        trace = follow(work, monotonic_ns())
    verdict = verdict_on(samples_of(plan, trace), [trace], QUIET)

    assert server.asked == {"fine": 10_000}
    assert trace.statuses.tolist() == [200] * 10_000
    assert not verdict.is_trusted
    assert "more than 1 ms late" in verdict.sentence


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=300))
def test_percentiles_are_samples_with_enough_above_them(values: list[int]) -> None:
    found = percentiles_us(np.array(values))

    ordered = sorted(values)
    for percentile in PERCENTILES:
        told = found[f"p{percentile:g}_us"]
        # Exactly, in tenths of a percent.
        place = -(-len(values) * round(percentile * 10) // 1000) - 1
        enough = len(values) - 1 - place >= 10
        assert told == (round(ordered[place] / 1000, 2) if enough else None)
    assert found["max_us"] == round(ordered[-1] / 1000, 2)


def test_no_samples_have_no_percentiles() -> None:
    assert set(percentiles_us(np.array([], dtype=np.int64)).values()) == {None}
    assert HdrHistogram.decode(encoded(np.array([], dtype=np.int64))).get_total_count() == 0


def test_the_histogram_says_what_the_samples_say() -> None:
    nanoseconds = (np.random.default_rng(1).lognormal(13, 1.5, 20_000)).astype(np.int64)

    kept = HdrHistogram.decode(encoded(nanoseconds))

    assert kept.get_total_count() == 20_000
    for name, exact_us in percentiles_us(nanoseconds).items():
        percentile = 100.0 if name == "max_us" else float(name[1:-3])
        assert exact_us is not None
        assert kept.get_value_at_percentile(percentile) / 1000 == pytest.approx(exact_us, rel=1e-3)


def test_one_of_a_kind_is_told_in_the_singular() -> None:
    one = scheduled(constant(1, 1), "even", 0)
    waited = trace_of(one, sent_ns=one.due_ns + 2 * MS, done_ns=one.due_ns + 3 * MS, connects=1)
    summary = summary_of(samples_of(one, waited), [waited], QUIET)

    (remark,) = summary["verdict"]["remarks"]
    assert remark == (
        "1 request waited for one of the connections, as in a client's pool;"
        " with more connections it would have waited inside the service"
    )
    assert "1 connection made," in load_text(summary | {"mix": MIX})
    refused = trace_of(one, statuses=np.array([REFUSED]))
    assert verdict_on(samples_of(one, refused), [refused], QUIET).sentence == (
        "none of 1 request was answered, no verdict: 1 × refused"
    )
