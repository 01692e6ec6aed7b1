"""What a build has to tell, as plain values: the content of report.json.

Every field can be absent only where its type says so; what was not measured is None or empty, never
zero. How it looks is left to `report_html` and `report_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from builder.ablation import SliceAblation
from builder.choices import Choice
from builder.comparison import DEFAULT, OURS, SliceResult
from builder.evaluate import Measured, TierCalibration
from builder.gate import MIN_CUSTOMERS, Verdict
from builder.progress import StageCost
from builder.segment_gap import SegmentGap

FORMAT_VERSION: Final = 1

MeasuredOn = Literal["shipped snapshot", "rehearsal snapshot"]

Times = Literal["to the second", "days only", "none"]

MEASURED_ON_SENTENCES: Final[Mapping[MeasuredOn, str]] = {
    "shipped snapshot": (
        "The figures are of the very tables that ship, read back from the snapshot through the "
        "decision itself, on orders later than anything in them."
    ),
    "rehearsal snapshot": (
        "The figures are of a rehearsal: tables made by the same steps, but without the newest "
        "orders and without some customers, which then served as the test. What ships was made "
        "again from everything and cannot be tested on orders it has seen."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """One input file; `kind` is events, items or offers."""

    name: str
    kind: str
    n_rows: int
    n_kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """A row that was not used, for someone to look up.

    Attributes:
        file: name of the input file.
        row: its number there, from 1.
        column: the column at fault; never one that identifies a person, for reports travel.
        value: what it held.
    """

    file: str
    row: int
    column: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Rows that were not used for one reason.

    Attributes:
        reason: in words.
        is_bad: the row itself is wrong and lies in quarantine; otherwise a rule left it out.
        n_rows: how many.
        samples: a few of them.
    """

    reason: str
    is_bad: bool
    n_rows: int
    samples: tuple[SampleRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What became of every row of the input: n_kept + all dropped = n_rows."""

    files: tuple[FileRead, ...]
    n_rows: int
    n_kept: int
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopProfile:
    """What kind of shop this is.

    Attributes:
        n_lines: order lines used.
        repeat_share: share of known customers' lines whose offer the customer had bought before.
        orders_per_customer: median over known customers.
        items_per_order: mean number of different items.
        basket_share: share of orders with more than one item.
        guest_share: share of orders without a customer.
        session_share: share of all events, of any kind, that name a session.
        history_days: from the first event to the last.
        times: how exactly events tell their time.
    """

    n_customers: int
    n_orders: int
    n_lines: int
    n_items: int
    n_offers: int
    repeat_share: float | None
    orders_per_customer: float | None
    items_per_order: float | None
    basket_share: float | None
    guest_share: float | None
    session_share: float | None
    history_days: float
    times: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time and what it was used for; `until_at` is not in it."""

    purpose: str
    from_at: datetime
    until_at: datetime
    n_orders: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierWeights:
    """How much each signal counts in one tier, and on how many examples that was learned.

    Where there are redemptions, `personal` was learned on these.
    """

    tier: str
    n_examples: int
    n_redemptions: int
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    """One file that ships; `n_entries` is None where counting makes no sense."""

    name: str
    size_bytes: int
    n_entries: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How, where and when the snapshot was made."""

    command: str
    seed: int
    started_at: datetime
    finished_at: datetime
    machine: str
    n_cores: int
    memory_bytes: int
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a report says of quality.

    Attributes:
        evaluation: every question and slice, those that could not be measured too.
        tier_shares: share of decisions by tier, for each `question/slice`.
        calibration: how honest probabilities are, by tier.
        baseline_settings: what tuned baselines were tuned to.
        segment_gap: segment against individual, by past orders; None when it was not measured.
        ablation: what each signal is worth, for each question and slice.
    """

    evaluation: tuple[SliceResult, ...]
    tier_shares: Mapping[str, Mapping[str, float]]
    calibration: tuple[TierCalibration, ...]
    baseline_settings: Mapping[str, str]
    segment_gap: SegmentGap | None
    ablation: tuple[SliceAblation, ...] = ()


def figures_of(measured: Measured) -> dict[str, Any]:
    """The fields of `Figures`, from what was measured."""
    return {
        "evaluation": measured.slices,
        "tier_shares": measured.tier_shares,
        "calibration": measured.calibration,
        "baseline_settings": measured.baseline_settings,
        "segment_gap": measured.segment_gap,
        "ablation": measured.ablation,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Figures):
    """The whole report of a build.

    Attributes:
        windows: what the data's time was used for, in order.
        choices: what was searched and chosen.
        notes: sentences a reader should know before believing the figures.
        format_version: of report.json; a reader refuses what it does not know.
    """

    brand: str
    snapshot_id: str
    measured_on: MeasuredOn
    verdict: Verdict
    imports: ImportSummary
    shop: ShopProfile
    windows: tuple[Window, ...]
    stages: tuple[StageCost, ...]
    weights: tuple[TierWeights, ...]
    files: tuple[SnapshotFile, ...]
    origin: Origin
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION


def standing(result: SliceResult) -> str:
    """Where ours stands on a slice, in one sentence that claims no more than the interval does."""
    ours = result.of(OURS)
    difference = ours.ndcg.difference if ours else None
    if ours is None or difference is None:
        return "Not measured."
    if result.n_customers < MIN_CUSTOMERS:
        return f"Too few customers to tell methods apart; {MIN_CUSTOMERS} are needed."
    best = max(result.methods, key=lambda method: method.ndcg.mean.value)
    if difference.low <= 0.0 <= difference.high:
        verdict = f"No difference from {DEFAULT} can be shown"
    else:
        verdict = f"{'Better' if difference.low > 0.0 else 'Worse'} than {DEFAULT}"
    if best.method == OURS:
        return f"{verdict}; the highest NDCG@{result.k} of all methods."
    return f"{verdict}; {best.method} has the highest NDCG@{result.k}."
