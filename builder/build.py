"""The night on one page: from imported orders to a published snapshot with its report.

Weights are learned on orders later than the tables they weigh, and figures come from orders later
still (`split`). When such orders exist after the moment the tables stand for, the shipped tables
themselves are measured; otherwise a rehearsal of them is, and what ships is made again from all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from threadpoolctl import threadpool_limits

from builder import gate
from builder.answering import K
from builder.asked import write_asked
from builder.assemble import Facts, Policy, assemble, golden_requests, untrained
from builder.cases import Case, load_cases
from builder.choices import Choice, trees_choice
from builder.config import Config
from builder.continuing import Continued, keeping_of
from builder.errors import DataGate
from builder.evaluate import Measured
from builder.keeping import Keeping
from builder.learning import Counted, Learned, count_cut, learn_cut
from builder.measuring import measure_snapshot
from builder.night import Night
from builder.pairing import learn_pair_model, with_pairs
from builder.parent import require_no_loss
from builder.profile import orders_between, shop_profile
from builder.redemptions import load_redemptions
from builder.report import Report
from builder.report_files import report_files
from builder.scoring import RUN_NAME, ScorePartition
from builder.search import Found, search
from builder.signals.collaborative import CollaborativeSettings
from builder.signals.context import ContextSettings
from builder.signals.counts import CountSettings, foretold_days
from builder.signals.learn import SignalSettings
from builder.signals.orders import DAY_US, VIEW
from builder.signals.pair_model import PairModel
from builder.signals.personal_model import PersonalModel
from builder.signals.prior import PriorSettings
from builder.slices import Slices, load_slices, read_slice
from builder.split import Cut
from builder.tables import LearnedArrays, binding_of, open_learned
from builder.teaching import learn_personal
from builder.telling import Origins, make_report
from builder.weights import LearnedWeights, learn_weights
from index.layout import secret_check
from index.manifest import Manifest
from index.model import ANY_PLACEMENT, TIERS
from index.snapshot import open_snapshot
from index.writer import SnapshotWriter

WEIGHT_CUSTOMERS: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build ends with: the shipped snapshot's manifest and its report."""

    manifest: Manifest
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lessons:
    """What was learned before and on the weight slice, and the cases weights come from."""

    n_offers: int
    found: Found
    personal: PersonalModel
    pairs: PairModel | None
    weights: LearnedWeights
    cases: list[Case]


@dataclass(frozen=True, slots=True)
class _Findings:
    """What the report has to tell about quality, and how it came about."""

    measured: Measured
    verdict: gate.Verdict
    weights: LearnedWeights
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """An assembled snapshot that has no name yet."""

    writer: SnapshotWriter
    manifest: Manifest


def build(night: Night, out_dir: Path, *, command: str, force: bool) -> Built:
    """Learn, write, measure and publish.

    Args:
        night: what to work with.
        out_dir: the snapshot to make; nothing is there yet.
        command: for the report: what repeats this build.
        force: publish even tables that are worse than plain popularity.

    Raises:
        DataGate: the tables are worse than plain popularity, or an incremental build lost orders
            or items that its parent has; nothing is at `out_dir` then.
    """
    started_at = datetime.now(UTC)
    if night.parent is not None and not force:
        require_no_loss(
            night.parent,
            n_orders=_orders_of(night, night.plan.shipped),
            n_items=night.n_items,
            max_loss=night.config.input.max_loss,
        )
    lessons = _learn_weights(night)
    plan = night.plan
    # A rehearsal is assembled in the work folder and forgotten, what ships beside its place.
    path = night.engine.work_dir / "rehearsal" if plan.is_rehearsal else out_dir
    slices = _load_slices(night, lessons)
    # What only is measured needs those whom it is measured on; what ships needs all.
    cases = read_slice(slices.measured_dir).cases if plan.is_rehearsal else None
    keeps = not plan.is_rehearsal
    with _assembled(night, lessons, "measured", plan.measured, path, cases, keeps=keeps) as ready:
        measured = _measure(night, ready, slices)
        verdict = gate.judge(measured.slices)
        if not verdict.passed and not force:
            raise DataGate(
                "; ".join(verdict.reasons),
                hint="find out why before this ships, or ship all the same with --force",
            )
        choices = (*lessons.found.choices, *trees_choice(lessons.personal))
        findings = _Findings(measured, verdict, lessons.weights, choices)
        origins = Origins(command=command, started_at=started_at)
        if not plan.is_rehearsal:
            return _publish(night, ready, findings, origins)
    with _assembled(night, lessons, "shipped", plan.shipped, out_dir, keeps=True) as ready:
        return _publish(night, ready, findings, origins)


def _learn_weights(night: Night) -> _Lessons:
    """The personal model and all weights, from the slice after the first cut."""
    plan = night.plan
    counted = _count(night, "weights", plan.weights)
    found = search(
        night.engine,
        counted.merged_dir,
        night.spending.collaborative,
        rounds=night.spending.search_rounds,
    )
    learned, arrays = _learn(night, counted, found.settings)
    personal = learn_personal(
        night.engine,
        night.partitions,
        night.vocabulary,
        plan.weights,
        plan.weights_until_us,
        since_us=night.imported.first_us,
        globals_dir=learned.globals_dir,
        holdout_share=plan.measured.holdout_share,
        settings=replace(night.spending.personal, target_kind=night.target_kind),
    )
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
    # Weights are learned from customers who taught the trees: each is told what the others did.
    crossed = replace(personal, crosses=True)
    asked = [*cases, *redemptions]
    runs = _score(night, "weights", plan.weights, crossed, learned.globals_dir, asked)
    # One thread, as in tasks: sums of more of them depend on how many there are.
    with night.engine.listener.stage("pairs"), threadpool_limits(1, "blas"):
        pairs, arrays = learn_pair_model(
            cases,
            plan.weights,
            arrays,
            learned,
            night.vocabulary,
            memory_bytes=night.memory_bytes,
            temp_dir=night.engine.work_dir,
        )
    ones = _Lessons(
        found=found,
        personal=personal,
        pairs=pairs,
        weights=untrained(night.signals, TIERS),
        cases=[],
        n_offers=arrays.n_offers,
    )
    path = night.engine.work_dir / "weighing"
    with (
        _writing(night, ones, arrays, runs, plan.weights, path=path) as ready,
        night.engine.listener.stage("weights"),
        open_snapshot(ready.writer.aside) as opened,
    ):
        weights = learn_weights(opened, cases, night.signals, redemptions)
    return replace(ones, weights=weights, cases=cases)


def _count(night: Night, label: str, cut: Cut) -> Counted:
    return count_cut(
        night.engine,
        label,
        night.partitions,
        night.vocabulary,
        cut,
        settings=CountSettings(
            target_kind=night.target_kind,
            pair_unit=night.pair_unit,
            foretold_days=foretold_days((cut.until_us - night.imported.first_us) // DAY_US),
            in_sequence=night.target_kind == VIEW and night.pair_unit == "order",
        ),
    )


def _learn(
    night: Night,
    counted: Counted,
    collaborative: CollaborativeSettings,
    *,
    features: tuple[str, ...] | None = None,
) -> tuple[Learned, LearnedArrays]:
    """The tables of a cut; of context features only those with a weight, once there are weights."""
    # Drawn lots have no past to forget.
    by_lot = night.imported.by_lot
    learned = learn_cut(
        night.engine,
        counted,
        night.vocabulary,
        n_items=night.n_items,
        signals=SignalSettings(
            prior=PriorSettings(half_lives_days=(None,)) if by_lot else PriorSettings(),
            context=ContextSettings(features=features),
        ),
        collaborative=collaborative,
    )
    arrays = open_learned(
        learned.globals_dir,
        learned.merged_dir,
        night.vocabulary,
        night.memory_bytes,
        night.engine.work_dir,
    )
    return learned, arrays


def _score(  # noqa: PLR0917  # what a task holds, in its order
    night: Night,
    label: str,
    cut: Cut,
    personal: PersonalModel,
    globals_dir: Path,
    cases: Sequence[Case] | None,
    keeping: Keeping | None = None,
) -> list[Path]:
    """Customer records of a cut: of those that cases ask about, or of all."""
    asked_path = None
    if cases is not None:
        asked_path = write_asked((case.key for case in cases), night.engine.work_dir)
    tasks = [
        ScorePartition(
            partition=partition,
            vocabulary=night.vocabulary,
            cut=cut,
            model=personal,
            globals_dir=globals_dir,
            asked_path=asked_path,
            keeping=keeping,
        )
        for partition in night.partitions
    ]
    return [result / RUN_NAME for result in night.engine.run(f"score-{label}", tasks)]


@contextmanager
def _assembled(  # noqa: PLR0917  # what tells a snapshot of one build from another
    night: Night,
    lessons: _Lessons,
    label: str,
    cut: Cut,
    path: Path,
    cases: Sequence[Case] | None = None,
    *,
    keeps: bool,
) -> Iterator[_Ready]:
    """A snapshot of one cut, with rows of those whom cases ask about, or of all.

    It is gone afterwards unless it was published. What `keeps` goes on from the earlier snapshot of
    an incremental build.
    """
    learned, arrays = _learn(
        night,
        _count(night, label, cut),
        lessons.found.settings,
        features=lessons.weights.context_features,
    )
    with ExitStack() as opened:
        kept = None
        if keeps and night.parent is not None:
            kept = opened.enter_context(keeping_of(night.parent, arrays, night.engine.work_dir))
            arrays = kept.tables.arrays
        runs = _score(
            night,
            label,
            cut,
            lessons.personal,
            learned.globals_dir,
            cases,
            None if kept is None else kept.keeping,
        )
        arrays = with_pairs(
            night.engine,
            label,
            arrays,
            model=lessons.pairs,
            learned=learned,
            vocabulary=night.vocabulary,
        )
        yield opened.enter_context(
            _writing(night, lessons, arrays, runs, cut, path=path, kept=kept)
        )


@contextmanager
def _writing(
    night: Night,
    lessons: _Lessons,
    learned: LearnedArrays,
    runs: list[Path],
    cut: Cut,
    *,
    path: Path,
    kept: Continued | None = None,
) -> Iterator[_Ready]:
    config, check = night.config, secret_check(night.secret)
    binding = binding_of(learned, check)
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
                    n_orders=_orders_of(night, cut),
                    build={
                        "seed": config.learn.seed,
                        "effort": config.learn.effort,
                        "input": _told(config),
                        "holdout": cut.holdout_share,
                    },
                ),
                secret=night.secret,
                binding=binding,
                golden=golden_requests(lessons.cases, learned.contexts),
                item_pass=None if kept is None else kept.items.record,
            )
        if kept is not None:
            told = {**manifest.build, "incremental": kept.told(runs)}
            manifest = msgspec.structs.replace(manifest, build=told)
        yield _Ready(writer=writer, manifest=manifest)


def _orders_of(night: Night, cut: Cut) -> int:
    return orders_between(
        night.imported.events,
        night.target_kind,
        night.imported.first_us,
        cut.until_us,
        holdout_share=cut.holdout_share,
        memory_bytes=night.memory_bytes,
        temp_dir=night.engine.work_dir,
    )


def _told(config: Config) -> dict[str, Any]:
    """How the input was read; the brand's own test customers and orders stay with the brand."""
    return {
        name: value
        for name, value in asdict(config.input).items()
        if name not in ("test_customers", "test_orders")
    }


def _load_slices(night: Night, lessons: _Lessons) -> Slices:
    return load_slices(
        night.engine,
        night.partitions,
        night.vocabulary,
        night.plan,
        n_items=night.n_items,
        n_offers=lessons.n_offers,
        target_kind=night.target_kind,
        min_orders=night.config.evaluation.min_orders,
    )


def _measure(night: Night, ready: _Ready, slices: Slices) -> Measured:
    return measure_snapshot(
        night.engine,
        ready.writer.aside,
        ready.manifest,
        slices,
        knows_past=True,
        ablate=night.spending.ablate,
        seed=night.config.learn.seed,
    )


def _publish(night: Night, ready: _Ready, findings: _Findings, origins: Origins) -> Built:
    imported = night.imported
    shop = shop_profile(
        imported.events,
        target_kind=night.target_kind,
        n_items=ready.manifest.counts["items"],
        n_offers=ready.manifest.counts["offers"],
        span_us=imported.last_us - imported.first_us,
        by_lot=imported.by_lot,
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
        choices=findings.choices,
        stages=night.engine.listener.costs,
        origins=origins,
        seed=night.config.learn.seed,
        memory_bytes=night.memory_bytes,
    )
    ready.writer.publish(ready.manifest, report_files(report))
    return Built(manifest=ready.manifest, report=report)
