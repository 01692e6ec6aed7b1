"""Reports to show: one that says all it can, and one that has nothing to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

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
)
from builder.segment_gap import SegmentGap, segment_gap


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


def measured() -> tuple[SliceResult, ...]:
    """Two slices with numbers, and between them one that nobody is in."""
    return (
        slice_of("next_order", "warm", 60, "almanac", "default", "frequency"),
        slice_of("next_order", "thin", 0, "almanac", "default", "frequency"),
        slice_of("post_purchase", "cold_with_cart", 40, "almanac", "default", "item_knn"),
    )


def some_gap() -> SegmentGap:
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


def full_report() -> Report:
    """Every part is there, with numbers that stand nowhere else."""
    evaluation = measured()
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
        segment_gap=some_gap(),
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


def empty_report() -> Report:
    """As little as a report can hold."""
    report = full_report()
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
