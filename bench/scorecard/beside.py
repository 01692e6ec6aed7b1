"""Several services on one page: what other scorecards measured at the same loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from bench.percentiles import as_ms
from bench.scorecard.lines import Table
from builder.errors import InputNotFound

FORMAT: Final = "almanac-scorecard"
VERSION: Final = 1
_RUNS: Final = ("step", "spike")


class NoScorecard(Exception):
    """A file that was to stand beside is no scorecard."""

    exit_code = 2
    hint = "give the scorecard.json that `almanac scorecard` wrote"


def read_scorecard(path: Path) -> dict[str, Any]:
    """A scorecard that another run wrote, without its samples.

    Raises:
        InputNotFound: it can't be read.
        NoScorecard: it is something else.
    """
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as problem:
        raise InputNotFound(f"--beside {path}: {problem.strerror}", path=path) from problem
    except orjson.JSONDecodeError as problem:
        raise NoScorecard(f"{path}: {problem}") from problem
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NoScorecard(f"{path} is no scorecard")
    if found.get("version") != VERSION:
        raise NoScorecard(f"{path} is of version {found.get('version')}, expected {VERSION}")
    for run in found["runs"].values():
        run.pop("samples", None)
    return found


def beside_table(ours: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Table:
    """Waits, errors and quality of all at each load that ours has."""
    everyone = [ours, *others]
    header = ["load", *(one["service"]["name"] for one in everyone)]
    rows = [["NDCG@10 at rest", *(_quality(one, "at_rest") for one in everyone)]]
    rows.append(["NDCG@10 at peak", *(_quality(one, "at_peak") for one in everyone)])
    for run in _RUNS:
        phases = ours["runs"].get(run, {}).get("phases", {})
        rows += [
            [f"{run}, {phase}", *(_cell(one, run, phase) for one in everyone)] for phase in phases
        ]
    return Table(
        caption="Each cell: requests asked for a second, median and 99th percentile of waiting,"
        " errors. A run whose driver was the bottleneck says nothing, nor does one whose answers"
        " held no offer.",
        header=header,
        rows=rows,
    )


def _quality(scorecard: Mapping[str, Any], where: str) -> str:
    found = [line["figures"][where] for line in scorecard["lines"] if where in line["figures"]]
    return f"{found[0]:.4f}" if found else "–"


def _cell(scorecard: Mapping[str, Any], run: str, phase: str) -> str:
    whole = scorecard["runs"].get(run)
    if whole is None or phase not in whole["phases"]:
        return "–"
    # Earlier scorecards kept the driver's verdict alone.
    if whole.get("distrust") is not None or not whole["verdict"]["is_trusted"]:
        return "not measured"
    found = whole["phases"][phase]
    waits = " / ".join(as_ms(found["latency"][name]) for name in ("p50_us", "p99_us"))
    errors = sum(found["errors"].values())
    return f"{found['asked_per_s']:,.0f}/s: {waits} ms, {errors:,} errors"
