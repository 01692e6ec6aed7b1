"""The scorecard as a whole: a small shop through a real service and a real node."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

import almanac
import bench.load.verdict
from bench.http_processes import free_port
from bench.load.cli import Contradiction
from bench.load.driver import GARBLED, Work, follow
from bench.load.target import WrongTarget
from bench.scorecard import card, cli
from bench.scorecard.capacity import FEW, NoAnswers
from bench.scorecard.cli import MISSED, NO_VERDICT, scorecard
from bench.scorecard.peak import Peaks, peak_lines
from bench.scorecard.place import held
from bench.scorecard.questions import Questions
from bench.scorecard.runs import Service
from bench.scorecard.shop import Shop
from bench.scorecard.sla import parsed_slas
from bench.scorecard.trial import trial_lines
from bench.scorecard.volume import Day
from bench.synthetic import SECRET, customer_id, item_id
from builder.errors import BuildError, DataGate, InputNotFound, NotWritable
from edge.errors import FolderBusy
from index.generation import Generation
from index.manifest import read_manifest
from tests.bench.load_server import Served, load_server
from tests.builder.planted_shop import SECRET_TEXT, Planted, write_planted

N_ORDERS = 60
OFFER = '{"offers": [{"offer_id": "x"}]}'
WATCHED_SECONDS = 0.5
"""Of a step: for a fifth of it all cores are kept busy first, to see them stand still."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that others use as well must not decide what is tested here."""
    for name in ("LATE_SHARE", "BUSY_SHARE", "FULL_SHARE", "STOLEN_SHARE"):
        monkeypatch.setattr(bench.load.verdict, name, 2.0)


@pytest.fixture
def events(tmp_path: Path) -> str:
    """Two days after the synthetic shop's tables; the second has twice as many orders."""
    lines = ["ts,customer_id,order_id,item_id"]
    for order in range(N_ORDERS):
        day, minute = (24, order * 3) if order < N_ORDERS // 3 else (25, order)
        at = f"2025-12-{day}T{10 + minute // 60:02d}:{minute % 60:02d}:00Z"
        lines += [f"{at},{customer_id(order)},o{order},{item_id(order + n)}" for n in range(6)]
    path = tmp_path / "events.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def card_of(server: Served, events: str, out: Path, **flags: Any) -> int:
    """The exit code of measuring somebody else's service by the later half of the events."""
    return scorecard(events=[events], url=server.target.url, later_share=0.5, out=out, **flags)


def told_in(out: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((out / "scorecard.json").read_bytes())
    return told


@pytest.mark.usefixtures("patient")
def test_a_shop_is_measured_through_a_real_service_and_a_real_node(
    generation: Generation, events: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "brand.key"
    secret.write_bytes(SECRET)

    code = scorecard(
        events=[events],
        snapshot=generation.directory,
        secret_file=secret,
        sla=["errors<10% at 5x, max<1us at 10x"],
        rate=20,
        seconds=1.5,
        day_seconds=10.0,
        only=["peak", "volume", "trial"],
        out=tmp_path / "out",
        json=True,
    )

    told = told_in(tmp_path / "out")
    lines = {line["title"]: line for line in told["lines"]}
    n_spike = told["runs"]["spike"]["phases"]["spike"]["requests"]
    assert 1 < n_spike < 100
    assert lines["A spike of 10×: everyone is answered"]["sentence"] == (
        f"{n_spike} requests fell into 10× (200 a second): it takes 100 to tell."
    )
    assert json.loads(capsys.readouterr().out)["verdict"] == told["verdict"] == "fail"
    assert code == MISSED == 7
    assert {line["part"]: line["verdict"] for line in told["lines"]} == {
        "peak": "pass",
        "volume": "fail",
        "trial": "pass",
    }
    assert lines["errors<10% at 5x"]["verdict"] == "pass"
    assert lines["max<0.001ms at 10x"]["verdict"] == "fail"
    assert "all had the same offers" in lines["Answers at peak are as good as at rest"]["sentence"]
    assert "2025-12-25, its 40 orders as they came" in lines
    runs = told["runs"]
    assert set(runs) == {"step", "spike", "volume", "trial"}
    assert {set(run["samples"]["status"]) == {200} for run in runs.values()} == {True}
    assert [len(runs[name]["samples"]["due_us"]) for name in ("volume", "trial")] == [40, 40]
    assert list(runs["step"]["phases"]) == ["1×", "5×", "1× after 5×"]
    page = (tmp_path / "out" / "scorecard.html").read_text()
    for line in told["lines"]:
        again = f"--only {line['part']} --out {tmp_path / 'out-again'}"
        assert line["command"].endswith(again)
        assert page.count(line["title"].replace("<", "&lt;")) >= 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "scorecard.html",
        "scorecard.json",
    ]


@pytest.mark.usefixtures("patient")
def test_somebody_elses_service_is_asked_by_a_template(events: str, tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    template.write_text('{"user": "{customer_id}", "n": "{k}", "basket": [{"sku": "{item}"}]}')

    with load_server(fine='{"items": [{"id": "x"}]}') as server:
        code = card_of(
            server,
            events,
            tmp_path,
            template=template,
            answer_path="items.*.id",
            name="another",
            sla=["errors<60%"],
            rate=10,
            seconds=1.5,
            day_seconds=1.0,
            connections=3,
        )

    told = told_in(tmp_path)
    verdicts = {line["part"]: line["verdict"] for line in told["lines"][:1] + told["lines"][2:]}
    n_sent = sum(len(run["samples"]["due_us"]) for run in told["runs"].values())
    bodies = [json.loads(body) for body in server.asked]
    assert code == 0
    assert sum(server.asked.values()) == FEW + n_sent
    assert {tuple(body) for body in bodies} == {("user", "n", "basket")}
    assert {len(body["basket"]) for body in bodies} == {1, 2, 3, 4}
    assert {body["n"] for body in bodies} == {10}
    # What it answers is no item of the shop, and its tables are nowhere to be seen.
    assert verdicts == {
        "peak": "not measured",
        "volume": "pass",
        "cold": "not measured",
        "segments": "not measured",
        "trial": "not measured",
    }
    assert "only the answers are seen" in told["lines"][-1]["sentence"]
    assert "--later-share 0.5" in told["lines"][-1]["command"]
    assert "--connections 3" in told["lines"][0]["command"]
    assert server.connections == 3 * (1 + len(told["runs"]))


def test_a_run_whose_driver_was_late_gives_no_verdict(
    events: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.load.verdict, "BUSY_SHARE", 0.0)

    with load_server() as server:
        code = card_of(
            server, events, tmp_path, sla=["errors<1%"], rate=5, seconds=0.9, only=["peak"]
        )

    told = told_in(tmp_path)
    assert code == NO_VERDICT
    assert {line["verdict"] for line in told["lines"]} == {"not measured"}
    assert "The driver was the bottleneck" in told["lines"][0]["sentence"]
    assert told["runs"]["step"]["tries"] == 2


@pytest.mark.usefixtures("patient")
def test_answers_without_any_offer_keep_no_promise(events: str, tmp_path: Path) -> None:
    """An error with status 200 comes fast."""
    with load_server(fine='{"error": "no such customer"}') as server:
        code = card_of(
            server,
            events,
            tmp_path,
            sla=["errors<1%, max<4s at 5x"],
            rate=20,
            seconds=1.5,
            only=["peak"],
        )

    told = told_in(tmp_path)
    assert code == NO_VERDICT
    assert {line["verdict"] for line in told["lines"]} == {"not measured"}
    assert all(
        "answers that were read holds an offer where" in line["sentence"] for line in told["lines"]
    )
    assert {run["tries"] for run in told["runs"].values()} == {1}
    assert {run["distrust"] for run in told["runs"].values()} <= {
        line["sentence"] for line in told["lines"]
    }


@pytest.mark.usefixtures("patient")
def test_a_service_that_gives_nothing_under_load_keeps_no_promise() -> None:
    n = 40
    questions = Questions(
        bodies=[b"%d" % number for number in range(n)],
        truth=[("x",)] * n,
        customer=np.arange(n),
        kind=np.zeros(n, dtype=np.uint8),
        ts_us=np.arange(n),
    )
    with load_server(fine=OFFER, full=15) as server:
        service = Service(name="empty", target=server.target, path="offers.*.offer_id")
        peaks = Peaks(
            slas=parsed_slas(["errors<60%", "errors<60% at 5x"]),
            rate=200,
            origin="As given.",
            seconds=0.3,
            command="again",
        )
        lines, runs = peak_lines(service, questions, peaks)

    n_rest, n_peak = (phase["requests"] for phase in list(runs[0].summary["phases"].values())[:2])
    n_both = min(n_rest, n_peak)
    assert n_rest == 15
    assert [line.verdict for line in lines[:3]] == ["pass", "fail", "not measured"]
    assert lines[1].sentence.startswith(
        f"{n_both} of {n_both} answers read at 5× (1,000 a second) had no offer; at rest 0 had"
    )


@pytest.mark.usefixtures("patient")
def test_a_spike_that_nobody_came_in_is_not_measured(events: str, tmp_path: Path) -> None:
    """With a request a second the draw has none in its tenth of a second, and one afterwards."""
    with load_server(fine=OFFER) as server:
        card_of(server, events, tmp_path, sla=["errors<1%"], rate=1, seconds=1.5, only=["peak"])

    told = told_in(tmp_path)
    [spike] = [line for line in told["lines"] if line["title"].startswith("A spike")]
    assert told["runs"]["spike"]["phases"]["spike"]["requests"] == 0
    assert told["runs"]["spike"]["phases"]["after"]["requests"] == 1
    assert spike["verdict"] == "not measured"
    assert spike["sentence"] == "No request fell into 10× (10 a second)."


@pytest.mark.usefixtures("patient")
def test_no_promise_is_kept_where_only_findings_were_asked_for(events: str, tmp_path: Path) -> None:
    """The waits of a day are longer than what was promised for another load."""
    with load_server(fine=OFFER) as server:
        code = card_of(
            server,
            events,
            tmp_path,
            sla=["max<1us at 5x"],
            seconds=WATCHED_SECONDS,
            day_seconds=0.5,
            only=["volume"],
        )

    told = told_in(tmp_path)
    assert [line["verdict"] for line in told["lines"]] == ["fail"]
    assert (code, told["verdict"]) == (0, "not measured")
    page = (tmp_path / "scorecard.html").read_text()
    assert "No promise was asked for: 0 pass, 1 fail, 0 not measured." in page


def test_days_of_which_only_the_date_is_told_are_not_measured(
    generation: Generation, tmp_path: Path
) -> None:
    secret, events = tmp_path / "brand.key", tmp_path / "events.csv"
    secret.write_bytes(SECRET)
    lines = [
        f"2025-12-{24 + order // 30},{customer_id(order)},o{order},{item_id(order + n)}\n"
        for order in range(N_ORDERS)
        for n in range(2)
    ]
    events.write_text("ts,customer_id,order_id,item_id\n" + "".join(lines))

    code = scorecard(
        events=[str(events)],
        snapshot=generation.directory,
        secret_file=secret,
        scale=1000.0,
        seconds=WATCHED_SECONDS,
        only=["volume", "trial"],
        out=tmp_path / "out",
    )

    told = told_in(tmp_path / "out")
    assert code == NO_VERDICT  # the trial is no mere finding
    assert {line["part"]: line["verdict"] for line in told["lines"]} == {
        "volume": "not measured",
        "trial": "not measured",
    }
    assert all("orders at one moment" in line["sentence"] for line in told["lines"])


def test_a_brand_that_can_not_be_published_keeps_the_trial_unmeasured(
    generation: Generation,
) -> None:
    manifest = msgspec.structs.replace(generation.manifest, brand="Ä & Ö")
    shop = cast(Shop, SimpleNamespace(manifest=manifest))
    day = cast(Day, None)

    [line], runs = trial_lines(shop, day, seconds=1.0, following=None, command="again")

    assert (line.verdict, line.is_promise, runs) == ("not measured", True, [])


def test_a_volume_that_nothing_can_be_told_of_is_not_measured(events: str, tmp_path: Path) -> None:
    with load_server() as server:
        code = card_of(
            server, events, tmp_path, sla=["p99<1ms at 5x of volume"], seconds=0.001, only=["peak"]
        )

    told = told_in(tmp_path)
    [line] = told["lines"]
    assert (code, line["verdict"]) == (NO_VERDICT, "not measured")
    # All within an hour, of the day that was asked about.
    assert told["rate"] == "1× is the shop’s average day: 40 orders, 0.000463 a second."
    assert "nothing to measure" in line["sentence"]
    # Both `--rate` and `of volume` would be refused.
    assert "--rate" not in line["command"]
    assert "--sla 'p99<1ms at 5x of volume'" in line["command"]
    assert sum(server.asked.values()) == FEW  # whether there is anybody


def test_answers_are_kept_of_those_requests_alone_that_are_to_be_kept() -> None:
    with load_server() as server:
        wire = [
            server.target.request(b"fine", stays=True),
            server.target.request(b"refuse", stays=True),
        ]
        kept = np.array([True, False, True, True])
        trace = follow(
            Work(
                target=server.target,
                wire=wire,
                due_ns=np.arange(4) * 1_000_000,
                which=np.array([0, 0, 1, 0]),
                connections=2,
                kept=kept,
            ),
            monotonic_ns(),
        )

    assert trace.answers == {0: b"{1}", 2: b"{}", 3: b"{1}"}


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"snapshot": Path("a"), "url": "http://b"}, "exclude each other"),
        ({"template": Path("a")}, "is for --url"),
        ({"url": "http://127.0.0.1:9"}, "needs --rate"),
        ({"speed": 1.0, "scale": 9.0}, "give one"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags: dict[str, Any], why: str) -> None:
    with pytest.raises(Contradiction, match=why):
        scorecard(events=["x"], **flags)


def test_a_place_that_nothing_can_be_written_to_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "a file").touch()

    for out in (tmp_path / "a file", tmp_path / "a file" / "below"):
        with pytest.raises(NotWritable, match="no folder can be made there"):
            scorecard(events=["x"], out=out)


def test_bad_rows_are_refused_or_left_out_as_by_a_build(events: str, tmp_path: Path) -> None:
    with Path(events).open("a") as file:
        file.write("no time,c1,o99,i1\n")
    out = tmp_path / "out"
    flags: dict[str, Any] = {"events": [events], "url": "http://127.0.0.1:9", "only": ["cold"]}

    with pytest.raises(DataGate, match="1 of 361 rows are bad"):
        scorecard(out=out, **flags)
    scorecard(out=out, max_bad=0.05, **flags)

    [line] = told_in(out)["lines"]
    assert "--max-bad 0.05" in line["command"]


@pytest.mark.parametrize(
    ("as_of", "why", "hint"),
    [
        ("next spring", "is no time", "2026-11-23"),
        ("2030-01-01", "no order in this stretch of time", "an earlier --as-of"),
    ],
)
def test_a_moment_that_leaves_nothing_to_ask_about_is_refused(
    as_of: str, why: str, hint: str, events: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=why) as caught:
        scorecard(
            events=[events],
            url="http://127.0.0.1:9",
            only=["cold"],
            as_of=as_of,
            out=tmp_path / "out",
        )

    assert hint in str(caught.value.hint)


def test_nothing_is_deleted_before_the_events_were_read(
    generation: Generation, tmp_path: Path
) -> None:
    secret, out = tmp_path / "brand.key", tmp_path / "out"
    secret.write_bytes(SECRET)
    shutil.copytree(generation.directory, out / "snapshot")

    with pytest.raises(InputNotFound):
        scorecard(
            events=[str(tmp_path / "nope.csv")], secret_file=secret, as_of="2025-12-24", out=out
        )

    assert read_manifest(out / "snapshot").snapshot_id == generation.manifest.snapshot_id


@pytest.mark.parametrize("name", ["snapshot", "work", "scorecard.html"])
def test_a_folder_that_no_scorecard_made_is_refused_before_anything_is_measured(
    name: str, events: str, tmp_path: Path
) -> None:
    secret, out = tmp_path / "brand.key", tmp_path / "out"
    secret.write_bytes(SECRET)
    (out / name).mkdir(parents=True)
    (out / name / "mine").touch()

    with pytest.raises(NotWritable, match=rf"out/{name}: ") as caught:
        scorecard(events=[events], secret_file=secret, out=out)

    assert caught.value.hint == "give another --out"
    assert [path.name for path in (out / name).iterdir()] == ["mine"]


def test_who_makes_no_work_folder_removes_none(events: str, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine").touch()

    scorecard(events=[events], url="http://127.0.0.1:9", only=["cold"], out=tmp_path)

    assert (tmp_path / "work" / "mine").exists()


def test_two_runs_never_write_to_one_folder(events: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"events": [events], "url": "http://127.0.0.1:9", "only": ["cold"]}

    with (
        held(tmp_path),
        pytest.raises(FolderBusy, match="another scorecard is being written there") as caught,
    ):
        scorecard(out=tmp_path, **asked)
    scorecard(out=tmp_path, **asked)

    assert caught.value.exit_code == 6


def test_a_service_is_waited_for_twice_as_long_as_was_promised(
    events: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(service: Service, _: Questions) -> None:
        raise NoAnswers(f"{service.timeout_ms} ms", np.array([503]))

    monkeypatch.setattr(card, "ask_a_few", stop)

    with pytest.raises(NoAnswers, match="18000 ms: "):
        scorecard(
            events=[events],
            url=f"http://127.0.0.1:{free_port()}",
            sla=["max<9s, p50<1s"],
            seconds=0.1,
            only=["volume"],
            out=tmp_path,
        )


def test_what_can_not_be_asked_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    def asking(**changes: Any) -> None:
        scorecard(events=["absent.csv"], rate=5, out=tmp_path / "out", **changes)

    with pytest.raises(WrongTarget, match="no http:// URL"):
        asking(url="https://127.0.0.1:1/rank")
    with pytest.raises(Contradiction, match="both say what 1× is"):
        asking(sla=["p99<1ms at 5x of volume"])

    assert not (tmp_path / "out").exists()


def test_where_nobody_listens_nothing_is_measured(events: str, tmp_path: Path) -> None:
    with pytest.raises(NoAnswers, match="0 of 8 requests had a good answer: 8 × refused") as caught:
        scorecard(
            events=[events],
            url=f"http://127.0.0.1:{free_port()}",
            rate=5,
            seconds=WATCHED_SECONDS,
            out=tmp_path,
        )

    assert caught.value.hint == "is it the right address, and does the request fit?"
    garbled = NoAnswers("u", np.array([GARBLED] * 7 + [404]))
    assert str(garbled) == "u: 0 of 8 requests had a good answer: 7 × garbled, 1 × 404"
    assert "content-length" in garbled.hint


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_a_shop_without_a_snapshot_is_built_and_measured(tmp_path: Path) -> None:
    planted: Planted = write_planted(tmp_path)
    (tmp_path / "brand.key").write_text(SECRET_TEXT)
    words = ["scorecard", "--events", *planted.events, "--items", planted.items]
    words += ["--config", planted.config, "--secret-file", tmp_path / "brand.key"]
    words += ["--out", tmp_path / "out", "--seconds", 1.5, "--day-seconds", 10, "--rate", 40]

    code = almanac.main([*map(str, words), "--later-share", "0.25", "--sla", "errors<5% at 5x"])

    told = told_in(tmp_path / "out")
    verdicts = {line["title"]: line["verdict"] for line in told["lines"]}
    assert code == 0
    assert set(verdicts.values()) <= {"pass", "not measured"}
    assert verdicts["A list for one beats a list for many"] == "pass"
    assert verdicts["Nothing is lost at the worst moment"] == "pass"
    # A fifth of 240 customers were kept out, too few of whom came back to tell.
    assert verdicts["Cold start"] == "not measured"
    assert read_manifest(tmp_path / "out" / "snapshot").build["holdout"] == 0.2
    assert not (tmp_path / "out" / "work").exists()
    assert cli.DEFAULT_SLA == "p99<1ms at 5x"
