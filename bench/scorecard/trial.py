"""Peak trial: the busiest day once more, while all that can happen to a node happens to it.

A new snapshot is announced, a worker is killed where it stands, and the overlay takes an offer
away. Nothing may be lost: everyone is answered, and by a snapshot that was there.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic_ns, sleep
from typing import Final

import numpy as np

from bench.http_processes import ServerFailed
from bench.load.drive import drive
from bench.load.schedule import replayed
from bench.load.target import target_of
from bench.scorecard.answers import OWN_PATH, Read, read_answers
from bench.scorecard.courses import course_of
from bench.scorecard.lines import Line, Table, not_measured
from bench.scorecard.node import Node, node_of, operate
from bench.scorecard.outcome import WORKERS, Counts, Happened, counted, is_broken, judged
from bench.scorecard.peak import phase_figures
from bench.scorecard.questions import Questions
from bench.scorecard.reissue import reissue
from bench.scorecard.runs import Run, Service, run_once, say
from bench.scorecard.serving import shared_out
from bench.scorecard.shop import Shop
from bench.scorecard.volume import Day
from index.layout import STORE_NAME
from index.manifest import read_manifest
from index.wording import begun, many

_TITLE: Final = "Nothing is lost at the worst moment"
_ANNOUNCED, _KILLED, _TAKEN_AWAY = 0.15, 0.5, 0.65
_PATIENCE_S: Final = 60.0
_LAST: Final = 200
_POLL_S: Final = 0.1


def trial_lines(
    shop: Shop, day: Day, *, seconds: float, following: Path | None, command: str
) -> tuple[list[Line], list[Run]]:
    """Do all of it once.

    Args:
        shop: snapshot and secret.
        day: that is replayed.
        seconds: that it takes.
        following: the snapshot to swap in; None for another one of the same tables.
        command: what repeats it.
    """
    brand = shop.manifest.brand
    if re.match(STORE_NAME, brand) is None:
        why = f"A brand called {brand!r} can't be published: choose a name of letters and digits."
        return [not_measured("trial", why, command, is_promise=True)], []
    with TemporaryDirectory(prefix="almanac-trial-") as name:
        folder = Path(name)
        first = shop.manifest.snapshot_id
        if following is None:
            following = folder / "following"
            second = reissue(shop.snapshot_dir, following).snapshot_id
        else:
            second = read_manifest(following).snapshot_id
        store = folder / "store"
        for directory in (shop.snapshot_dir, following):
            operate("publish", str(directory), "--store", str(store), "--insecure")
        with node_of(brand, first, store, shop.secret, folder, workers=WORKERS) as node:
            return _replayed(node, day, (first, second), seconds, command)


def _replayed(
    node: Node, day: Day, ids: tuple[str, str], seconds: float, command: str
) -> tuple[list[Line], list[Run]]:
    service = Service(
        name="almanac node",
        target=target_of(f"http://127.0.0.1:{node.port}"),
        path=OWN_PATH,
        cores=shared_out()[0],
    )
    last = day.questions.at(np.arange(len(day.questions) * 3 // 4, len(day.questions))).some(_LAST)
    offer_id = _most_shown(_asked(service, last))
    plan = replayed(day.questions.ts_us, day.speed_in(seconds))
    n = len(plan)
    say(f"trial: {many(n, 'request')} of {day.name} in {plan.seconds:.0f} s")
    happened = Happened()
    doing: list[Thread] = []

    def begin(begin_ns: int) -> None:
        doing.append(Thread(target=_do, args=(node, ids[1], offer_id, seconds, begin_ns, happened)))
        doing[0].start()

    work = service.work(day.questions, plan.due_ns, np.arange(n), np.ones(n, dtype=bool))
    found = run_once("trial", service, work, plan, day.questions, on_begin=begin)
    doing[0].join()
    broken = np.flatnonzero(is_broken(found))
    again = _asked(service, day.questions.at(broken)) if len(broken) else {}
    after = _settled(service, last, ids[1], offer_id)
    counts = counted(found, ids, offer_id, n_mended=len(again), after=after)
    return [_line(found, day, counts, happened, offer_id, command)], [found]


def _asked(service: Service, questions: Questions) -> dict[int, Read]:
    """Good answers to some questions, asked as fast as they are answered."""
    n = len(questions)
    every = np.ones(n, dtype=bool)
    work = service.work(questions, np.zeros(n, dtype=np.int64), np.arange(n), every)
    (trace,), _ = drive(work, cores=service.cores)
    good = {one: body for one, body in trace.answers.items() if trace.statuses[one] == 200}
    return read_answers(good, service.path)


def _most_shown(answers: Mapping[int, Read]) -> str:
    """The offer that most of the day's last shoppers are shown."""
    shown = Counter(offer for answer in answers.values() for offer in answer.offers)
    if not shown:
        raise ServerFailed("the node shows nobody anything")
    return shown.most_common(1)[0][0]


def _settled(
    service: Service, questions: Questions, second: str, offer_id: str
) -> Mapping[int, Read]:
    """Answers when all that was done has arrived everywhere; the last ones where it does not."""
    deadline_ns = monotonic_ns() + int(_PATIENCE_S * 1e9)
    while True:
        answers = _asked(service, questions)
        told = {(one.snapshot_id, offer_id in one.offers) for one in answers.values()}
        if told == {(second, False)} or monotonic_ns() > deadline_ns:
            return answers
        sleep(_POLL_S)


def _do(  # noqa: PLR0917  # what a thread is given
    node: Node, second: str, offer_id: str, seconds: float, begin_ns: int, happened: Happened
) -> None:
    """All that happens to the node, each thing at its share of the time."""

    def now_s() -> float:
        return (monotonic_ns() - begin_ns) / 1e9

    def at(share: float, what: str) -> None:
        sleep(max(share * seconds - now_s(), 0.0))
        happened.marks.append((now_s(), what))

    try:
        at(_ANNOUNCED, "announced")
        happened.commands.append(node.announce(second))
        at(_KILLED, "worker killed")
        happened.killed = node.workers()[0]
        os.kill(happened.killed, signal.SIGKILL)
        happened.commands.append(f"kill -9 {happened.killed}")
        at(_TAKEN_AWAY, "overlay")
        happened.commands.append(node.kill_offer(offer_id))
        happened.taken_away_s = now_s()
        deadline_s = now_s() + _PATIENCE_S
        while len(happened.workers) < WORKERS and now_s() < deadline_s:
            sleep(_POLL_S)
            happened.workers = node.workers()
    except (ServerFailed, OSError, IndexError) as problem:
        happened.problem = f"{problem}"


def _line(  # noqa: PLR0917  # what the line tells of
    found: Run, day: Day, counts: Counts, happened: Happened, offer_id: str, command: str
) -> Line:
    verdict, wrong = judged(counts, happened)
    broken = many(counts.n_broken, "of them was", "of them were")
    sentence = (
        f"All {counts.n:,} requests of {day.name} were answered, while a snapshot was swapped in,"
        f" a worker killed and an offer taken away; {broken} asked again"
        " because their connection broke."
    )
    if wrong:
        sentence = begun(f"{'; '.join(wrong)}.")
    bad = counts.n_after_first + counts.n_after_shown
    snapshots = [[f"answers from {name}", f"{n:,}"] for name, n in counts.by_snapshot.items()]
    rows = [
        ["requests", f"{counts.n:,}"],
        ["connection broke under way, asked again", f"{counts.n_broken:,}"],
        ["without a good answer", f"{counts.n_lost:,}"],
        *snapshots,
        ["answers from any other", f"{counts.n_strange:,}"],
        ["first answer from the new snapshot", _at(counts.swapped_at_s)],
        [f"workers after {happened.killed} was killed", ", ".join(map(str, happened.workers))],
        [f"answers with offer {offer_id}", f"{counts.n_shown:,}"],
        ["the command that took it away had ended", _at(happened.taken_away_s)],
        ["last answer with it", _at(counts.last_shown_s)],
        ["asked once more afterwards", f"{counts.n_after:,}"],
        ["of them from the first snapshot, or with the offer", f"{bad:,}"],
    ]
    return Line(
        part="trial",
        title=_TITLE,
        verdict=verdict,
        sentence=sentence,
        command=command,
        evidence=(
            course_of(found, None, happened.marks),
            Table(
                caption="Done meanwhile, on the same cores, which shows in the waits:"
                f" {'; '.join(happened.commands)}.",
                header=["what", "found"],
                rows=rows,
            ),
            phase_figures(
                found,
                f"The busiest of {many(day.n_days, 'day')}, in"
                f" {found.samples.phases[0].seconds * 10:.0f} s, on a node of"
                f" {WORKERS} workers. Phases are tenths of the day’s span, in UTC.",
            ),
        ),
        is_promise=True,
        run=(found.name,),
    )


def _at(seconds: float | None) -> str:
    return "not during the day" if seconds is None else f"{seconds:.2f} s"
