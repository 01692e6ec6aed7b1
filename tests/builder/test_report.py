"""The report as JSON and as text: nothing is lost, and no more is claimed than was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import msgspec
import numpy as np
import orjson
import pytest

from builder import comparison
from builder.metrics import Interval
from builder.report import Report, standing
from builder.report_files import as_json
from builder.report_segments import standing as against_segments
from builder.report_text import evaluation_table
from builder.report_text_further import further_tables
from tests.builder.reports import methods, slice_of, some_gap


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


def test_standing_against_segments_counts_what_is_sure() -> None:
    gap = some_gap()
    sure = [one.ndcg.difference.low > 0.0 for one in gap.bins]

    assert sure == [False, False, True]
    assert against_segments(gap) == (
        "By NDCG@2, almanac is better in 1 of 3 groups of customers, worse in 0,"
        " and in 2 no difference can be shown."
    )


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


def test_compare_pairs_every_method_with_default(report: Report) -> None:
    warm = report.evaluation[0]
    ours, base = warm.of("almanac"), warm.of("default")

    assert ours is not None
    assert base is not None
    assert base.ndcg.difference is base.ndcg.ratio is None
    assert ours.ndcg.difference is not None
    assert ours.ndcg.difference.value == pytest.approx(ours.ndcg.mean.value - base.ndcg.mean.value)
    assert ours.ndcg.ratio is not None
    assert ours.ndcg.ratio.value == pytest.approx(ours.ndcg.mean.value / base.ndcg.mean.value)
    assert warm.of("unheard") is None


def test_intervals_hold_their_value(report: Report) -> None:
    found = [interval for method in methods(report.evaluation) for interval in intervals(method)]

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
