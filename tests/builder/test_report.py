"""The report says all that was measured, escapes all it was told, and needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from builder import comparison, gate, metrics
from builder.ablation import SliceAblation, Without
from builder.choices import Choice
from builder.comparison import MethodResult, SliceResult
from builder.evaluate import TierCalibration
from builder.metrics import Interval
from builder.progress import StageCost
from builder.report import (
    Dropped,
    FileRead,
    ImportSummary,
    Origin,
    Report,
    SampleRow,
    ShopProfile,
    SnapshotFile,
    TierWeights,
    Window,
    standing,
)
from builder.report_ablation import standing as verdict_on_signal
from builder.report_files import as_json, write_report
from builder.report_html import render
from builder.report_parts import signed
from builder.report_segments import standing as against_segments
from builder.report_text import evaluation_table
from builder.report_text_further import further_tables
from builder.segment_gap import SegmentGap, segment_gap

HOSTILE = "<script>alert(\"1\")</script> & 'co'"


class Page(HTMLParser):
    """What a browser would make of it: elements, their attributes, and the words in between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += data


def slice_of(question: str, slice_name: str, n: int, *methods: str) -> SliceResult:
    """Methods that find one of two offers in ever fewer examples."""
    chance = np.random.default_rng(len(methods))
    ranked = {
        method: np.where(chance.random((n, 2)) < 0.9 - 0.35 * place, [0, 1], [2, 3])
        for place, method in enumerate(methods)
    }
    return comparison.compare(
        question=question,
        slice_name=slice_name,
        ranked=ranked,
        truth=[np.array([0, 1, 4])] * n,
        customers=np.arange(n),
        n_offers=5,
        k=2,
        seed=1,
    )


@pytest.fixture(scope="module")
def evaluation() -> tuple[SliceResult, ...]:
    return (
        slice_of("next_order", "warm", 60, "almanac", "default", "frequency"),
        slice_of("next_order", "thin", 0, "almanac", "default", "frequency"),
        slice_of("post_purchase", "cold_with_cart", 40, "almanac", "default", "item_knn"),
    )


@pytest.fixture(scope="module")
def gap() -> SegmentGap:
    """A list of the customer's own finds an offer for most of those known for long."""
    chance = np.random.default_rng(9)
    n_past_orders = np.repeat([2, 8, 60], 40)
    finds = chance.random(120) < np.where(n_past_orders > 50, 0.9, 0.3)
    return segment_gap(
        ours=np.where(finds[:, None], [0, 3], [2, 3]),
        segment=np.where(chance.random(120)[:, None] < 0.3, [0, 3], [2, 3]),
        truth=[np.array([0, 1])] * 120,
        n_past_orders=n_past_orders,
        values=np.array([2.5, 1.0, 1.0, 1.0]),
        k=2,
        seed=1,
    )


@pytest.fixture(scope="module")
def report(evaluation: tuple[SliceResult, ...], gap: SegmentGap) -> Report:
    now = datetime(2026, 3, 1, 4, 30, tzinfo=UTC)
    probability, outcome = np.linspace(0.01, 0.3, 50), np.arange(50) % 4 == 0
    return Report(
        brand="Corner shop",
        snapshot_id="2026-03-01-abc",
        measured_on="shipped snapshot",
        verdict=gate.judge(evaluation),
        imports=ImportSummary(
            files=(FileRead(name="orders.csv", kind="events", n_rows=1000, n_kept=995),),
            n_rows=1000,
            n_kept=995,
            dropped=(
                Dropped(
                    reason="time in the future",
                    is_bad=True,
                    n_rows=5,
                    samples=(SampleRow(file="orders.csv", row=17, column="ts", value="2999"),),
                ),
            ),
        ),
        shop=ShopProfile(
            n_customers=100,
            n_orders=400,
            n_lines=995,
            n_items=50,
            n_offers=5,
            repeat_share=0.4,
            orders_per_customer=3.0,
            items_per_order=2.4,
            basket_share=0.5,
            guest_share=0.1,
            session_share=0.0,
            history_days=365.0,
            times="to the second",
        ),
        windows=(Window(purpose="tables", from_at=now, until_at=now, n_orders=None),),
        stages=(
            StageCost(
                stage="import",
                seconds=12.34,
                cpu_seconds=20.0,
                peak_rss_bytes=512_000_000,
                n_tasks=4,
                n_skipped=1,
            ),
        ),
        weights=(
            TierWeights(
                tier="individual", n_examples=300, n_redemptions=0, weights={"personal": 0.875}
            ),
        ),
        evaluation=evaluation,
        tier_shares={"next_order/warm": {"individual": 0.75, "thin": 0.25}, "next_order/thin": {}},
        calibration=(
            TierCalibration(
                tier="individual",
                brier=metrics.brier(probability, outcome),
                base_brier=0.1875,
                curve=metrics.reliability(probability, outcome),
            ),
        ),
        baseline_settings={"item_knn": "shrinkage=50.0"},
        segment_gap=gap,
        ablation=(
            SliceAblation(
                question="next_order",
                slice_name="warm",
                k=2,
                n_examples=60,
                n_customers=60,
                signals=(
                    Without(
                        signal="personal",
                        recall=Interval(value=0.1234, low=0.0123, high=0.2345),
                        ndcg=Interval(value=0.2468, low=0.1357, high=0.3579),
                        changed=0.875,
                    ),
                    Without(
                        signal="context:weather",
                        recall=Interval(value=0.0, low=-0.0111, high=0.0112),
                        ndcg=Interval(value=-0.0456, low=-0.0654, high=0.0321),
                        changed=0.25,
                    ),
                    Without(
                        signal="similar",
                        recall=Interval(value=0.0, low=0.0, high=0.0),
                        ndcg=Interval(value=0.0, low=0.0, high=0.0),
                        changed=0.0,
                    ),
                ),
            ),
        ),
        choices=(
            Choice(
                name="half-life of the prior",
                tried=("28 days", "91 days"),
                chosen="91 days",
                why="least loss on the weight slice",
                figures=(3.25, 3.125),
            ),
        ),
        files=(SnapshotFile(name="customers.lmdb", size_bytes=4_200_000, n_entries=100),),
        origin=Origin(
            command="almanac build --events orders.csv --out out",
            seed=0,
            started_at=now,
            finished_at=now,
            machine="x86_64",
            n_cores=2,
            memory_bytes=8_000_000_000,
            versions={"numpy": "2.4.0"},
        ),
    )


@pytest.fixture(scope="module")
def nothing(report: Report) -> Report:
    """As little as a report can hold."""
    unmeasured = slice_of("next_order", "warm", 0, "almanac", "default")
    return replace(
        report,
        measured_on="rehearsal snapshot",
        verdict=gate.judge([unmeasured]),
        imports=ImportSummary(files=(), n_rows=0, n_kept=0, dropped=()),
        shop=replace(
            report.shop,
            repeat_share=None,
            orders_per_customer=None,
            items_per_order=None,
            basket_share=None,
            guest_share=None,
            session_share=None,
        ),
        windows=(),
        stages=(),
        weights=(),
        evaluation=(unmeasured,),
        tier_shares={},
        calibration=(),
        baseline_settings={},
        segment_gap=None,
        ablation=(),
        choices=(),
        files=(),
    )


def methods(results: tuple[SliceResult, ...]) -> Iterator[MethodResult]:
    for result in results:
        yield from result.methods


def intervals(value: object) -> Iterator[Interval]:
    """Every interval anywhere inside a dataclass."""
    if isinstance(value, Interval):
        yield value
    elif is_dataclass(value):
        for part in fields(value):
            yield from intervals(getattr(value, part.name))


def test_json_loses_nothing(report: Report) -> None:
    """What was written reads back into an equal report."""
    assert msgspec.json.decode(as_json(report), type=Report) == report


def test_json_keys_are_sorted(report: Report) -> None:
    keys = list(orjson.loads(as_json(report)))

    assert keys == sorted(keys)


def test_json_is_the_same_twice(report: Report) -> None:
    assert as_json(report) == as_json(report)


def test_both_files_are_written(report: Report, tmp_path: Path) -> None:
    json_path, html_path = write_report(report, tmp_path)

    assert sorted(tmp_path.iterdir()) == [html_path, json_path]
    assert json_path.read_bytes() == as_json(report)
    assert html_path.read_text(encoding="utf-8") == render(report)


def test_page_has_every_measured_number(report: Report) -> None:
    """Means, differences, ratios and their intervals, as the page writes them."""
    words = Page(render(report)).words

    for method in methods(report.evaluation):
        for score in (method.recall, method.ndcg, method.hit):
            for bound in ("value", "low", "high"):
                assert f"{getattr(score.mean, bound):.4f}" in words
                if score.difference:
                    assert signed(getattr(score.difference, bound), 4) in words
                if score.ratio:
                    assert f"{getattr(score.ratio, bound):.2f}" in words


def test_page_has_the_numbers_of_every_other_table(report: Report) -> None:
    words = Page(render(report)).words
    curve = report.calibration[0].curve

    for text in (
        "99.50 %",  # rows used
        "time in the future",
        "orders.csv",
        "12.3 s",
        "512.0 MB",
        "0.875",
        "75.0 %",
        "4.2 MB",
        "40.0 %",
        "shrinkage=50.0",
        "numpy 2.4.0",
        "2026-03-01-abc",
        *(check.sentence for check in report.verdict.checks),
        *(f"{predicted * 100:.2f} %" for predicted in curve.mean_probability),
        *(f"{observed * 100:.2f} %" for observed in curve.positive_share),
    ):
        assert text in words


def test_page_has_every_number_of_segment_against_individual(
    report: Report, gap: SegmentGap
) -> None:
    words = Page(render(report)).words

    assert gap.overall is not None
    for one in (*gap.bins, gap.overall):
        for pair, decimals in ((one.recall, 4), (one.ndcg, 4), (one.value, 2)):
            for bound in ("value", "low", "high"):
                assert f"{getattr(pair.ours, bound):.{decimals}f}" in words
                assert f"{getattr(pair.segment, bound):.{decimals}f}" in words
                assert signed(getattr(pair.difference, bound), decimals) in words
    for text in ("1–2", "3–10", "11+", "in the unit of the offers"):
        assert text in words


@pytest.mark.parametrize("few", [True, False])
def test_page_is_silent_about_segments_where_too_few_are_known(
    report: Report, gap: SegmentGap, *, few: bool
) -> None:
    unmeasured = replace(gap, bins=(), overall=None) if few else None

    assert "Segment against individual" in Page(render(report)).words
    page = Page(render(replace(report, segment_gap=unmeasured)))
    assert "Segment against individual" not in page.words
    assert "segment-gap-t" not in dict(page.attributes).values()


def test_page_says_what_each_signal_is_worth(report: Report) -> None:
    words = Page(render(report)).words
    (result,) = report.ablation

    for one in result.signals[:2]:
        assert one.signal in words
        for interval in (one.recall, one.ndcg):
            for bound in (interval.value, interval.low, interval.high):
                assert signed(bound, 4) in words
    assert [verdict_on_signal(one) for one in result.signals[:2]] == ["needed", "no difference"]
    assert "No list changes without similar." in words
    assert "87.5 %" in words


def test_page_tells_what_was_searched_and_chosen(report: Report, nothing: Report) -> None:
    words = Page(render(report)).words

    for text in ("half-life of the prior", "28 days: 3.2500, 91 days: 3.1250", "least loss"):
        assert text in words
    assert "What was searched" not in Page(render(nothing)).words


def test_page_says_when_value_is_a_count(report: Report, gap: SegmentGap) -> None:
    counted = replace(report, segment_gap=replace(gap, value_unit="hits"))

    assert "how many of its offers were bought" in Page(render(counted)).words


def test_standing_against_segments_counts_what_is_sure(gap: SegmentGap) -> None:
    sure = [one.ndcg.difference.low > 0.0 for one in gap.bins]

    assert sure == [False, False, True]
    assert against_segments(gap) == (
        "By NDCG@2, almanac is better in 1 of 3 groups of customers, worse in 0,"
        " and in 2 no difference can be shown."
    )


def test_page_loads_nothing(report: Report) -> None:
    page = render(report)

    assert not re.search(r"https?://|src=|url\(|@import|<link|<script|<iframe", page)
    assert [value for name, value in Page(page).attributes if name == "href"] == []


def test_page_forbids_itself_to_load_anything(report: Report) -> None:
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in Page(
        render(report)
    ).attributes


def test_page_closes_what_it_opens(report: Report, nothing: Report) -> None:
    assert Page(render(report)).open == []
    assert Page(render(nothing)).open == []


def test_every_chart_has_a_title_and_a_description(report: Report) -> None:
    page = Page(render(report))
    named = [value for name, value in page.attributes if name == "aria-labelledby"]
    ids = [value for name, value in page.attributes if name == "id"]

    assert len(named) == page.tags.count("svg") == page.tags.count("desc") > 5
    assert sorted(" ".join(filter(None, named)).split()) == sorted(filter(None, ids))
    assert len(ids) == len(set(ids))


def test_every_table_names_its_rows_and_columns(report: Report) -> None:
    page = Page(render(report))
    scopes = {value for name, value in page.attributes if name == "scope"}

    assert page.tags.count("table") == page.tags.count("caption")
    assert scopes == {"col", "row"}


def test_page_escapes_what_users_wrote(report: Report) -> None:
    """Files, columns, values, methods, slices, signals, commands: all of it is only text."""
    (dropped,) = report.imports.dropped
    sample = SampleRow(file=HOSTILE, row=1, column=HOSTILE, value=HOSTILE)
    hostile = replace(
        report,
        brand=HOSTILE,
        snapshot_id=HOSTILE,
        notes=(HOSTILE,),
        imports=replace(
            report.imports,
            files=(FileRead(name=HOSTILE, kind=HOSTILE, n_rows=1, n_kept=1),),
            dropped=(replace(dropped, reason=HOSTILE, samples=(sample,)),),
        ),
        windows=(replace(report.windows[0], purpose=HOSTILE),),
        stages=(replace(report.stages[0], stage=HOSTILE),),
        weights=(replace(report.weights[0], weights={HOSTILE: 1.0}),),
        evaluation=(slice_of(HOSTILE, HOSTILE, 40, "almanac", "default", HOSTILE),),
        tier_shares={HOSTILE: {"thin": 1.0}},
        baseline_settings={HOSTILE: HOSTILE},
        files=(replace(report.files[0], name=HOSTILE),),
        origin=replace(report.origin, command=HOSTILE, machine=HOSTILE, versions={HOSTILE: "1"}),
    )

    page = render(hostile)

    assert "<script" not in page
    assert Page(page).open == []
    assert Page(page).words.count("<script>alert") > 20


def test_a_report_of_nothing_says_so(nothing: Report) -> None:
    words = Page(render(nothing)).words

    assert "Not measured." in words
    assert "rehearsal" in words
    assert not re.search(r"\bnan\b|\binf\b|None", words, re.IGNORECASE)


def test_an_unmeasured_slice_has_no_numbers(report: Report) -> None:
    (thin,) = (result for result in report.evaluation if result.slice_name == "thin")

    assert thin.methods == ()
    assert "Thin customers one or two orders behind themNot measured." in Page(render(report)).words


def test_a_failed_gate_is_seen(report: Report) -> None:
    worse = slice_of("next_order", "warm", 60, "default", "almanac")
    ours = replace(report, verdict=replace(gate.judge([worse]), passed=False))

    assert "Quality gate failed" in Page(render(ours)).words
    assert "quality gate: FAILED" in evaluation_table(ours)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_table_has_every_mean(report: Report, *, is_terminal: bool) -> None:
    table = evaluation_table(report, is_terminal=is_terminal)

    for method in methods(report.evaluation):
        for score in (method.recall, method.ndcg, method.hit):
            mean = score.mean
            assert f"{mean.value:.4f} ({mean.low:.4f}–{mean.high:.4f})" in table


def test_table_for_a_pipe_is_aligned_plain_text(report: Report) -> None:
    table = evaluation_table(report)
    block = table.split("\n\n")[0].splitlines()

    assert block[0] == "Next order · Warm customers · 60 examples of 60 customers"
    assert len({len(line) for line in block[1:]}) == 1
    assert "\x1b" not in table


def test_table_for_a_terminal_emphasises_ours(report: Report) -> None:
    assert "\x1b[1m" in evaluation_table(report, is_terminal=True)


def test_table_names_what_was_not_measured(report: Report) -> None:
    assert "Next order · Thin customers · not measured\n" in evaluation_table(report)


@pytest.mark.parametrize(
    ("order", "n", "sentence"),
    [
        (("almanac", "default"), 60, "Better than default; the highest NDCG@2 of all methods."),
        (("default", "almanac"), 60, "Worse than default; default has the highest NDCG@2."),
        (("almanac", "default"), 29, "Too few customers to tell methods apart; 30 are needed."),
        (("almanac", "frequency"), 60, "Not measured."),
        (("almanac", "default"), 0, "Not measured."),
    ],
)
def test_standing_claims_no_more_than_was_shown(
    order: tuple[str, ...], n: int, sentence: str
) -> None:
    assert standing(slice_of("next_order", "warm", n, *order)) == sentence


def test_standing_admits_no_difference() -> None:
    same = comparison.compare(
        question="next_order",
        slice_name="warm",
        ranked=dict.fromkeys(("almanac", "default"), np.tile([0, 2], (40, 1))),
        truth=[np.array([0])] * 40,
        customers=np.arange(40),
        n_offers=3,
        k=2,
        seed=1,
    )

    assert standing(same).startswith("No difference from default can be shown; ")


def test_compare_pairs_every_method_with_default(evaluation: tuple[SliceResult, ...]) -> None:
    warm = evaluation[0]
    ours, base = warm.of("almanac"), warm.of("default")

    assert ours is not None
    assert base is not None
    assert base.ndcg.difference is base.ndcg.ratio is None
    assert ours.ndcg.difference is not None
    assert ours.ndcg.difference.value == pytest.approx(ours.ndcg.mean.value - base.ndcg.mean.value)
    assert ours.ndcg.ratio is not None
    assert ours.ndcg.ratio.value == pytest.approx(ours.ndcg.mean.value / base.ndcg.mean.value)
    assert warm.of("unheard") is None


def test_intervals_hold_their_value(evaluation: tuple[SliceResult, ...]) -> None:
    found = [interval for method in methods(evaluation) for interval in intervals(method)]

    assert len(found) > 20
    assert all(interval.low <= interval.value <= interval.high for interval in found)


def test_table_says_what_is_lost_without_each_signal(report: Report, nothing: Report) -> None:
    text = evaluation_table(report)

    assert "Next order, warm customers: without" in text
    assert "+0.2468 (+0.1357 to +0.3579)" in text
    assert "  No list changes without similar.\n" in text
    assert "without" not in evaluation_table(nothing)


def test_what_stands_beside_the_main_tables_is_told(report: Report, nothing: Report) -> None:
    text = "\n".join(further_tables(report))
    (calibration,) = report.calibration

    for words in (
        "75.0 %",
        f"Brier {calibration.brier:.4f}, of a constant 0.1875",
        "1 to 2 past orders",
        "11+ past orders",
        "value (worth)",
    ):
        assert words in text
    assert further_tables(nothing) == []
