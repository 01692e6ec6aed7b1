"""Parts of the scorecard on made-up answers: questions, templates, quality, and the trial."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from bench.http_answers import LOST
from bench.load.orders import Orders
from bench.load.samples import Samples
from bench.load.schedule import Phase, Schedule, scheduled
from bench.scorecard.answers import Read, ndcg, read_answers, tier_shares
from bench.scorecard.capacity import Most
from bench.scorecard.courses import course_of
from bench.scorecard.emptied import held_to_rest
from bench.scorecard.judging import Judged
from bench.scorecard.lines import FAILED, NOT_MEASURED, PASSED, Verdict
from bench.scorecard.outcome import WORKERS, Happened, counted, judged
from bench.scorecard.peak import asked_alike
from bench.scorecard.quality import quality_line
from bench.scorecard.questions import Questions, questions_of
from bench.scorecard.runs import Run
from bench.scorecard.segments import explosion
from bench.scorecard.template import BadTemplate, filled, read_template
from bench.scorecard.volume import busiest_day, days_asked_about, usual_day
from builder.baselines.ranking import ranked_lists
from builder.baselines.segment import Level, Segment
from builder.errors import InputNotFound
from index.generation import Generation

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def orders_of(*carts: str, ts_us: list[int] | None = None) -> Orders:
    n = len(carts)
    return Orders(
        ts_us=np.array(ts_us or range(n), dtype=np.int64),
        customer_ids=[None if cart.startswith("?") else f"c{len(cart)}" for cart in carts],
        carts=[tuple(cart.lstrip("?")) for cart in carts],
        contexts=[{"device": "phone"}] * n,
        earlier=np.array([len(cart) - 1 for cart in carts], dtype=np.int64),
    )


def test_an_order_is_asked_about_with_its_first_items_and_held_against_the_rest() -> None:
    found = questions_of(orders_of("a", "abc", "?abcdefg", "ab"))

    bodies = [json.loads(body) for body in found.bodies]
    carts = [[line["item_id"] for line in body["cart"]] for body in bodies]
    assert carts == [[], ["a", "b"], ["a", "b", "c"], ["a"]]
    assert found.truth == [("a",), ("c",), ("d", "e", "f", "g"), ("b",)]
    assert [body.get("customer_id") for body in bodies] == ["c1", "c3", None, "c2"]
    assert [body["request_id"] for body in bodies] == [f"order-{n}" for n in range(4)]
    assert bodies[1]["at"] == "1970-01-01T00:00:00.000001+00:00"
    assert bodies[0]["context"] == {"device": "phone"}
    assert found.kind.tolist() == [2, 1, 0, 1]
    assert len(set(found.customer.tolist())) == 4


def test_a_template_is_filled_for_each_order() -> None:
    template = {
        "user": "{customer_id}",
        "n": "{k}",
        "where": "page/{placement}",
        "skus": "{items}",
        "lines": [{"sku": "{item}", "n": 1}],
        "trace": "{items} of {customer_id}",
    }

    known, guest = (
        json.loads(one) for one in questions_of(orders_of("abc", "?abc"), template).bodies
    )

    assert known == {
        "user": "c3",
        "n": 10,
        "where": "page/checkout",
        "skus": ["a"],
        "lines": [{"sku": "a", "n": 1}],
        "trace": "a of c3",
    }
    assert "user" not in guest
    assert [line["sku"] for line in guest["lines"]] == guest["skus"] == ["a", "b"]
    assert guest["trace"] == "a,b of "


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ('{"k": "{k}"}', "names neither customer nor items"),
        ('{"{customer_id}": "{k}"}', "names neither customer nor items"),
        ('"{customer_id}"', "a placeholder and nothing else"),
        ('{"sku": "{item}"}', "outside of a list of one member"),
        ('{"user": "{customer_id}", "skus": ["{item}", "other"]}', "outside of a list of one"),
    ],
)
def test_a_template_that_asks_nothing_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "template.json"
    path.write_text(text)

    with pytest.raises(BadTemplate, match=why):
        read_template(path)
    with pytest.raises(InputNotFound, match=r"--template .*absent\.json: No such file"):
        read_template(tmp_path / "absent.json")


def test_a_guest_is_left_out_of_lists_too() -> None:
    template = {"users": ["{customer_id}"], "all": ["{customer_id}", "{k}"]}

    assert filled(template, {"customer_id": None, "k": 10}) == b'{"users":[],"all":[10]}'
    assert filled(template, {"customer_id": "c", "k": 10}) == b'{"users":["c"],"all":["c",10]}'


def test_an_empty_list_of_items_empties_what_repeats_for_each() -> None:
    assert filled([{"sku": "{item}"}], {"items": []}) == b"[]"


def test_answers_are_read_by_a_path() -> None:
    bodies = {
        0: b'{"tier": "thin", "snapshot_id": "s", "offers": [{"offer_id": "a"},'
        b' {"offer_id": "b"}]}',
        1: b'{"offers": [{"id": 3}]}',
        2: b"{1}",
        3: b"[]",
    }

    read = read_answers(bodies, "offers.*.offer_id")

    assert read[0] == Read(offers=("a", "b"), tier="thin", snapshot_id="s")
    assert [read[number].offers for number in (1, 2, 3)] == [(), (), ()]
    assert read_answers(bodies, "offers.*.id")[1].offers == ("3",)
    assert tier_shares(list(read.values())) == {"thin": 1.0}


def test_ndcg_of_ids_is_that_of_ranks() -> None:
    lists = [["a", "b"], ["x", "a"], [f"n{n}" for n in range(10)] + ["a"]]

    found = ndcg(lists, [["a"], ["a"], ["a"]])

    assert found == pytest.approx([1.0, 1 / np.log2(3), 0.0])


def test_every_phase_asks_the_same_and_keeps_one_answer_to_each() -> None:
    phases = [
        Phase(name=name, seconds=1.0, from_rate=rate, to_rate=rate)
        for name, rate in (("1×", 40), ("5×", 200), ("1× after 5×", 50))
    ]
    plan = scheduled(phases, "even", 0)

    which, kept = asked_alike(plan, 85)

    asked = [sorted(which[(plan.phase == number) & kept].tolist()) for number in range(3)]
    assert asked[0] == asked[1] == asked[2] == list(range(0, 80, 2))
    # Those that are kept at 5× come from all over the phase.
    places = np.flatnonzero(kept[plan.phase == 1])
    assert np.bincount(places // 40).tolist() == [8, 8, 8, 8, 8]


def run_of(
    answers: dict[int, Read],
    *,
    n: int,
    phase: list[int] | None = None,
    which: list[int] | None = None,
    statuses: list[int] | None = None,
    distrust: str | None = None,
) -> Run:
    due_ns = np.arange(n, dtype=np.int64) * 1_000_000_000
    samples = Samples(
        phases=(
            Phase(name="1×", seconds=1.0, from_rate=1, to_rate=1),
            Phase(name="5×", seconds=1.0, from_rate=1, to_rate=1),
        ),
        phase=np.array(phase or [0] * n, dtype=np.uint8),
        kinds=("known",),
        kind=np.zeros(n, dtype=np.uint8),
        due_ns=due_ns,
        taken_ns=due_ns,
        sent_ns=due_ns,
        done_ns=due_ns + 1000,
        read_ns=due_ns + 1000,
        statuses=np.array(statuses or [200] * n, dtype=np.int64),
    )
    return Run(
        name="made up",
        samples=samples,
        which=np.array(which or range(n), dtype=np.int64),
        answers=answers,
        summary={},
        distrust=distrust,
        tries=1,
    )


def test_a_course_is_drawn_through_waits_that_somebody_had() -> None:
    samples = run_of({}, n=5, statuses=[200, 200, 200, 200, 503]).samples
    due_ns = np.array([0, 1, 2, 3, 1_000_000_000])
    waits_ns = np.array([1, 2, 3, 100, 1]) * 1_000_000
    samples = replace(samples, due_ns=due_ns, done_ns=due_ns + waits_ns)

    course = course_of(replace(run_of({}, n=5), samples=samples), None)

    assert course.lines == {
        "median": [2.0, None, None],
        "99th percentile": [100.0, None, None],
        "longest": [100.0, None, None],
    }
    assert course.rates == [8, 0, 2]


def asked(truths: list[str]) -> Questions:
    return Questions(
        bodies=[b"{}"] * len(truths),
        truth=[(truth,) for truth in truths],
        customer=np.arange(len(truths)),
        kind=np.zeros(len(truths), dtype=np.uint8),
        ts_us=np.arange(len(truths)),
    )


def quality(answers: dict[int, Read], **changes: Any) -> tuple[str, str, dict[str, float]]:
    n = 40
    found = run_of(
        answers, n=2 * n, phase=[0] * n + [1] * n, which=[*range(n), *range(n)], **changes
    )
    line = quality_line(asked(["a", "b"] * (n // 2)), found, place="5×", command="x", peak=1)
    return line.verdict, line.sentence, dict(line.figures)


def test_the_same_answers_at_peak_are_as_good() -> None:
    verdict, sentence, figures = quality({n: Read(offers=("a", "b")) for n in range(80)})

    assert verdict == PASSED
    assert "all had the same offers" in sentence
    assert figures["at_rest"] == figures["at_peak"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_worse_and_missing_answers_at_peak_fail() -> None:
    at_rest = {n: Read(offers=("a", "b")) for n in range(40)}
    worse = quality(at_rest | {n: Read(offers=("x", "y")) for n in range(40, 80)})
    missing = quality(at_rest)
    refused = quality(
        {n: Read(offers=("a", "b")) for n in range(80)}, statuses=[200] * 40 + [503] * 40
    )

    assert {found[0] for found in (worse, missing, refused)} == {FAILED}
    assert [found[2]["at_peak"] for found in (worse, missing, refused)] == [0.0, 0.0, 0.0]


def test_quality_that_is_lower_by_chance_does_not_pass() -> None:
    at_rest = {n: Read(offers=("a", "b")) for n in range(40)}
    # Of three that come in another order one is better for it, and two are worse.
    moved = {n: Read(offers=("b", "a")) for n in (40, 41, 42)}
    at_peak = {n: Read(offers=("a", "b")) for n in range(40, 80)} | moved

    verdict, sentence, figures = quality(at_rest | at_peak)

    assert figures["at_peak"] < figures["at_rest"]
    assert verdict == NOT_MEASURED
    assert "37 had the same offers" in sentence
    assert sentence.endswith("It may be lower by chance: too few questions tell.")


FULL, EMPTY = Read(offers=("a",)), Read(offers=())


def held(at_rest: list[Read], there: list[Read], verdict: Verdict = PASSED) -> tuple[str, str]:
    n = len(at_rest)
    found = run_of(
        dict(enumerate([*at_rest, *there])),
        n=2 * n,
        phase=[0] * n + [1] * n,
        which=[*range(n), *range(n)],
    )
    return held_to_rest(Judged(verdict, "As judged."), found, 1, place="5×")


def test_a_load_at_which_answers_lose_their_offers_keeps_no_promise() -> None:
    verdict, sentence = held([FULL] * 9 + [EMPTY], [EMPTY] * 10)
    assert verdict == FAILED
    assert sentence == (
        "10 of 10 answers read at 5× had no offer; at rest 1 had none, to the same questions."
    )
    assert held([FULL] * 40, [EMPTY] * 21 + [FULL] * 19)[0] == FAILED
    assert held([FULL] * 40, [EMPTY] * 20 + [FULL] * 20) == (PASSED, "As judged.")
    assert held([FULL] * 9, [EMPTY] * 9, FAILED) == (FAILED, "As judged.")


def test_what_is_empty_by_chance_or_at_any_load_is_not_the_loads_failure() -> None:
    few = held([FULL] * 4, [EMPTY] * 4)
    at_random = held([FULL] * 9 + [EMPTY] * 30, [EMPTY] * 8 + [FULL] * 10 + [EMPTY] * 21)
    nobody = held([EMPTY] * 9, [EMPTY] * 9)

    assert [found[0] for found in (few, at_random, nobody)] == [NOT_MEASURED] * 3
    assert few[1].endswith("That may be chance: too few questions tell.")
    assert nobody[1] == "None of 9 answers read at 5× holds an offer."
    assert held([FULL, EMPTY] * 20, [FULL, EMPTY] * 20)[0] == PASSED


def test_quality_is_not_measured_where_nothing_can_tell_it() -> None:
    strangers = quality({n: Read(offers=("x",)) for n in range(80)})
    late = quality({n: Read(offers=("a",)) for n in range(80)}, distrust="The driver was late.")

    assert (strangers[0], late[:2]) == (NOT_MEASURED, (NOT_MEASURED, "The driver was late."))
    assert "None of the offers" in strangers[1]


def test_days_are_those_of_the_shops_own_clock() -> None:
    moments = [0, HOUR_US, 23 * HOUR_US, 25 * HOUR_US, 26 * HOUR_US, 27 * HOUR_US, 49 * HOUR_US]
    found = questions_of(orders_of(*["ab"] * 7, ts_us=moments))

    busiest = busiest_day(found, UTC)
    assert (busiest.name, len(busiest.questions)) == ("1970-01-02", 3)
    zone = timezone(timedelta(hours=1))
    ahead = busiest_day(found, zone)
    assert (ahead.name, len(ahead.questions), ahead.n_days) == ("1970-01-02", 4, 3)
    assert len(usual_day(found, zone).questions) == 2
    assert ahead.speed_in(4.0) == 3600.0


def test_a_day_without_a_course_says_what_it_lacks() -> None:
    def lack(*moments: int) -> str | None:
        found = questions_of(orders_of(*["ab"] * len(moments), ts_us=list(moments)))
        return busiest_day(found, UTC).lack

    assert lack(HOUR_US) == "1970-01-01 has one order"
    assert lack(HOUR_US, HOUR_US) == "1970-01-01 has its orders at one moment"
    assert lack(HOUR_US, 2 * HOUR_US) is None


def test_an_average_day_is_of_all_days_that_were_asked_about() -> None:
    def days(*moments: datetime, since: datetime) -> float:
        found_us = [round(at.timestamp() * 1e6) for at in (since, *moments)]
        return days_asked_about(np.array(found_us[1:]), found_us[0], zone)

    zone = ZoneInfo("Europe/Berlin")
    dates = [datetime(2026, 10, day, tzinfo=zone) for day in (24, 25, 26)]
    noon = datetime(2026, 10, 26, 12, tzinfo=zone)

    assert days(*dates, since=dates[0]) == 3
    assert days(dates[0], dates[0], since=dates[0]) == 1
    assert days(dates[2], since=dates[0]) == 3
    assert days(dates[2], since=dates[1] + timedelta(hours=7)) == 1
    assert days(noon, since=dates[2]) == 1
    assert days(dates[1], noon, since=datetime(2026, 10, 24, 11, tzinfo=UTC)) == 2


def test_the_night_in_which_clocks_change_moves_no_order_into_another_day() -> None:
    """In Berlin 2026-10-25 has 25 hours, the first of them at +2, and days after it begin at +1."""
    zone = ZoneInfo("Europe/Berlin")
    moments = [
        datetime(2026, 10, day, hour, 30, tzinfo=zone) for day in (24, 25, 26) for hour in (0, 23)
    ]
    found = questions_of(
        orders_of(*["ab"] * 6, ts_us=[round(at.timestamp() * 1e6) for at in moments])
    )

    first, last = busiest_day(found.at(np.arange(3)), zone), busiest_day(found, zone)

    assert (first.name, len(first.questions), first.n_days) == ("2026-10-24", 2, 2)
    assert (last.name, len(last.questions), last.n_days) == ("2026-10-26", 2, 3)


AFTER = Read(offers=("p",), snapshot_id="second")


def happened(**changes: Any) -> Happened:
    usual: dict[str, Any] = {"killed": 7, "workers": [8, 9], "taken_away_s": 10.0}
    return Happened(**usual | changes)


def answers_of(n: int) -> dict[int, Read]:
    """The second snapshot from the tenth on; the offer `o` until the twelfth."""
    return {
        number: Read(
            offers=("o", "p") if number < 12 else ("p",),
            snapshot_id="first" if number < 10 else "second",
        )
        for number in range(n)
    }


def judge_trial(
    answers: dict[int, Read],
    done: Happened,
    *,
    statuses: list[int] | None = None,
    n_mended: int = 0,
    after: Read = AFTER,
) -> tuple[str, list[str]]:
    found = run_of(answers, n=20, statuses=statuses)
    counts = counted(found, ("first", "second"), "o", n_mended=n_mended, after={0: after})
    return judged(counts, done)


def test_a_trial_in_which_nothing_was_lost_passes() -> None:
    run = run_of(answers_of(20), n=20)
    found = counted(run, ("first", "second"), "o", n_mended=0, after={0: AFTER})

    assert judged(found, happened()) == (PASSED, [])
    assert found.by_snapshot == {"first": 10, "second": 10}
    assert (found.n, found.n_lost, found.n_strange, found.n_shown) == (20, 0, 0, 12)
    assert (found.n_after, found.n_after_first, found.n_after_shown) == (1, 0, 0)
    assert (found.swapped_at_s, found.last_shown_s) == pytest.approx((10.000001, 11.000001))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"problem": "announce ended with 6"}, "the trial itself failed"),
        ({"workers": [8]}, "not replaced"),
        ({"workers": [7, 8]}, "not replaced"),
    ],
)
def test_a_trial_fails_by_what_went_wrong_with_the_node(change: dict[str, Any], why: str) -> None:
    verdict, wrong = judge_trial(answers_of(20), happened(**change))

    assert (verdict, len(wrong)) == (FAILED, 1)
    assert why in wrong[0]


def test_a_trial_fails_by_what_the_answers_say() -> None:
    lost = judge_trial(answers_of(20), happened(), statuses=[200] * 19 + [LOST])
    mended = judge_trial(answers_of(20), happened(), statuses=[200] * 19 + [LOST], n_mended=1)
    strange = judge_trial(answers_of(20) | {3: Read(offers=(), snapshot_id="other")}, happened())
    stuck = judge_trial(answers_of(20), happened(), after=Read(offers=(), snapshot_id="first"))
    shown = judge_trial(answers_of(20), happened(), after=Read(offers=("o",), snapshot_id="second"))

    assert [len(found[1]) for found in (lost, strange, stuck, shown)] == [1, 1, 1, 1]
    assert mended == (PASSED, [])
    assert "1 of 20 requests had no good answer" in lost[1][0]
    assert "nobody announced" in strange[1][0]
    assert "did not come to answer everyone" in stuck[1][0]
    assert "long after it was taken away" in shown[1][0]
    assert WORKERS == 2


def test_a_day_that_was_over_before_all_was_done_is_no_trial() -> None:
    """Requests were due until the nineteenth second."""
    first = {number: Read(offers=("o",), snapshot_id="first") for number in range(20)}

    never_swapped = judge_trial(first, happened())
    too_late = judge_trial(answers_of(20), happened(taken_away_s=19.5))
    in_time = judge_trial(answers_of(20), happened(taken_away_s=18.5))
    lost = judge_trial(first, happened(), statuses=[200] * 19 + [503])

    assert [found[0] for found in (never_swapped, too_late, in_time, lost)] == [
        *(NOT_MEASURED, NOT_MEASURED),
        *(PASSED, FAILED),
    ]
    assert (
        never_swapped[1]
        == too_late[1]
        == ["the day was over before all was done: give it more --day-seconds"]
    )


def test_where_the_driver_was_the_limit_the_service_is_not_told_to_be_at_its_own() -> None:
    told = "1× is 1,200 requests a second: 12% of the 10,000 a second that the service answered at"

    assert Most(10_000.0, 0.5).sentence == f"{told} most, with 16 callers."
    assert Most(10_000.0, 0.9).sentence == (
        f"{told} most, with 16 callers. The driver was busy for 90% of that time: the service alone"
        " may do more."
    )


def test_one_is_told_as_one() -> None:
    [one] = judge_trial(
        answers_of(20), happened(), after=Read(offers=("o",), snapshot_id="second")
    )[1]
    strange = judge_trial(answers_of(20) | {3: Read(offers=(), snapshot_id="other")}, happened())

    assert one == "1 answer held the offer long after it was taken away"
    assert strange[1] == ["1 answer names a snapshot that nobody announced"]


def test_combinations_count_sources_once(generation: Generation) -> None:
    """Three categories, four parts of the day, and two sources; few segments have orders enough."""
    none = np.empty(0, dtype=np.int64)
    nobody = ranked_lists(none, none, (), 0)
    levels = [
        Level(parts=parts, list_of={code: code for code in range(n)}, offers=nobody)
        for parts, n in (((0, 1, 2), 5), ((0, 1), 6), ((0,), 3))
    ]
    fitted = Segment(
        levels=tuple(levels),
        without_category=(),
        sizes=(4, 3, 5),
        source_feature="referrer_source",
        source_codes={"mail": 0, "search": 1},
        customer_category=none,
        item_category=none,
        popular=none,
    )

    manifest = SimpleNamespace(counts={"contexts": 7, "customers": 8})
    tables = cast(Generation, SimpleNamespace(model=generation.model, manifest=manifest))

    rows = {name: n for name, n, _ in explosion(tables, fitted).rows}

    n_offers = generation.model.n_offers
    assert [rows[name] for name in ("categories", "parts of the day", "sources", "segments")] == [
        *("3", "4", "2", "5")
    ]
    combined = f"{n_offers * 3 * 4 * 2:,}"
    assert rows["offers × categories × parts of the day × sources"] == combined


def test_a_single_question_is_asked_again_and_again() -> None:
    plan: Schedule = scheduled([Phase(name="1×", seconds=1.0, from_rate=3, to_rate=3)], "even", 0)

    which, kept = asked_alike(plan, 1)

    assert which.tolist() == [0, 0, 0]
    assert np.count_nonzero(kept) == 1
