"""What happened in a build, as the report tells it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from builder.choices import Choice
from builder.evaluate import Measured
from builder.gate import Verdict
from builder.intake import Imported
from builder.libraries import learning_versions
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
    figures_of,
)
from builder.split import Plan
from builder.weights import LearnedWeights
from index.manifest import Manifest
from index.platform import library_versions

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """How and when a build began."""

    command: str
    started_at: datetime


def make_report(
    *,
    manifest: Manifest,
    imported: Imported,
    plan: Plan,
    shop: ShopProfile,
    measured: Measured,
    verdict: Verdict,
    weights: LearnedWeights,
    stages: Sequence[StageCost],
    origins: Origins,
    seed: int,
    memory_bytes: int,
    choices: Sequence[Choice] = (),
) -> Report:
    """Bring everything together."""
    return Report(
        brand=manifest.brand,
        snapshot_id=manifest.snapshot_id,
        measured_on="rehearsal snapshot" if plan.is_rehearsal else "shipped snapshot",
        verdict=verdict,
        imports=import_summary(imported),
        shop=shop,
        windows=_windows(imported, plan),
        stages=tuple(stages),
        weights=tuple(
            TierWeights(
                tier=tier,
                n_examples=weights.n_cases.get(tier, 0),
                n_redemptions=weights.n_redemptions.get(tier, 0),
                weights={"prior": 1.0, **model.weights},
            )
            for tier, model in weights.tiers.items()
        ),
        **figures_of(measured),
        choices=tuple(choices),
        notes=tuple(_notes(manifest)),
        files=tuple(
            SnapshotFile(name=entry.name, size_bytes=entry.size, n_entries=entry.entries)
            for entry in manifest.files
        ),
        origin=Origin(
            command=origins.command,
            seed=seed,
            started_at=origins.started_at,
            finished_at=datetime.now(UTC),
            machine=f"{platform.system()} {platform.release()}, {platform.machine()}",
            n_cores=os.cpu_count() or 1,
            memory_bytes=memory_bytes,
            versions=library_versions() | learning_versions(),
        ),
    )


def _notes(manifest: Manifest) -> Iterator[str]:
    told = manifest.build.get("incremental")
    if told is not None:
        counts = manifest.counts
        yield (
            f"Built on top of {told['parent']}: the records of {told['customers_kept']:,} of"
            f" {counts['customers']:,} customers and of {told['items_kept']:,} of"
            f" {counts['items']:,} items were kept from it, since nothing happened to them."
            f" Incremental builds since the last whole one: {told['depth']}."
        )


def _windows(imported: Imported, plan: Plan) -> tuple[Window, ...]:
    stretches = [
        ("tables that weights are learned with", imported.first_us, plan.weights.until_us),
        ("weights and calibration", plan.weights.until_us, plan.weights_until_us),
        ("tables that are measured", imported.first_us, plan.measured.until_us),
        ("figures of this report", plan.measured.until_us, plan.measured_until_us),
        ("tables that ship", imported.first_us, plan.shipped.until_us),
    ]
    return tuple(
        Window(purpose=purpose, from_at=_moment(start), until_at=_moment(stop), n_orders=None)
        for purpose, start, stop in stretches
    )


def import_summary(imported: Imported) -> ImportSummary:
    """What became of every row of the input."""
    kinds = [kind for kind in ("events", "items", "offers") if kind in imported.report]
    tables = {kind: imported.report[kind] for kind in kinds}
    files = [
        FileRead(
            name=_named([file["path"] for file in table["files"]]),
            kind=kind,
            n_rows=table["rows_read"],
            n_kept=table["rows_kept"],
        )
        for kind, table in tables.items()
    ]
    dropped = [
        Dropped(
            reason=rule["sentence"],
            is_bad=rule["action"] == "quarantine",
            n_rows=rule["rows"],
            samples=tuple(
                SampleRow(file=Path(sample["file"]).name, row=sample["row"], column="", value="")
                for sample in rule["samples"]
            ),
        )
        for table in tables.values()
        for rule in table["rules"]
        if rule["action"] != "adjust"
    ]
    return ImportSummary(
        files=tuple(files),
        n_rows=sum(table["rows_read"] for table in tables.values()),
        n_kept=sum(table["rows_kept"] for table in tables.values()),
        dropped=tuple(dropped),
    )


def _named(paths: list[str]) -> str:
    name = Path(paths[0]).name
    return name if len(paths) == 1 else f"{name} and {len(paths) - 1} more"


def _moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)
