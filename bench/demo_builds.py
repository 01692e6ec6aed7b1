"""Builds of the demo's shop as it was written, with their own table out of stdout's way."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

from builder.cli import build
from builder.effort import Effort


def build_demo(
    inputs: tuple[Path, Path, Path],
    out: Path,
    *,
    secret_path: Path,
    effort: Effort,
    as_of: str | None = None,
    parent: Path | None = None,
) -> None:
    """Build a snapshot, whatever its report says.

    Args:
        inputs: as `builder.demo_inputs.write_inputs` tells them.
        out: the snapshot's folder.
        secret_path: file of the brand's secret.
        effort: of learning.
        as_of: the moment the tables stand for; by default that after the last event.
        parent: snapshot of an earlier night to go on from.
    """
    events, items, config = inputs
    with redirect_stdout(sys.stderr):
        build(
            events=[str(events)],
            items=[str(items)],
            config=config,
            out=out,
            as_of=as_of,
            effort=effort,
            secret_file=secret_path,
            incremental=parent,
            force=True,
        )
