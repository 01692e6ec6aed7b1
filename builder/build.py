"""The night on one page: from imported orders to a published snapshot with its report.

Weights are learned on orders later than the tables they weigh, and figures come from orders later
still (`split`). When such orders exist after the moment the tables stand for, the shipped tables
themselves are measured; otherwise a rehearsal of them is, and what ships is made again from all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from builder import gate
from builder.assemble import Facts, Policy, assemble, golden_requests, untrained
from builder.cases import NEXT_ORDER, POST_PURCHASE, Case, load_cases
from builder.config import Config
from builder.effort import SPENDING, Spending
from builder.engine import Engine
from builder.errors import DataGate
from builder.evaluate import K, Measured, together
from builder.intake import Imported
from builder.learning import learn_cut
from builder.measuring import MeasureQuestion, read_measured
from builder.profile import orders_between, share_of_baskets, shop_profile
from builder.redemptions import load_redemptions
from builder.report import Report
from builder.report_files import report_json
from builder.report_html import render
from builder.scoring import RUN_NAME, ScorePartition
from builder.signals.counts import CountSettings, PairUnit
from builder.signals.learn import SignalSettings
from builder.signals.orders import PURCHASE, VIEW, Partition, Vocabulary
from builder.signals.personal import PersonalModel, fit_personal
from builder.split import Cut, Plan, make_plan
from builder.tables import LearnedArrays, binding_of, open_learned
from builder.telling import Origins, make_report
from builder.weights import LearnedWeights, learn_weights
from index.layout import secret_check
from index.manifest import Manifest
from index.model import ANY_PLACEMENT, TIERS
from index.snapshot import open_snapshot
from index.writer import SnapshotWriter

TARGET_KINDS: Final[Mapping[str, int]] = {"purchase": PURCHASE, "view": VIEW, "add_to_cart": 2}
WEIGHT_CUSTOMERS: Final = 4000
LEAST_BASKETS: Final = 0.1
"""Where fewer orders hold several items, what goes with what is learned from customers instead."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """What every stage of one build works with.

    Attributes:
        engine: runs tasks, and tells of stages.
        config: the brand's choices.
        imported: canonical events and vocabulary.
        plan: the cuts.
        secret: of the brand.
        memory_bytes: for work in this process.
    """

    engine: Engine
    config: Config
    imported: Imported
    plan: Plan
    secret: bytes
    memory_bytes: int

    @property
    def target_kind(self) -> int:
        """Kind of event that offers are meant to bring about."""
        return TARGET_KINDS[self.config.input.target]

    @property
    def vocabulary(self) -> Vocabulary:
        """Rows of items and offers."""
        return Vocabulary.in_dir(self.imported.vocabulary_dir)

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """The canonical events, in customer order."""
        return tuple(
            Partition(number=number, event_paths=(path,))
            for number, path in enumerate(self.imported.events)
        )

    @property
    def spending(self) -> Spending:
        """How much is spent on learning."""
        return SPENDING[self.config.learn.effort]

    @cached_property
    def pair_unit(self) -> PairUnit:
        """What two items must be in to be a pair: an order, unless it says nothing of items.

        Orders dealt by lot do not; nor is there much to learn where hardly any holds two items.
        """
        if self.imported.by_lot:
            return "customer"
        share = share_of_baskets(
            self.imported.events,
            self.target_kind,
            memory_bytes=self.memory_bytes,
            temp_dir=self.engine.work_dir,
        )
        return "order" if share >= LEAST_BASKETS else "customer"

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals that get a weight."""
        features = sorted({*self.imported.contexts, "hour_of_week", "category", "price_band"})
        return (
            "personal",
            "cart",
            "viewed",
            "similar",
            *(f"context:{name}" for name in features),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build ends with: the shipped snapshot's manifest and its report."""

    manifest: Manifest
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lessons:
    """What was learned on the weight slice, and the cases it was learned from."""

    personal: PersonalModel
    weights: LearnedWeights
    cases: list[Case]


@dataclass(frozen=True, slots=True)
class _Findings:
    """What the report has to tell about quality."""

    measured: Measured
    verdict: gate.Verdict
    weights: LearnedWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """An assembled snapshot that has no name yet."""

    writer: SnapshotWriter
    manifest: Manifest


def plan_for(
    imported: Imported, config: Config, as_of_us: int | None, memory_bytes: int, temp_dir: Path
) -> Plan:
    """Choose the cuts of a build."""
    target = config.input.target

    def n_orders(from_us: int, until_us: int) -> int:
        return orders_between(
            imported.events,
            TARGET_KINDS[target],
            from_us,
            until_us,
            memory_bytes=memory_bytes,
            temp_dir=temp_dir,
        )

    end_us = imported.last_us + 1
    plan = make_plan(
        first_us=imported.first_us,
        last_us=imported.last_us,
        as_of_us=as_of_us,
        orders_after=0 if as_of_us is None else n_orders(as_of_us, end_us),
        slice_days=config.evaluation.slice_days,
        holdout_share=config.evaluation.holdout,
        test_start_us=config.test_start_us,
    )
    if n_orders(imported.first_us, plan.shipped.until_us) == 0:
        raise DataGate(
            f"none of the events is a {target} before the moment the tables stand for",
            hint="say which events the offers are meant to bring about: --target view"
            if target == "purchase"
            else f"is {target} what event_type says in the files?",
        )
    return plan


def build(night: Night, out_dir: Path, *, command: str, force: bool) -> Built:
    """Learn, write, measure and publish.

    Args:
        night: what to work with.
        out_dir: the snapshot to make; nothing is there yet.
        command: for the report: what repeats this build.
        force: publish even tables that are worse than plain popularity.

    Raises:
        DataGate: the tables are worse than plain popularity; nothing is at `out_dir` then.
    """
    started_at = datetime.now(UTC)
    lessons = _learn_weights(night)
    plan = night.plan
    # A rehearsal is assembled in the work folder and forgotten, what ships beside its place.
    path = night.engine.work_dir / "rehearsal" if plan.is_rehearsal else out_dir
    with _assembled(night, lessons, "measured", plan.measured, path) as ready:
        measured = _measure(night, ready)
        verdict = gate.judge(measured.slices)
        if not verdict.passed and not force:
            raise DataGate(
                "; ".join(verdict.reasons),
                hint="find out why before this ships, or ship all the same with --force",
            )
        origins = Origins(command=command, started_at=started_at)
        if not plan.is_rehearsal:
            return _publish(night, ready, _Findings(measured, verdict, lessons.weights), origins)
    with _assembled(night, lessons, "shipped", plan.shipped, out_dir) as ready:
        return _publish(night, ready, _Findings(measured, verdict, lessons.weights), origins)


def _learn_weights(night: Night) -> _Lessons:
    """The personal model and all weights, from the slice after the first cut."""
    plan = night.plan
    arrays_dir, learned = _learn(night, "weights", plan.weights)
    with night.engine.listener.stage("personal"):
        personal = fit_personal(
            night.partitions,
            night.vocabulary,
            plan.weights,
            plan.weights_until_us,
            arrays_dir,
            holdout_share=plan.measured.holdout_share,
            settings=replace(night.spending.personal, target_kind=night.target_kind),
            memory_bytes=night.memory_bytes,
            temp_dir=night.engine.work_dir,
        )
    # Weights are learned from customers who taught the trees: each is told what the others did.
    crossed = replace(personal, crosses=True)
    runs = _score(night, "weights", plan.weights, crossed, arrays_dir)
    cases = load_cases(
        night.partitions,
        night.vocabulary,
        plan.weights,
        plan.weights_until_us,
        without=plan.measured,
        target_kind=night.target_kind,
        max_customers=WEIGHT_CUSTOMERS,
        k=K,
        memory_bytes=night.memory_bytes,
        temp_dir=night.engine.work_dir,
    )
    redemptions = load_redemptions(
        night.partitions,
        night.vocabulary,
        plan.weights,
        plan.weights_until_us,
        without=plan.measured,
        max_customers=WEIGHT_CUSTOMERS,
        k=K,
        memory_bytes=night.memory_bytes,
        temp_dir=night.engine.work_dir,
    )
    ones = _Lessons(personal=personal, weights=untrained(night.signals, TIERS), cases=[])
    path = night.engine.work_dir / "weighing"
    with (
        _writing(night, ones, learned, runs, plan.weights, path=path) as ready,
        night.engine.listener.stage("weights"),
        open_snapshot(ready.writer.aside) as opened,
    ):
        weights = learn_weights(opened, cases, night.signals, redemptions)
    return _Lessons(personal=personal, weights=weights, cases=cases)


def _learn(night: Night, label: str, cut: Cut) -> tuple[Path, LearnedArrays]:
    n_items = int(night.imported.report["vocabulary"]["n_items"])
    learned = learn_cut(
        night.engine,
        label,
        night.partitions,
        night.vocabulary,
        cut,
        n_items=n_items,
        counts=CountSettings(
            target_kind=night.target_kind,
            pair_unit=night.pair_unit,
            in_sequence=night.target_kind == VIEW and night.pair_unit == "order",
        ),
        signals=SignalSettings(),
        collaborative=night.spending.collaborative,
    )
    arrays = open_learned(
        learned.globals_dir,
        learned.merged_dir,
        night.vocabulary,
        night.memory_bytes,
        night.engine.work_dir,
    )
    return learned.globals_dir, arrays


def _score(
    night: Night, label: str, cut: Cut, personal: PersonalModel, globals_dir: Path
) -> list[Path]:
    tasks = [
        ScorePartition(
            partition=partition,
            vocabulary=night.vocabulary,
            cut=cut,
            model=personal,
            globals_dir=globals_dir,
        )
        for partition in night.partitions
    ]
    return [result / RUN_NAME for result in night.engine.run(f"score-{label}", tasks)]


@contextmanager
def _assembled(
    night: Night, lessons: _Lessons, label: str, cut: Cut, path: Path
) -> Iterator[_Ready]:
    """A snapshot of one cut; it is gone afterwards unless it was published."""
    globals_dir, learned = _learn(night, label, cut)
    runs = _score(night, label, cut, lessons.personal, globals_dir)
    with _writing(night, lessons, learned, runs, cut, path=path) as ready:
        yield ready


@contextmanager
def _writing(
    night: Night,
    lessons: _Lessons,
    learned: LearnedArrays,
    runs: list[Path],
    cut: Cut,
    *,
    path: Path,
) -> Iterator[_Ready]:
    config, check = night.config, secret_check(night.secret)
    binding = binding_of(learned, check)
    n_orders = orders_between(
        night.imported.events,
        night.target_kind,
        night.imported.first_us,
        cut.until_us,
        holdout_share=cut.holdout_share,
        memory_bytes=night.memory_bytes,
        temp_dir=night.engine.work_dir,
    )
    with SnapshotWriter(path, binding=binding) as writer:
        with night.engine.listener.stage(f"write {path.name}"):
            manifest = assemble(
                writer,
                learned,
                runs=runs,
                weights=lessons.weights,
                policy=Policy(
                    brand=config.brand.name,
                    timezone=config.brand.timezone,
                    currency=config.brand.currency,
                    repeat={ANY_PLACEMENT: lessons.personal.repeat, **config.serve.repeat},
                    reserve={ANY_PLACEMENT: config.serve.reserve} if config.serve.reserve else {},
                    exploration=config.serve.exploration,
                ),
                facts=Facts(
                    as_of_us=cut.until_us,
                    data={"first_us": night.imported.first_us, "until_us": cut.until_us},
                    n_orders=n_orders,
                    build={
                        "seed": config.learn.seed,
                        "effort": config.learn.effort,
                        "input": _told(config),
                    },
                ),
                secret=night.secret,
                binding=binding,
                golden=golden_requests(lessons.cases, learned.contexts),
            )
        yield _Ready(writer=writer, manifest=manifest)


def _told(config: Config) -> dict[str, Any]:
    """How the input was read; the brand's own test customers and orders stay with the brand."""
    return {
        name: value
        for name, value in asdict(config.input).items()
        if name not in ("test_customers", "test_orders")
    }


def _measure(night: Night, ready: _Ready) -> Measured:
    tasks = [
        MeasureQuestion(
            question=question,
            snapshot_dir=ready.writer.aside.absolute(),
            model_id=ready.manifest.model_id,
            partitions=night.partitions,
            vocabulary=night.vocabulary,
            plan=night.plan,
            target_kind=night.target_kind,
            seed=night.config.learn.seed,
        )
        for question in (NEXT_ORDER, POST_PURCHASE)
    ]
    return together([read_measured(result) for result in night.engine.run("measure", tasks)])


def _publish(night: Night, ready: _Ready, findings: _Findings, origins: Origins) -> Built:
    imported = night.imported
    shop = shop_profile(
        imported.events,
        target_kind=night.target_kind,
        n_items=ready.manifest.counts["items"],
        n_offers=ready.manifest.counts["offers"],
        span_us=imported.last_us - imported.first_us,
        memory_bytes=night.memory_bytes,
        temp_dir=night.engine.work_dir,
    )
    report = make_report(
        manifest=ready.manifest,
        imported=imported,
        plan=night.plan,
        shop=shop,
        measured=findings.measured,
        verdict=findings.verdict,
        weights=findings.weights,
        stages=night.engine.listener.costs,
        origins=origins,
        seed=night.config.learn.seed,
        memory_bytes=night.memory_bytes,
    )
    reports = {"report.json": report_json(report), "report.html": render(report).encode()}
    ready.writer.publish(ready.manifest, reports)
    return Built(manifest=ready.manifest, report=report)
