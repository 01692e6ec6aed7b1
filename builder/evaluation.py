"""A finished snapshot, measured on events that came later than its tables.

The same questions, baselines and figures as in a build's report, from the same code. What is
learned here is learned by the baselines alone, from the events before the moment that the tables
stand for: the snapshot is only read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from builder.config import Config, Input, load
from builder.duck import connect, literal
from builder.effort import SPENDING
from builder.engine import Engine
from builder.errors import DataGate, UsageError
from builder.evaluate import Measured
from builder.evaluation_report import Evaluation, Seen, notes
from builder.intake import Imported, Inputs, import_inputs
from builder.known_rows import write_known_rows
from builder.measuring import measure_snapshot
from builder.night import TARGET_KINDS
from builder.profile import orders_between, shop_profile
from builder.report import figures_of
from builder.signals.orders import Vocabulary, partitions_of
from builder.slices import load_slices
from builder.split import Cut, plan_around
from builder.telling import import_summary
from index.generation import Generation
from index.manifest import Manifest
from index.snapshot import open_snapshot

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def settings_for(
    manifest: Manifest, timezone: str, path: Path | None, overrides: dict[str, object]
) -> Config:
    """How the events are read: as the build read its own, unless file or flags say otherwise.

    Args:
        manifest: of the snapshot.
        timezone: of the snapshot; its tables' hours are local to it.
        path: an almanac.toml, or None.
        overrides: from flags, see `config.load`.

    Raises:
        UsageError: the file is of another brand.
        ConfigError: see `config.load`.
    """
    known = {entry.name for entry in fields(Input)}
    usual: dict[str, object] = {
        f"input.{name}": value for name, value in _told_input(manifest).items() if name in known
    }
    usual |= {"brand.name": manifest.brand, "learn.seed": manifest.build.get("seed", 0)}
    chosen = load(path, {**overrides, "brand.timezone": timezone}, usual=usual)
    if chosen.brand.name != manifest.brand:
        raise UsageError(
            f"the snapshot is of brand {manifest.brand}, the configuration of {chosen.brand.name}",
            hint="give the configuration that the snapshot was built with, or none",
            path=path,
        )
    return chosen


def _told_input(manifest: Manifest) -> dict[str, Any]:
    """How the build read its events, as far as it says so."""
    told = manifest.build.get("input")
    return told if isinstance(told, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later:
    """The events that a snapshot is evaluated on.

    Attributes:
        engine: runs the tasks.
        snapshot_dir: the snapshot.
        manifest: its manifest.
        imported: the events.
        vocabulary: the snapshot's own rows of the events' items.
        cut: of the tables.
        config: how events are read and judged.
        memory_bytes: for work in this process.
    """

    engine: Engine
    snapshot_dir: Path
    manifest: Manifest
    imported: Imported
    vocabulary: Vocabulary
    cut: Cut
    config: Config
    memory_bytes: int

    @property
    def target_kind(self) -> int:
        """Kind of event that makes an order."""
        return TARGET_KINDS[self.config.input.target]

    def n_orders(self, from_us: int, until_us: int, holdout_share: float = 0.0) -> int:
        """Orders in [from, until), without those of held-out customers."""
        return orders_between(
            self.imported.events,
            self.target_kind,
            from_us,
            until_us,
            holdout_share=holdout_share,
            memory_bytes=self.memory_bytes,
            temp_dir=self.engine.work_dir,
        )


def evaluate(
    engine: Engine,
    snapshot_dir: Path,
    inputs: Inputs,
    config: Config,
    secret: bytes,
    *,
    ablate: bool,
    command: str,
    memory_bytes: int,
) -> Evaluation:
    """Measure a snapshot.

    Args:
        engine: runs the tasks.
        snapshot_dir: what `almanac build --out` wrote.
        inputs: files of events, and of the catalogue.
        config: from `settings_for`.
        secret: of the brand; keys customer ids as the build did.
        ablate: also take each signal out of the sum.
        command: for the report: what repeats it.
        memory_bytes: for work in this process.

    Raises:
        SnapshotError: the snapshot cannot be opened, or was built with another secret.
        DataGate: no order is later than the tables, or the tables know none of the items.
    """
    # A wrong secret should be known before an hour of reading.
    with open_snapshot(snapshot_dir, secret) as generation:
        inherited = _told_input(generation.manifest).get("map")
    imported = import_inputs(engine, inputs, config, secret, in_part=True, inherited=inherited)
    with open_snapshot(snapshot_dir, secret) as generation:
        later = _Later(
            engine=engine,
            snapshot_dir=snapshot_dir.absolute(),
            manifest=generation.manifest,
            imported=imported,
            vocabulary=write_known_rows(
                generation,
                Vocabulary.in_dir(imported.vocabulary_dir).items_path,
                engine.work_dir / "known",
                memory_bytes=memory_bytes,
            ),
            cut=Cut(
                until_us=int(generation.manifest.data["as_of_us"]),
                holdout_share=float(generation.manifest.build.get("holdout") or 0.0),
            ),
            config=config,
            memory_bytes=memory_bytes,
        )
        seen = _seen(generation, later)
    _require_answers(later, seen)
    measured = _measure(later, knows_past=seen.n_orders_before > 0, ablate=ablate)
    return Evaluation(
        **figures_of(measured),
        brand=later.manifest.brand,
        snapshot_id=later.manifest.snapshot_id,
        seen=seen,
        min_orders=config.evaluation.min_orders,
        shop=shop_profile(
            imported.events,
            target_kind=later.target_kind,
            n_items=int(imported.report["vocabulary"]["n_items"]),
            n_offers=later.manifest.counts["offers"],
            span_us=imported.last_us - imported.first_us,
            by_lot=imported.by_lot,
            memory_bytes=memory_bytes,
            temp_dir=engine.work_dir,
        ),
        imports=import_summary(imported),
        notes=tuple(notes(seen, min_orders=config.evaluation.min_orders)),
        command=command,
    )


def _seen(generation: Generation, later: _Later) -> Seen:
    manifest, imported, cut = later.manifest, later.imported, later.cut
    until_us = imported.last_us + 1
    events = f"read_parquet([{', '.join(map(literal, imported.events))}])"
    after = f"kind = {later.target_kind} AND ts_us >= {cut.until_us}"
    with connect(later.memory_bytes, later.engine.work_dir) as connection:
        keys = connection.execute(
            f"""SELECT DISTINCT customer_hi, customer_lo FROM {events}
                WHERE {after} AND (customer_hi <> 0 OR customer_lo <> 0)"""
        ).fetchall()
        [(n_lines, n_unknown)] = connection.execute(
            f"""SELECT count(*), count(*) FILTER (item_id NOT IN (
                    SELECT item_id FROM read_parquet({literal(later.vocabulary.items_path)})
                    WHERE item_row IN (SELECT item_row
                        FROM read_parquet({literal(later.vocabulary.item_offers_path)}))))
                FROM {events} WHERE {after}"""
        ).fetchall()
    with generation.reading() as reader:
        n_known = sum(
            reader.customer(high.to_bytes(8, "big") + low.to_bytes(8, "big")) is not None
            for high, low in keys
        )
    holdout = manifest.build.get("holdout")
    return Seen(
        as_of=_EPOCH + timedelta(microseconds=cut.until_us),
        holdout=None if holdout is None else float(holdout),
        n_orders_learned=manifest.counts["orders"],
        n_orders_before=later.n_orders(imported.first_us, cut.until_us, cut.holdout_share),
        n_orders_after=later.n_orders(cut.until_us, until_us),
        n_customers_after=len(keys),
        n_customers_known=n_known,
        n_lines_after=n_lines,
        n_lines_unknown=n_unknown,
    )


def _require_answers(later: _Later, seen: Seen) -> None:
    """Refuse events that no figure could come from."""
    target = later.config.input.target
    if later.imported.by_lot:
        raise DataGate(
            "events: all have the same time, so none can be told to be later than the tables",
            hint="give events with times",
        )
    if seen.n_orders_after == 0:
        raise DataGate(
            f"events: none is a {target} at or after {seen.as_of:%Y-%m-%d %H:%M} UTC, the moment"
            " that the tables stand for; they have seen what came before",
            hint="give later events, or build the snapshot again with an earlier --as-of",
        )
    if seen.n_lines_unknown == seen.n_lines_after:
        raise DataGate(
            f"events: the snapshot knows none of the items of the {seen.n_lines_after:,} lines"
            " after its moment",
            hint="are these events of the same shop, with the same item ids?",
        )


def _measure(later: _Later, *, knows_past: bool, ablate: bool) -> Measured:
    imported = later.imported
    slices = load_slices(
        later.engine,
        partitions_of(imported.events),
        later.vocabulary,
        plan_around(
            first_us=imported.first_us,
            last_us=imported.last_us,
            cut=later.cut,
            slice_days=later.config.evaluation.slice_days,
        ),
        n_items=later.manifest.counts["items"],
        n_offers=later.manifest.counts["offers"],
        target_kind=later.target_kind,
        min_orders=later.config.evaluation.min_orders,
    )
    return measure_snapshot(
        later.engine,
        later.snapshot_dir,
        later.manifest,
        slices,
        knows_past=knows_past,
        ablate=SPENDING["thorough"].ablate if ablate else 0,
        seed=later.config.learn.seed,
    )
