"""Promises: how they are written, and whether samples that are made up keep them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.driver import GARBLED, TIMED_OUT
from bench.load.samples import Samples
from bench.load.schedule import Phase
from bench.scorecard.card import timeout_ms
from bench.scorecard.judging import judge
from bench.scorecard.lines import FAILED, NOT_MEASURED, PASSED
from bench.scorecard.sla import Metric, NoSla, Sla, parsed_slas

METRICS = ("p50", "p90", "p99", "p99.9", "max", "errors")
P99 = Sla(metric="p99", limit=1000.0, times=5.0)
ERRORS = Sla(metric="errors", limit=0.001)


@st.composite
def promises(draw: st.DrawFn) -> Sla:
    metric = draw(st.sampled_from(METRICS))
    whole = draw(st.integers(1, 10_000))
    limit = whole / 10_000 if metric == "errors" else whole * 10.0
    return Sla(
        metric=metric,  # type: ignore[arg-type]
        limit=limit,
        times=draw(st.integers(1, 400)) / 4,
        of_volume=draw(st.booleans()),
    )


@given(promises())
def test_a_promise_that_was_written_is_read_again(sla: Sla) -> None:
    [read] = parsed_slas([sla.text])

    assert read == replace(sla, limit=read.limit)
    assert read.limit == pytest.approx(sla.limit, rel=1e-9)


@given(slas=st.lists(promises(), min_size=1, max_size=4), of_volume=st.booleans())
def test_promises_may_be_joined_or_given_one_by_one(slas: list[Sla], *, of_volume: bool) -> None:
    texts = [replace(sla, of_volume=of_volume).text for sla in slas]

    joined = parsed_slas([" , ".join(texts)])

    assert joined == parsed_slas(texts)
    assert [sla.text for sla in joined] == list(dict.fromkeys(texts))


@given(st.text(max_size=20))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(NoSla, match="is no promise"):
        parsed_slas([f"{text}!"])


@pytest.mark.parametrize(
    ("text", "limit"),
    [("p99<250us", 250.0), ("p99 < 1.5 ms", 1500.0), ("p99<2s at 3x", 2e6), ("max<1µs", 1.0)],
)
def test_limits_have_units(text: str, limit: float) -> None:
    assert parsed_slas([text])[0].limit == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "p99<1ms,,",
        "errors<200%",
        "p99",
        "p99<1",
        "p98<1ms",
        "p99<1%",
        "errors<1ms",
        "p99<0ms",
        "p99<1ms at 0x",
        "p99>1ms",
    ],
)
def test_what_can_not_be_measured_is_refused(text: str) -> None:
    with pytest.raises(NoSla):
        parsed_slas([text])


def test_a_promise_may_be_written_in_any_case_and_end_with_a_comma() -> None:
    meant = parsed_slas(["p99<1ms at 5x of volume"])

    assert parsed_slas(["P99<1MS at 5X Of Volume", "p99<1ms at 5x of volume,"]) == meant


def test_what_can_be_promised_is_told_to_who_does_not_know() -> None:
    with pytest.raises(NoSla, match="'p95<1ms' is no promise") as caught:
        parsed_slas(["p95<1ms"])

    assert caught.value.hint.endswith("promised is p50, p90, p99, p99.9, max or errors")


def test_two_bases_at_once_are_refused() -> None:
    with pytest.raises(NoSla, match="one base"):
        parsed_slas(["p99<1ms at 5x of volume, errors<1%"])


def made_up(waits_us: list[float], statuses: list[int] | None = None) -> Samples:
    n = len(waits_us)
    due_ns = np.arange(n, dtype=np.int64) * 1_000_000
    return Samples(
        phases=(Phase(name="1×", seconds=1.0, from_rate=n, to_rate=n),),
        phase=np.zeros(n, dtype=np.uint8),
        kinds=("known",),
        kind=np.zeros(n, dtype=np.uint8),
        due_ns=due_ns,
        taken_ns=due_ns,
        sent_ns=due_ns,
        done_ns=due_ns + (np.array(waits_us) * 1000).astype(np.int64),
        read_ns=due_ns + (np.array(waits_us) * 1000).astype(np.int64),
        statuses=np.array(statuses or [200] * n, dtype=np.int64),
    )


def verdict(sla: Sla, samples: Samples, distrust: str | None = None) -> tuple[str, str]:
    inside = np.ones(len(samples.due_ns), dtype=bool)
    return judge(sla, samples, inside, distrust=distrust, place="5×")


def test_a_percentile_below_its_limit_passes_and_one_at_it_fails() -> None:
    slow = [900.0] * 1980 + [1200.0] * 20
    assert verdict(P99, made_up(slow)) == (
        PASSED,
        "p99 was 0.9 ms at 5×, promised below 1 ms: 10% below it. 2,000 requests.",
    )
    assert verdict(P99, made_up([1000.0] * 2000))[0] == FAILED
    assert "2 times it" in verdict(P99, made_up([2000.0] * 2000))[1]
    assert verdict(P99, made_up([1_657_000.0] * 2000))[1].startswith(
        "p99 was 1,660 ms at 5×, promised below 1 ms: 1,700 times it."
    )


@pytest.mark.parametrize(
    ("n_slow", "expected"), [(0, PASSED), (1, NOT_MEASURED), (10, NOT_MEASURED), (11, FAILED)]
)
def test_too_few_requests_for_a_percentile_settle_it_only_when_clear(
    n_slow: int, expected: str
) -> None:
    waits = [500.0] * (300 - n_slow) + [1500.0] * n_slow

    assert verdict(P99, made_up(waits))[0] == expected


@pytest.mark.parametrize(("metric", "enough"), [("p50", 5), ("p90", 29), ("p99", 299)])
def test_a_few_fast_requests_do_not_settle_a_percentile(metric: Metric, enough: int) -> None:
    """With fewer, a service whose percentile is at the limit passed more often than one in 20."""
    sla = Sla(metric=metric, limit=1000.0)

    assert verdict(sla, made_up([1.0] * enough))[0] == PASSED
    assert verdict(sla, made_up([1.0] * (enough - 1)))[0] == NOT_MEASURED


def test_no_promise_is_longer_than_what_is_waited_for() -> None:
    assert timeout_ms(parsed_slas(["p99<1ms, max<2.5s, errors<1%"])) == 5000
    assert timeout_ms(parsed_slas(["p99<10s, p50<1s at 5x, errors<1%"])) == 20_000
    assert timeout_ms(parsed_slas(["errors<1%"])) == 5000


def test_nothing_is_said_where_the_driver_was_in_the_way() -> None:
    assert verdict(P99, made_up([1.0] * 2000), "The driver was late.") == (
        NOT_MEASURED,
        "The driver was late.",
    )


def test_errors_are_a_share_and_do_not_flatter_waits() -> None:
    refused = made_up([1.0] * 1000, [503] * 2 + [200] * 998)

    assert verdict(ERRORS, refused)[0] == FAILED
    assert "2 of 1,000" in verdict(ERRORS, refused)[1]
    assert verdict(ERRORS, made_up([1.0] * 3000))[0] == PASSED
    assert verdict(P99, made_up([1.0] * 30, [503] * 30))[0] == FAILED


@pytest.mark.parametrize(
    ("limit", "n_bad", "enough"), [(0.001, 0, 2995), (0.01, 0, 299), (0.01, 1, 473), (0.5, 2, 11)]
)
def test_a_few_good_answers_do_not_settle_a_share_of_errors(
    limit: float, n_bad: int, enough: int
) -> None:
    """With fewer, a service whose share is at the limit passed more often than one in 20."""

    def told(n: int) -> tuple[str, str]:
        sla = Sla(metric="errors", limit=limit)
        return verdict(sla, made_up([1.0] * n, [503] * n_bad + [200] * (n - n_bad)))

    assert told(enough)[0] == PASSED
    assert told(enough - 1)[0] == NOT_MEASURED
    assert told(enough - 1)[1].endswith(
        f"too few requests to be sure: with no more failures than that it takes {enough:,}."
    )


def test_a_share_of_errors_that_is_missed_is_missed_by_few_requests_too() -> None:
    assert verdict(ERRORS, made_up([1.0] * 10, [503] + [200] * 9))[0] == FAILED


@pytest.mark.parametrize("failed", [503, 404, 0, TIMED_OUT])
def test_who_has_no_good_answer_waits_longer_than_any_promise(failed: int) -> None:
    def told(n_bad: int, metric: str, n: int = 2000) -> tuple[str, str]:
        sla = Sla(metric=metric, limit=5e5)  # type: ignore[arg-type]
        return verdict(sla, made_up([5.0] * n, [failed] * n_bad + [200] * (n - n_bad)))

    assert told(20, "p99") == (
        PASSED,
        "p99 was 0.005 ms at 5×, promised below 500 ms: 100% below it. 2,000 requests.",
    )
    assert told(21, "p99") == (
        FAILED,
        "21 of 2,000 requests had no good answer at 5×, so p99 has no end, promised below 500 ms.",
    )
    assert told(1999, "p50")[0] == told(1, "max")[0] == FAILED
    few = told(1, "p99", n=300)
    assert few[0] == NOT_MEASURED
    assert few[1].startswith("1 of 300 requests waited 500 ms or longer, 1 of them in vain, at 5×")


def test_who_was_given_up_waited() -> None:
    given_up = made_up([5e6] * 40 + [1.0] * 1960, [TIMED_OUT] * 40 + [200] * 1960)

    assert verdict(P99, given_up)[0] == FAILED


def test_answers_that_can_not_be_read_say_nothing_of_the_service() -> None:
    garbled = made_up([1.0] * 50, [GARBLED] * 50)

    assert verdict(ERRORS, garbled)[0] == NOT_MEASURED
    assert "content-length" in verdict(ERRORS, garbled)[1]
