"""The verb `almanac scorecard`: measure on a shop's own events, judge, and write it down."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from cyclopts import Parameter
from cyclopts.validators import Number

from bench.load.cli import Contradiction
from bench.load.target import target_of
from bench.machine import machine_facts
from bench.scorecard.answers import OWN_PATH
from bench.scorecard.beside import FORMAT, VERSION, read_scorecard
from bench.scorecard.card import Found, Plan, measured
from bench.scorecard.lines import FAILED, NOT_MEASURED, PARTS, PASSED, Line, worst
from bench.scorecard.page import render
from bench.scorecard.place import FIGURES, PAGE, held
from bench.scorecard.shop import Wish
from bench.scorecard.sla import Sla, parsed_slas
from bench.scorecard.template import read_template
from builder.cli import renames
from builder.config import Config
from builder.config import load as load_config
from builder.effort import Effort
from builder.evaluation import settings_for
from index.snapshot import open_snapshot

MISSED: Final = 7
NO_VERDICT: Final = 75
DEFAULT_SLA: Final = "p99<1ms at 5x"
Part = Literal["peak", "volume", "cold", "segments", "trial"]
Positive = Annotated[float, Parameter(validator=Number(gt=0))]


def scorecard(
    *,
    events: Annotated[list[str], Parameter(consume_multiple=True)],
    items: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    snapshot: Path | None = None,
    url: str | None = None,
    template: Path | None = None,
    answer_path: str = OWN_PATH,
    name: str | None = None,
    sla: list[str] | None = None,
    rate: Positive | None = None,
    seconds: Positive = 15.0,
    day_seconds: Positive = 20.0,
    speed: Positive | None = None,
    scale: Positive | None = None,
    only: Annotated[list[Part] | None, Parameter(consume_multiple=True)] = None,
    beside: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    following: Path | None = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=256))] = 1,
    connections: Annotated[int, Parameter(validator=Number(gte=1, lte=20_000))] = 64,
    config: Path | None = None,
    rename: Annotated[list[str] | None, Parameter(name="--map", consume_multiple=True)] = None,
    later_share: Annotated[float, Parameter(validator=Number(gt=0, lt=0.9))] = 0.1,
    as_of: str | None = None,
    effort: Effort = "quick",
    max_bad: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    secret_file: Path | None = None,
    out: Path = Path("scorecard"),
    json: bool = False,
) -> int:
    """Measure what a buyer asks for on the shop's own events, and say where promises were kept.

    Builds a snapshot of the earlier events, serves it, and asks about the later ones: steps and a
    spike in an open loop, a real day, strangers, segments, and a node to which everything happens
    at once. Writes scorecard.html and scorecard.json, with a verdict for each line, its evidence
    and the command that repeats it. Ends with exit code 7 when a promise was missed, 75 when one
    could not be measured, and 6 when another run writes to the same folder.

    Example: `almanac scorecard --events 'orders/*.csv.gz' --sla "p99<1ms at 5x"`

    Example: `almanac scorecard --events orders.csv --url http://10.0.0.7/rank --template req.json
    --answer-path 'items.*.id' --rate 200`

    Parameters
    ----------
    events
        Files or patterns of order lines, read as `almanac build` reads them.
    items
        Files of the catalogue.
    snapshot
        Serve this one instead of building; it must be of the same shop, with events later than it.
    url
        Ask this service instead, which runs already: http:// alone. Nothing is built.
    template
        JSON file of its requests, with {customer_id}, {k}, {items}, {item} and {placement}; by
        default it is asked as ours would be.
    answer_path
        Where offers' ids stand in its answers; * goes through a list.
    name
        What the service is called on the page.
    sla
        What was promised, such as "p99<1ms at 5x" or "errors<0.1% at 10x"; several joined by commas
        or given several times. With "of volume" after the load, 1× is the shop's average day.
    rate
        Requests a second that 1× stands for; 12 % of what the service answers at most by default.
        Needed for the peak with --url, which is not to be hammered unasked.
    seconds
        Length of the steps; the spike takes two thirds of it.
    day_seconds
        Length of each day that is replayed.
    speed
        Of the usual day, times real time, instead of --day-seconds; 1 is real time.
    scale
        Of the usual day: so many orders a day, instead.
    only
        Parts to measure: peak, volume, cold, segments, trial.
    beside
        scorecard.json of other services, to stand on the same page.
    following
        Snapshot that the peak trial swaps in; another one of the same tables by default.
    workers
        Processes that answer, outside of the peak trial.
    connections
        Of the driver, with --url.
    config
        An almanac.toml, for reading and building.
    rename
        SOURCE=OURS, renames a column.
    later_share
        Share of the events' time that is kept from the tables, to ask about.
    as_of
        The moment the tables stand for, instead.
    effort
        Of the build: quick, standard or thorough.
    max_bad
        Share of bad rows above which nothing is measured, with exit code 5.
    secret_file
        File with the brand's secret.
    out
        Folder for scorecard.html, scorecard.json and the snapshot, which replaces an earlier one.
    json
        Print verdicts as JSON instead of lines.
    """
    _check(
        has_snapshot=snapshot is not None,
        has_url=url is not None,
        has_template=template is not None,
        n_speeds=(speed is not None) + (scale is not None),
    )
    slas = parsed_slas(sla or [DEFAULT_SLA])
    if rate is not None and slas[0].of_volume:
        raise Contradiction(
            "--rate and a promise `of volume` both say what 1× is: give one of them"
        )
    needs_rate = "peak" in (only or PARTS) and not slas[0].of_volume
    if url is not None and rate is None and needs_rate:
        raise Contradiction("--url needs --rate: a service that is not ours is not to be hammered")
    target = None if url is None else target_of(url)
    facts = machine_facts(shlex.join(["almanac", *sys.argv[1:]]))
    others = [read_scorecard(path) for path in beside or ()]
    chosen = _settings(config, rename, max_bad, snapshot)
    given = {
        "--items": items,
        "--url": url,
        "--template": template,
        "--answer-path": None if answer_path == OWN_PATH else answer_path,
        "--config": config,
        "--map": rename,
        # What is later is told by a snapshot, but not by a service at a URL.
        "--later-share": later_share if url and as_of is None else None,
        "--as-of": as_of if url else None,
        "--max-bad": max_bad,
        "--secret-file": secret_file,
        "--seconds": f"{seconds:g}",
        "--day-seconds": f"{day_seconds:g}",
        "--speed": speed,
        "--scale": scale,
        "--following": following,
        "--workers": workers,
        "--connections": connections if url else None,
    }
    plan = Plan(
        wish=Wish(
            events=tuple(events),
            items=tuple(items or ()),
            config_path=config,
            config=chosen,
            renames=tuple(rename or ()),
            secret_file=secret_file,
            later_share=later_share,
            as_of=as_of,
            effort=effort,
            folder=out,
        ),
        snapshot_dir=snapshot,
        target=target,
        template=None if template is None else read_template(template),
        path=answer_path,
        name=name or (chosen.brand.name if url is None else url),
        slas=slas,
        rate=rate,
        seconds=seconds,
        day_seconds=day_seconds,
        speed=speed,
        scale=scale,
        following=following,
        workers=workers,
        connections=connections,
        only=only or tuple(PARTS),
        command=_repeats(events, slas, given, out),
    )
    with held(out):
        found = measured(plan)
        told = _told(plan.name, found, facts, slas, others)
        (out / PAGE).write_text(render(told, found.lines), encoding="utf-8")
        (out / FIGURES).write_bytes(orjson.dumps(told))
    print(orjson.dumps(_verdicts(told)).decode() if json else _as_text(found.lines))
    print(f"the page: {out / PAGE}", file=sys.stderr)
    if not any(line.is_promise for line in found.lines):
        return 0  # findings alone were asked for
    return {PASSED: 0, FAILED: MISSED, NOT_MEASURED: NO_VERDICT}[told["verdict"]]


def _settings(
    config: Path | None, rename: list[str] | None, max_bad: float | None, snapshot: Path | None
) -> Config:
    """How events are read; where there is a snapshot, as its build read them."""
    overrides: dict[str, object] = {
        "input.map": renames(rename) if rename else None,
        "input.max_bad": max_bad,
    }
    if snapshot is None:
        return load_config(config, overrides)
    with open_snapshot(snapshot) as generation:
        return settings_for(generation.manifest, generation.model.timezone, config, overrides)


def _check(*, has_snapshot: bool, has_url: bool, has_template: bool, n_speeds: int) -> None:
    """Refuse flags that can't be meant together, before anything is read."""
    if has_snapshot and has_url:
        raise Contradiction("--snapshot and --url exclude each other: one service is measured")
    if has_template and not has_url:
        raise Contradiction("--template is for --url: ours is asked as it wants to be")
    if n_speeds > 1:
        raise Contradiction("--speed and --scale both say how fast orders come: give one of them")


def _repeats(
    events: Sequence[str], slas: Sequence[Sla], given: dict[str, Any], out: Path
) -> Callable[[str, Path | None, float | None], str]:
    """What makes the command of a part; it writes beside the whole, not over it."""
    words = ["almanac", "scorecard", "--events", *events]
    for flag, value in given.items():
        if value is not None:
            words += [flag, *map(str, value if isinstance(value, list) else [value])]
    for sla in slas:
        words += ["--sla", sla.text]

    def command(part: str, snapshot_dir: Path | None, rate: float | None) -> str:
        more = [] if snapshot_dir is None else ["--snapshot", _near(snapshot_dir)]
        more += [] if rate is None else ["--rate", f"{rate:.6g}"]
        more += ["--only", part, "--out", f"{out}-again"]
        return shlex.join([*words, *more])

    return command


def _near(path: Path) -> str:
    """As one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _told(
    name: str,
    found: Found,
    facts: dict[str, Any],
    slas: Sequence[Sla],
    others: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """What the file says."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_at": f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        "verdict": worst([line.verdict for line in found.lines if line.is_promise]),
        "service": {"name": name, "url": found.url, "about": found.about},
        "slas": [sla.text for sla in slas],
        "rate": found.rate,
        "machine": facts,
        "stood_still": None if found.stood_still is None else asdict(found.stood_still),
        "lines": [asdict(line) for line in found.lines],
        "runs": {run.name: run.kept() for run in found.runs},
        "beside": [
            {key: other[key] for key in ("service", "runs", "lines", "made_at")} for other in others
        ],
    }


def _verdicts(told: dict[str, Any]) -> dict[str, Any]:
    keys = ("part", "title", "verdict", "sentence", "command")
    return {
        "verdict": told["verdict"],
        "lines": [{key: line[key] for key in keys} for line in told["lines"]],
    }


def _as_text(lines: Sequence[Line]) -> str:
    width = max(len(line.verdict) for line in lines)
    told = [
        f"{line.verdict:<{width}}  {line.title}\n{'':<{width}}  {line.sentence}" for line in lines
    ]
    return "\n".join(told)
