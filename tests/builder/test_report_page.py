"""The page says all that was measured, escapes all it was told, and needs no network."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from builder import gate
from builder.report import FileRead, Report, SampleRow
from builder.report_ablation import standing as verdict_on_signal
from builder.report_html import render
from builder.report_parts import signed
from builder.report_text import evaluation_table
from builder.segment_gap import SegmentGap
from tests.builder.reports import methods, slice_of, some_gap

HOSTILE = "<script>alert(\"1\")</script> & 'co'"


@pytest.fixture(scope="module")
def gap() -> SegmentGap:
    return some_gap()


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
