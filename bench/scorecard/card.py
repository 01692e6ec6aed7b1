"""All parts together: the service is found or started, measured, and what was found is gathered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zoneinfo import ZoneInfo

from bench.http_processes import ServerFailed
from bench.load.orders import Orders
from bench.load.schedule import ImpossibleSchedule, speed_for
from bench.load.target import Target
from bench.scorecard.capacity import SHARE, ask_a_few, most_of
from bench.scorecard.cold import cold_line
from bench.scorecard.judging import in_digits
from bench.scorecard.lines import PARTS, Line, not_measured
from bench.scorecard.peak import Peaks, peak_lines
from bench.scorecard.people import people_of
from bench.scorecard.questions import Questions, questions_of
from bench.scorecard.runs import LEAST_TIMEOUT_MS, Run, Service, say
from bench.scorecard.segments import segments_line
from bench.scorecard.serving import served, shared_out
from bench.scorecard.shop import Shop, Wish, check_work, later_orders, remove_work, shop_of
from bench.scorecard.sla import Sla
from bench.scorecard.trial import trial_lines
from bench.scorecard.volume import busiest_day, days_asked_about, usual_day, volume_lines
from bench.standstill import Standstill, standstill
from index.snapshot import open_snapshot
from index.wording import many

POOL: Final = 5000
"""So many questions are asked at peak, evenly spread over the orders."""
_STANDSTILL_SECONDS: Final = 2.0
"""So long the machine is watched at most."""
_PATIENCE: Final = 2
"""So many times the longest wait that was promised is waited for an answer."""
_NO_TABLES: Final = "It needs a snapshot of ours: of a service at a URL only the answers are seen."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and how long.

    Attributes:
        wish: events, and how a snapshot is built.
        snapshot_dir: what to serve; None to build, or with a URL.
        target: a service that runs already; None to serve a snapshot.
        template: of its requests; None for our own.
        path: where ids stand in its answers.
        name: what the service is called.
        slas: what was promised.
        rate: requests a second that 1× stands for; None for a share of the capacity.
        seconds: of the steps.
        day_seconds: of the day that is replayed, and of the busiest one.
        speed: of the day, times real time, instead; None for none.
        scale: orders a day that it is replayed as, instead; None for none.
        following: snapshot that the peak trial swaps in; None for another of the same tables.
        workers: processes that answer.
        connections: of the driver.
        only: parts to measure.
        command: says what repeats a part; given the part, the snapshot and the rate.
    """

    wish: Wish
    snapshot_dir: Path | None
    target: Target | None
    template: Any
    path: str
    name: str
    slas: Sequence[Sla]
    rate: float | None
    seconds: float
    day_seconds: float
    speed: float | None
    scale: float | None
    following: Path | None
    workers: int
    connections: int
    only: Sequence[str]
    command: Callable[[str, Path | None, float | None], str]


@dataclass(slots=True)
class Found:
    """What was measured.

    Attributes:
        about: the service in a sentence.
        url: where it was asked.
        rate: where the base rate comes from, a sentence.
        stood_still: what the machine does by itself; None where no waits are measured.
        lines: by part, in the order of `PARTS`.
        runs: all of them.
    """

    about: str = ""
    url: str = ""
    rate: str = ""
    stood_still: Standstill | None = None
    lines: list[Line] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)


def measured(plan: Plan) -> Found:
    """Measure all parts of a plan."""
    found = Found()
    parts = [part for part in ("cold", "segments") if part in plan.only]
    works = plan.target is None and (bool(parts) or plan.snapshot_dir is None)
    if works:
        check_work(plan.wish)
    shop = None if plan.target is not None else shop_of(plan.wish, plan.snapshot_dir)
    orders, since_us = later_orders(plan.wish) if shop is None else (shop.orders, shop.as_of_us)
    questions = questions_of(orders, plan.template)
    waits = bool({"peak", "volume"} & {*plan.only})
    if waits:
        say("standstill: what this machine does by itself")
        found.stood_still = standstill(
            os.sched_getaffinity(0), min(plan.seconds / 5, _STANDSTILL_SECONDS)
        )
    with _service(plan, shop) as service:
        if shop is None and waits:
            ask_a_few(service, questions)
        found.url = service.target.url
        found.about = _about(plan, shop, orders)
        if "peak" in plan.only:
            _peak(plan, shop, service, questions, since_us, found)
        if "volume" in plan.only:
            _volume(plan, shop, service, questions, found)
    if parts:
        _tables(plan, shop, parts, found)
    if "trial" in plan.only:
        _trial(plan, shop, questions, found)
    if works:
        remove_work(plan.wish)
    found.lines.sort(key=lambda line: list(PARTS).index(line.part))
    return found


@contextmanager
def _service(plan: Plan, shop: Shop | None) -> Iterator[Service]:
    """The service that is asked, while it is there."""
    if shop is None:
        assert plan.target is not None
        yield Service(
            name=plan.name,
            target=plan.target,
            path=plan.path,
            cores=shared_out()[0],
            connections=plan.connections,
            timeout_ms=timeout_ms(plan.slas),
        )
        return
    with (
        TemporaryDirectory(prefix="almanac-scorecard-") as folder,
        served(shop.snapshot_dir, shop.secret, Path(folder), workers=plan.workers) as service,
    ):
        yield replace(service, timeout_ms=timeout_ms(plan.slas))


def timeout_ms(slas: Sequence[Sla]) -> int:
    """How long to wait at most: who is given up must have waited longer than any promise."""
    longest_us = max((sla.limit for sla in slas if sla.is_wait), default=0.0)
    return max(LEAST_TIMEOUT_MS, ceil(longest_us / 1e3 * _PATIENCE))


def _peak(  # noqa: PLR0917  # what is measured, and where it goes
    plan: Plan,
    shop: Shop | None,
    service: Service,
    questions: Questions,
    since_us: int,
    found: Found,
) -> None:
    pool = questions.some(POOL)
    if plan.slas[0].of_volume:
        days = days_asked_about(questions.ts_us, since_us, _zone(plan))
        rate = len(questions) / days / 86_400
        found.rate = (
            f"1× is the shop’s average day: {rate * 86_400:,.0f} orders,"
            f" {in_digits(rate)} a second."
        )
    else:
        rate, found.rate = _rate(plan, service, pool)
    # The shop's volume says it again by itself.
    command = _command(plan, shop, "peak", None if plan.slas[0].of_volume else rate)
    assert found.stood_still is not None
    origin = f"{found.rate} {found.stood_still.sentence}"
    peaks = Peaks(slas=plan.slas, rate=rate, origin=origin, seconds=plan.seconds, command=command)
    try:
        lines, runs = peak_lines(service, pool, peaks)
    except ImpossibleSchedule as problem:
        why = f"At {in_digits(rate, 2)} requests a second there is nothing to measure: {problem}."
        lines = [
            not_measured("peak", why, command, title=sla.text, is_promise=True) for sla in plan.slas
        ]
        runs = []
    found.lines += lines
    found.runs += runs


def _command(plan: Plan, shop: Shop | None, part: str, rate: float | None = None) -> str:
    return plan.command(part, None if shop is None else shop.snapshot_dir, rate)


def _rate(plan: Plan, service: Service, pool: Questions) -> tuple[float, str]:
    """What 1× is where it is not the shop's volume, and a sentence about where that comes from."""
    if plan.rate is not None:
        return plan.rate, f"1× is {in_digits(plan.rate)} requests a second, as it was asked for."
    say("capacity: how much it answers at most")
    most = most_of(service, pool)
    return most.per_s * SHARE, most.sentence


def _volume(
    plan: Plan, shop: Shop | None, service: Service, questions: Questions, found: Found
) -> None:
    command = _command(plan, shop, "volume")
    day = usual_day(questions, _zone(plan))
    if day.lack is not None:
        why = f"{day.lack}: there is no course to replay."
        found.lines.append(not_measured("volume", why, command))
        return
    if plan.scale is not None:
        speed = speed_for(day.questions.ts_us, plan.scale)
    else:
        speed = plan.speed or day.speed_in(plan.day_seconds)
    lines, runs = volume_lines(service, day, plan.slas, speed=speed, command=command)
    found.lines += lines
    found.runs += runs


def _tables(plan: Plan, shop: Shop | None, parts: Sequence[str], found: Found) -> None:
    commands = {part: _command(plan, shop, part) for part in parts}
    if shop is None:
        found.lines += [not_measured(part, _NO_TABLES, commands[part]) for part in parts]
        return
    say("strangers and segments: asking the tables")
    with open_snapshot(shop.snapshot_dir, shop.secret) as generation:
        people = people_of(shop, generation)
        if "cold" in parts:
            found.lines.append(cold_line(people, commands["cold"]))
        if "segments" in parts:
            found.lines.append(segments_line(people, commands["segments"]))


def _trial(plan: Plan, shop: Shop | None, questions: Questions, found: Found) -> None:
    command = _command(plan, shop, "trial")
    if shop is None:
        found.lines.append(not_measured("trial", _NO_TABLES, command))
        return
    day = busiest_day(questions, _zone(plan))
    if day.lack is not None:
        why = f"Of the busiest day there is nothing to replay: {day.lack}."
        found.lines.append(not_measured("trial", why, command, is_promise=True))
        return
    try:
        lines, runs = trial_lines(
            shop, day, seconds=plan.day_seconds, following=plan.following, command=command
        )
    except ServerFailed as problem:
        why = f"The node could not be tried: {problem}. {problem.hint or ''}".strip()
        lines, runs = [not_measured("trial", why, command, is_promise=True)], []
    found.lines += lines
    found.runs += runs


def _zone(plan: Plan) -> ZoneInfo:
    """Of the shop's clock."""
    return ZoneInfo(plan.wish.config.brand.timezone)


def _about(plan: Plan, shop: Shop | None, orders: Orders) -> str:
    asked = f"asked about {many(len(orders.carts), 'order')}"
    if shop is None:
        assert plan.target is not None
        return f"{plan.target.url}, {asked}, on"
    counts = shop.manifest.counts
    told = ", ".join(
        many(counts[f"{name}s"], name) for name in ("customer", "offer") if f"{name}s" in counts
    )
    return f"Snapshot {shop.manifest.snapshot_id}: {told}; {asked} after it, on"
