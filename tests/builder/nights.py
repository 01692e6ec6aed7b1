"""A whole build in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builder.build import Built, build
from builder.config import Config
from builder.engine import Engine
from builder.intake import Inputs, import_inputs
from builder.night import Night, plan_for
from builder.parent import open_parent
from index.layout import secret_check
from tests.builder.files import NOW_US, SECRET, Row, in_threads, settings, write_rows

MEMORY_BYTES = 2**30


def build_here(
    folder: Path,
    rows: Sequence[Row],
    config: Config | None = None,
    *,
    items: Sequence[Row] = (),
    offers: Sequence[Row] = (),
    parent: Path | None = None,
) -> Built:
    """Build `folder/snapshot` from rows, on top of an earlier snapshot if one is given."""
    inputs = Inputs(
        events=_written(folder / "events.csv", rows),
        items=_written(folder / "items.csv", items),
        offers=_written(folder / "offers.jsonl", offers),
    )
    return build_inputs(folder, inputs, config, parent=parent)


def build_inputs(
    folder: Path,
    inputs: Inputs,
    config: Config | None = None,
    *,
    parent: Path | None = None,
    over: Engine | None = None,
) -> Built:
    """Build `folder/snapshot` in this process, or over an engine that is given.

    The command line's own tests start others.
    """
    chosen = config or settings()
    earlier = None
    if parent is not None:
        earlier = open_parent(
            parent,
            brand=chosen.brand.name,
            secret_check=secret_check(SECRET),
            target=chosen.input.target,
        )
    with over or in_threads(folder / "work") as engine:
        imported = import_inputs(engine, inputs, chosen, SECRET, now_us=NOW_US, parent=earlier)
        plan = plan_for(imported, chosen, None, MEMORY_BYTES, engine.work_dir)
        night = Night(
            engine=engine,
            config=chosen,
            imported=imported,
            plan=plan,
            secret=SECRET,
            memory_bytes=MEMORY_BYTES,
            parent=earlier,
        )
        return build(night, folder / "snapshot", command="almanac build", force=False)


def _written(path: Path, rows: Sequence[Row]) -> tuple[Path, ...]:
    return (write_rows(path, rows),) if rows else ()
